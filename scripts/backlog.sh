#!/usr/bin/env bash
# Shows what a backlog of a million items costs, once, on a real ZooKeeper of its own whose transactions wait for the
# disk: how fast the items come and go, the server's memory and largest reply, the time of a claim beside that at a
# thousand, and what the claims of a consumer that died cost the others. Takes some minutes, and some 3 GB of memory and
# of disk. docs/queue.md has the figures.
#
#   scripts/backlog.sh [ITEMS]
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH
if ! { [ -e /usr/share/java/zookeeper.jar ] && command -v java >/dev/null; } &&
    [ -z "${ZK_TEST_CLASSPATH:-}${ZK_TEST_IMAGE:-}" ] && ! command -v docker >/dev/null; then
    printf '==> no ZooKeeper server: scripts/test.sh installs one, or starts it in Docker\n' >&2
    exit 1
fi
unset ZOOKEEPER_CONNECT
exec cargo bench --bench queue -- --backlog "${1:-1000000}"
