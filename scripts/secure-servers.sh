#!/usr/bin/env bash
# Runs the recipes on real servers that ask for more than an address: TLS with certificates made for the purpose, SASL
# DIGEST-MD5, enforced credentials, skipped ACLs, a lowered jute.maxbuffer, and an ensemble in read-only mode. Then zkr with
# SASL.
#
#   scripts/secure-servers.sh [FILTER]     prints a line a case: the table in docs/connecting.md; with a FILTER, without zkr
#
# Needs the jars of a ZooKeeper (Debian: openjdk-17-jre-headless libzookeeper-java, which scripts/test.sh installs), the
# program openssl, and the headers that the feature `sasl` is built with (see .ci/run).
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
    PATH=$HOME/.cargo/bin:$PATH
fi
# A container would not see the certificates.
unset ZK_TEST_IMAGE
for program in java openssl cargo; do
    command -v "$program" >/dev/null || {
        printf '==> %s is missing; install it, and run this again\n' "$program" >&2
        exit 1
    }
done
[ -n "${ZK_TEST_CLASSPATH:-}" ] || [ -e /usr/share/java/zookeeper.jar ] || {
    printf '==> no jars of a ZooKeeper; apt-get install libzookeeper-java, or name some in ZK_TEST_CLASSPATH\n' >&2
    exit 1
}
cargo test --features tls,sasl --test secure -- --nocapture --test-threads=3 "$@"
[ $# -gt 0 ] || cargo test --package zookeeper-recipes-cli --features tls,sasl --test zkr sasl::
