#!/usr/bin/env bash
# Runs the tests against Java's Curator and Python's kazoo on a real ZooKeeper, and installs all three first where they
# are missing: Curator and ZooKeeper from Debian or Ubuntu (as root), kazoo from PyPI into a venv in the target directory.
#
#   scripts/interop-test.sh                everything, with a soak of 30 seconds
#   scripts/interop-test.sh mutex:: queue::   only the tests whose names contain one of these
#   scripts/interop-test.sh --soak [S]     the soak alone, of 120 seconds or S
set -euo pipefail
cd "$(dirname "$0")/.."
readonly peers=$(realpath -m "${CARGO_TARGET_DIR:-target}")/interop
readonly kazoo_version=2.11.0
readonly jars=/usr/share/java

main() {
    need_cargo
    need_java
    need_python
    compile_java
    export INTEROP_CLASSPATH=$peers/classes:$classpath:$jars/slf4j-simple.jar INTEROP_PYTHON=$peers/venv/bin/python
    export ZK_TEST_SERVER=real
    if [ "${1:-}" = --soak ]; then
        INTEROP_SOAK_SECONDS=${2:-120} run_tests soak:: --nocapture
    else
        run_tests "$@"
    fi
    say "interop: all green, in $SECONDS s"
}

run_tests() {
    local filters=()
    while [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; do
        filters+=("$1")
        shift
    done
    # Each test has a JVM or two of its own.
    cargo test --features _interop-tests --test interop -- "${filters[@]}" --test-threads=2 "$@" ||
        fail "interop: failed after $SECONDS s"
}

need_cargo() {
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH=$HOME/.cargo/bin:$PATH
    fi
    command -v cargo >/dev/null || fail "cargo is missing: install Rust as https://rustup.rs says, and run this again"
}

need_java() {
    local missing=()
    command -v javac >/dev/null || missing+=(default-jdk-headless)
    [ -e $jars/curator-recipes.jar ] || missing+=(libcurator-recipes-java)
    [ -e $jars/zookeeper.jar ] || missing+=(libzookeeper-java)
    [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
    say "Curator: $(cd $jars && ls -d curator-recipes-*.jar), $(javac -version 2>&1)"
}

need_python() {
    local python=$peers/venv/bin/python
    if ! [ "$("$python" -c 'import kazoo.version as v; print(v.__version__)' 2>/dev/null)" = $kazoo_version ]; then
        python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
        say "installing kazoo $kazoo_version (pip)"
        python3 -m venv --clear "$peers/venv"
        "$python" -m pip --quiet --disable-pip-version-check install kazoo==$kazoo_version
    fi
    say "kazoo: $kazoo_version, $("$python" --version)"
}

compile_java() {
    local jar
    classpath=
    for jar in curator-recipes curator-framework curator-client zookeeper zookeeper-jute guava slf4j-api; do
        [ -e $jars/$jar.jar ] || fail "$jars/$jar.jar is missing: install libcurator-recipes-java"
        classpath=${classpath:+$classpath:}$jars/$jar.jar
    done
    rm -rf "$peers/classes"
    # `-path`: Debian's jars name others that are not needed here.
    javac -Xlint:all,-path -Werror -cp "$classpath" -d "$peers/classes" interop/java/*.java
}

apt_install() {
    { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; } || fail "missing: $* (Debian's names): install them, and run this again"
    say "installing $* (apt-get)"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "$@" >/dev/null
}

say() {
    printf '==> %s\n' "$*"
}

fail() {
    printf '==> %s\n' "$*" >&2
    exit 1
}

main "$@"
