#!/usr/bin/env bash
# Runs the tests that need an ensemble of three servers, in containers of their own, and leaves nothing behind. Needs a
# Docker engine; Compose and the image are seen to.
#
#   scripts/ensemble-test.sh               everything, with a soak of 40 seconds
#   scripts/ensemble-test.sh cut_follower  only the tests whose names contain this
#
# The numbers of docs/reliability.md are in the lines that begin with "measured:", "checked:" and "soak:".
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
    PATH=$HOME/.cargo/bin:$PATH
fi

readonly tests=(cargo test --quiet --features _ensemble-tests --test ensemble)
# Built before the servers are there, to which a busy machine would look like a fault.
"${tests[@]}" --no-run

# A session of 5 s is shorter than what a follower takes to see that it is cut off: 500 ms * 16 (tests/ensemble/ensemble.rs).
export ZOO_TICK_TIME=500 ZOO_SYNC_LIMIT=16 ZOO_INIT_LIMIT=40 ZOO_CFG_EXTRA="maxSessionTimeout=60000"
scripts/with-ensemble.sh "${tests[@]}" "$@" -- --test-threads=1 --nocapture
printf '==> ensemble tests: green, in %s s\n' "$SECONDS"
