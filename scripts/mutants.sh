#!/usr/bin/env bash
# Breaks the pure parts of the crate in every way that cargo-mutants knows (cargo install cargo-mutants), one at a time, and
# says which changes no unit test notices. Needs what the feature `sasl` is built with, see .ci/run.
#
#   scripts/mutants.sh             all groups; hours on 2 cores
#   scripts/mutants.sh lease rules these groups
#
# A group tests with the unit tests of its own modules. MUTANTS_ARGS is handed on to cargo-mutants: "--in-place" in a clone of its
# own builds once for all groups. What scripts/mutants-justified.txt names is left out, each for the reason that stands there.
set -euo pipefail
cd "$(dirname "$0")/.."

# Group, unit tests, files.
readonly store=src/recipes/queue/work/store
groups=(
    "lease session::lease src/session/lease/mod.rs src/session/lease/schedule.rs src/session/lease/terms.rs"
    "line line:: src/line/position.rs src/line/ahead.rs src/line/order.rs src/line/names.rs"
    "names znode::name src/znode/name.rs"
    "rules recipes:: src/recipes/semaphore/limit.rs src/recipes/double_barrier/rule.rs"
    "records $store::records $store/records.rs"
    "codecs $store:: $store/codec.rs $store/header.rs $store/item.rs $store/names.rs $store/retry.rs"
    "retry session::retry src/session/retry.rs"
    "schedule recipes::schedule src/recipes/schedule/decide.rs src/recipes/schedule/record.rs"
    "relay recipes::relay src/recipes/relay/record.rs"
)

main() {
    local wanted=" $* " entry name filter output=${CARGO_TARGET_DIR:-$PWD/target}/mutants failed=
    cargo mutants --version >/dev/null || {
        printf '==> cargo-mutants is missing: cargo install cargo-mutants\n' >&2
        exit 1
    }
    local known
    known=$(printf '%s\n' "${groups[@]%% *}")
    for name in "$@"; do
        grep -qxF -- "$name" <<<"$known" || {
            printf '==> no group %s; there are: %s\n' "$name" "${known//$'\n'/ }" >&2
            exit 64
        }
    done
    mkdir -p "$output"
    local justified=() pattern
    while IFS=$'\t' read -r pattern _; do
        [[ -z $pattern || $pattern == "#"* ]] || justified+=("--exclude-re=$pattern")
    done <scripts/mutants-justified.txt
    for entry in "${groups[@]}"; do
        local words
        read -ra words <<<"$entry"
        name=${words[0]} filter=${words[1]}
        [ $# -eq 0 ] || [[ $wanted == *" $name "* ]] || continue
        filter=${filter#src/}
        local files=("${words[@]:2}")
        printf '==> %s: the tests %s\n' "$name" "${filter//\//::}"
        # shellcheck disable=SC2086
        PROPTEST_CASES=${PROPTEST_CASES:-64} cargo mutants --package zookeeper-recipes --all-features \
            "${files[@]/#/--file=}" "${justified[@]}" --output "$output/$name" --timeout 60 --build-timeout 300 --no-shuffle ${MUTANTS_ARGS:-} \
            --cargo-arg=--lib -- "${filter//\//::}" || {
            # 3: some made the tests run for ever, which is noticed as well.
            [ $? -eq 3 ] || failed="$failed $name"
        }
    done
    [ -z "$failed" ] || {
        printf '==> not every mutant was caught in:%s; see the lists in %s\n' "$failed" "$output" >&2
        exit 1
    }
}

main "$@"
