#!/usr/bin/env bash
# Runs clients in other languages against zookeeper-embedded: kazoo and ZooKeeper's own Java client.
#
# Needs python3 with venv, and on Debian or Ubuntu `apt-get install default-jdk-headless libzookeeper-java`
# (elsewhere name the jars in ZOOKEEPER_CLASSPATH).
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
jars=${ZOOKEEPER_CLASSPATH:-/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar}
peers=embedded/tests/peers

cargo build -q -p zookeeper-embedded
mkdir -p "$target/peers"

venv=$target/peers/venv
if ! "$venv/bin/python" -c 'import kazoo' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet kazoo
fi
javac -cp "$jars" -d "$target/peers" "$peers/Smoke.java"

# The server says where it listens in its first line and ends with this script.
coproc SERVER { exec "$target/debug/zookeeper-embedded" 127.0.0.1:0; }
server=$SERVER_PID
trap 'kill "$server" 2>/dev/null || true' EXIT
read -r -t 30 _ _ _ address _ <&"${SERVER[0]}"
echo "serving on $address"

timeout 120 "$venv/bin/python" "$peers/smoke.py" "$address"
timeout 120 java -Xmx64m -XX:+UseSerialGC -Dorg.slf4j.simpleLogger.defaultLogLevel=error \
    -cp "$jars:$target/peers" Smoke "$address"
