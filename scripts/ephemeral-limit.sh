#!/usr/bin/env bash
# Shows that no session of a coordinator owns more ephemeral nodes than a server can forget at once: a process holds
# 20,000 locks and ends by a close, by an expiry and by SIGKILL; one server and three in an ensemble are killed and
# started again, and serve. The bare client does the same with 36,000 nodes, after which its server never starts again
# (ZOOKEEPER-4306). Takes some minutes, and some 4 GB of memory. The servers are real ones of its own.
#
#   scripts/ephemeral-limit.sh
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH
if ! { [ -e /usr/share/java/zookeeper.jar ] && command -v java >/dev/null; } &&
    [ -z "${ZK_TEST_CLASSPATH:-}${ZK_TEST_IMAGE:-}" ] && ! command -v docker >/dev/null; then
    printf '==> no ZooKeeper server: scripts/test.sh installs one, or starts it in Docker\n' >&2
    exit 1
fi
unset ZOOKEEPER_CONNECT
exec cargo bench --bench ephemeral_limit
