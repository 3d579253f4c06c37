#!/usr/bin/env bash
# Runs the tests that need an ensemble of three servers, in containers of their own, and leaves nothing behind. Needs a
# Docker engine; Compose and the image are seen to.
#
#   scripts/ensemble-test.sh               everything: a soak of 40 seconds, short workloads, the demos on both Compose files
#   scripts/ensemble-test.sh cut_follower  only the tests whose names contain this
#
# The numbers of docs/reliability.md are in the lines with "measured:", "checked:", "soak:" and "workloads:".
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH=$HOME/.cargo/bin:$PATH
    fi
    local tests=(cargo test --quiet --features _ensemble-tests --test ensemble)
    # Built before the servers are there, to which a busy machine would look like a fault.
    "${tests[@]}" --no-run
    cargo build --quiet --package zookeeper-recipes-cli
    export ZKR=${ZKR:-${CARGO_TARGET_DIR:-$PWD/target}/debug/zkr}
    if [ $# -eq 0 ]; then
        cargo build --quiet --package demos
    fi

    # A session of 5 s is shorter than what a follower takes to see that it is cut off: 500 ms * 16, see SYNC_LIMIT in
    # tests/ensemble/ensemble.rs.
    step "faults" env ZOO_TICK_TIME=500 ZOO_SYNC_LIMIT=16 ZOO_INIT_LIMIT=40 ZOO_CFG_EXTRA="maxSessionTimeout=60000" \
        scripts/with-ensemble.sh "${tests[@]}" "$@" -- --test-threads=1 --nocapture
    if [ $# -eq 0 ]; then
        demos
    fi
    printf '==> ensemble tests: green, in %s s\n' "$SECONDS"
}

# Both Compose files as they are, with what their README tells to run.
demos() {
    local all='set -e; for demo in payments batch recharges relay scheduler; do cargo run --quiet --package demos --bin "$demo"; done'
    step "demos on docker/compose.yaml" scripts/with-ensemble.sh --single bash -c "$all"
    step "demos on docker/ensemble.yaml" scripts/with-ensemble.sh bash -c "$all"
}

step() {
    local name=$1
    shift
    printf '==> %s\n' "$name"
    "$@" || {
        printf '==> %s: failed after %s s\n' "$name" "$SECONDS" >&2
        exit 1
    }
}

main "$@"
