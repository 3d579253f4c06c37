#!/usr/bin/env bash
# Soaks the recipes: 20 client processes contend at random on an ensemble in containers, while servers and clients are
# killed, stopped, silenced and cut off at random; then every promise is checked against what was recorded.
#
#   scripts/soak.sh MINUTES
#
# ZK_SOAK_SEED=n chooses the faults of an earlier run; their timing is the machine's own.
set -euo pipefail

[[ ${1:-} =~ ^[0-9]+$ ]] || {
    printf 'usage: scripts/soak.sh MINUTES\n' >&2
    exit 2
}
ZK_SOAK_SECONDS=$(($1 * 60)) exec "$(dirname "$0")/ensemble-test.sh" soak::
