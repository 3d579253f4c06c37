#!/usr/bin/env bash
# Jepsen's lock workloads on the ensemble under its faults: a mutex, a set in memory and a set in the ensemble for each
# recipe that locks, a register that each leader increments, a work queue. Slow, so it is no part of CI, whose ensemble
# tests have a short form.
#
#   scripts/workloads.sh [MINUTES] [SEED...]   (default: 10 minutes, one run with a seed of its own)
#
# A seed chooses the faults of an earlier run; their timing is the machine's own. The figures are in the lines with
# "workloads:".
set -euo pipefail

minutes=${1:-10}
[[ $minutes =~ ^[0-9]+$ ]] || {
    printf 'usage: scripts/workloads.sh [MINUTES] [SEED...]\n' >&2
    exit 2
}
[ $# -eq 0 ] || shift
export ZK_WORKLOAD_SECONDS=$((minutes * 60))
if [ $# -eq 0 ]; then
    exec "$(dirname "$0")/ensemble-test.sh" jepsen::
fi
for seed in "$@"; do
    ZK_WORKLOAD_SEED=$seed "$(dirname "$0")/ensemble-test.sh" jepsen::
done
