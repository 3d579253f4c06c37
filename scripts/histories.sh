#!/usr/bin/env bash
# The long histories, on the embedded server and on a real one: 20,000 items of work queues and 10,000 due times of schedules,
# under sessions that expire, connections that are cut, processes that are stopped and killed, and servers that restart. Takes
# a quarter of an hour.
#
#   scripts/histories.sh
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH
for server in embedded real; do
    printf '==> histories on the %s server\n' "$server"
    ZK_TEST_SERVER=$server WORK_QUEUE_ITEMS=20000 SCHEDULE_RUNS=10000 \
        cargo test --quiet --features serde,cron --test it -- work_queue::history schedule::history --nocapture
done
