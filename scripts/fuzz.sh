#!/usr/bin/env bash
# Fuzzes the frame decoder of zookeeper-embedded for a while: scripts/fuzz.sh [SECONDS]   (default 60)
#
# Builds the cargo-fuzz target with the flags that cargo-fuzz would give, less the sanitizers: they need a nightly
# toolchain, and the crate forbids unsafe code. So stable Rust and a C++ compiler are enough.
set -euo pipefail
cd "$(dirname "$0")/../embedded/fuzz"

seconds=${1:-60}
target=$(rustc -vV | sed -n 's/^host: //p')
directory=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
corpus=$directory/corpus/frames

export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1 --cfg fuzzing"
cargo build --release --target "$target" --target-dir "$directory"

mkdir -p "$corpus"
# A handshake and a few requests to start from.
printf '\0\0\0\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x27\x10\0\0\0\0\0\0\0\0\0\0\0\x10aaaaaaaaaaaaaaaa\0' >"$corpus/handshake"
printf '\0\0\0\x2c\0\0\0\1\0\0\0\1\0\0\0\2/a\0\0\0\1d\0\0\0\1\0\0\0\x1f\0\0\0\5world\0\0\0\6anyone\0\0\0\3' >"$corpus/create"
printf '\0\0\0\x29\0\0\0\2\0\0\0\xe\0\0\0\2\0\xff\xff\xff\xff\0\0\0\2/a\xff\xff\xff\xff\xff\xff\xff\xff\1\xff\xff\xff\xff' >"$corpus/multi"
printf '\0\0\0\x20\xff\xff\xff\xf8\0\0\0\x65\0\0\0\0\0\0\0\7\0\0\0\1\0\0\0\2/a\0\0\0\0\0\0\0\0' >"$corpus/watches"

"$directory/$target/release/frames" -max_total_time="$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=512 \
    -print_final_stats=1 -artifact_prefix="$directory/" "$corpus"
echo "no failure within $seconds seconds"
