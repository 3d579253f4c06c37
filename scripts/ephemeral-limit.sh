#!/usr/bin/env bash
# Shows that no session of a coordinator owns more ephemeral nodes than a server can forget at once: 36,000 locks are
# asked of one coordinator, its process is killed, the session expires, the server is restarted and serves. The bare
# client does the same beside it, after which the server never starts again (ZOOKEEPER-4306). Takes some minutes, and some
# 2 GB of memory. The servers are real ones of its own.
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
