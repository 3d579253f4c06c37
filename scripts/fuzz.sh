#!/usr/bin/env bash
# Fuzzes the frame decoder of zookeeper-embedded, and all that reads names and data from an ensemble:
#
#   scripts/fuzz.sh [SECONDS [TARGET]]   (default: 60 seconds each of frames, parsers)
#
# Builds the cargo-fuzz targets with the flags that cargo-fuzz would give, less the sanitizers: they need a nightly
# toolchain, and the crates forbid unsafe code. So stable Rust and a C++ compiler are enough.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
host=$(rustc -vV | sed -n 's/^host: //p')

export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1 --cfg fuzzing"

# Target, and its crate.
fuzz() {
    local directory=${CARGO_TARGET_DIR:-$PWD/$2/target}/fuzz
    local corpus=$directory/corpus/$1
    cargo build --release --manifest-path "$2/Cargo.toml" --target "$host" --target-dir "$directory"
    mkdir -p "$corpus"
    "seeds_of_$1" "$corpus"
    "$directory/$host/release/$1" -max_total_time="$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=512 \
        -print_final_stats=1 -artifact_prefix="$directory/" "$corpus"
    echo "$1: no failure within $seconds seconds"
}

# A handshake and a few requests to start from.
seeds_of_frames() {
    printf '\0\0\0\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x27\x10\0\0\0\0\0\0\0\0\0\0\0\x10aaaaaaaaaaaaaaaa\0' >"$1/handshake"
    printf '\0\0\0\x2c\0\0\0\1\0\0\0\1\0\0\0\2/a\0\0\0\1d\0\0\0\1\0\0\0\x1f\0\0\0\5world\0\0\0\6anyone\0\0\0\3' >"$1/create"
    printf '\0\0\0\x29\0\0\0\2\0\0\0\xe\0\0\0\2\0\xff\xff\xff\xff\0\0\0\2/a\xff\xff\xff\xff\xff\xff\xff\xff\1\xff\xff\xff\xff' >"$1/multi"
    printf '\0\0\0\x20\xff\xff\xff\xf8\0\0\0\x65\0\0\0\0\0\0\0\7\0\0\0\1\0\0\0\2/a\0\0\0\0\0\0\0\0' >"$1/watches"
}

# One of each shape, for each parser: the format of the work queue's data is 2, names and texts are what they are.
seeds_of_parsers() {
    local parser
    for parser in {0..31}; do
        local byte
        byte=$(printf '\\x%02x' "$parser")
        printf "$byte"'\2\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0' >"$1/data-$parser"
        printf "$byte"'schedule-1 last=5 at=5 started=1 skipped=0 term=1 write=1 due=6 attempt=1 covers=1' >"$1/schedule-$parser"
        printf "$byte"'_c_6b8b4567-327b-4db8-af5a-6a9e5d8ac8f7-__WRIT__0000000001\n_c_x-__READ__0000000002' >"$1/names-$parser"
        printf "$byte"'s-abcdefghijklmnop.5.2-0000000001\no-abcdefghijklmnop.0.2\nc-abcdefghijklmnop.0.2.1.99\nlead-1-x' >"$1/children-$parser"
        printf "$byte"'__REVOKE__\n3 4\nabcwhy?rest' >"$1/revoke-$parser"
    done
}

case ${2:-frames} in
frames | parsers) ;;
*)
    printf '==> no target %s; there are: frames parsers\n' "$2" >&2
    exit 64
    ;;
esac
[ "${2:-frames}" != frames ] || fuzz frames embedded/fuzz
[ "${2:-parsers}" != parsers ] || fuzz parsers fuzz
