#!/usr/bin/env bash
# Runs all tests, and installs a ZooKeeper server for them first where there is none.
#
#   scripts/test.sh             everything
#   scripts/test.sh fair_lock:: only the tests whose names contain this; all arguments go to `cargo test`
#   scripts/test.sh --install   installs what is missing without a question (first argument)
#
# The server is, in this order: the jars of ZK_TEST_CLASSPATH; the Docker image ZK_TEST_IMAGE; Debian's or Ubuntu's
# package, installed by apt-get if we are root (a terminal is asked first); the Docker image zookeeper:3.9.
# ZOOKEEPER_CONNECT may name a running server for the tests that do not have to freeze or kill theirs.
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
    if [ "${1:-}" = --install ]; then
        consent=yes
        shift
    fi
    need_cargo
    need_c_compiler
    need_server

    step "tests on the embedded server" on embedded "$@"
    step "tests on a real ZooKeeper" on real --test it "$@"
    step "tests of the feature metrics" cargo test --features metrics --test metrics "$@"
    step "tests of zkr, the demos, the embedded server and the testkit" members "$@"
    if [ $# -eq 0 ]; then
        all_else
    fi

    say "all green, in $SECONDS s"
}

# The tests of the crate, on one kind of server. They wait more than they work, for sessions that expire and links that
# are silent: more of them at a time than there are cores.
on() {
    local server=$1
    shift
    ZK_TEST_SERVER=$server RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(getconf _NPROCESSORS_ONLN)))} cargo test --features serde,cron "$@"
}

# Those of the other packages, which take times and start ensembles. Not with `--workspace`: all that is above would be
# compiled a second time, with the features that these ask of their dependencies.
members() {
    ZK_TEST_SERVER=real cargo test --package zookeeper-recipes-cli --package demos --package zookeeper-embedded --package zookeeper-testkit "$@"
}

# What is more than `cargo test`. One line a step:
#     step "what it shows" with_zookeeper cargo run --quiet --package demos --bin NAME
all_else() {
    local name
    local example
    for example in examples/*.rs; do
        example=$(basename "$example" .rs)
        [ "$example" = payments ] || step "example $example" example_runs "$example"
    done
    step "the README's first command" env -u ZOOKEEPER_CONNECT cargo run --quiet --features serde,cron --example payments
    for name in payments batch recharges relay scheduler; do
        local demo=(cargo run --quiet --package demos --bin "$name")
        # On real servers they all run in scripts/ensemble-test.sh.
        if [ "$name" = payments ]; then
            step "$name on a real server" with_zookeeper "${demo[@]}"
        else
            step "$name on the embedded server" env -u ZOOKEEPER_CONNECT "${demo[@]}"
        fi
    done
}

# On the embedded server and on a real one.
example_runs() {
    local example=(cargo run --quiet --features serde,cron --example "$1")
    env -u ZOOKEEPER_CONNECT "${example[@]}" && with_zookeeper "${example[@]}"
}

# Runs a command with ZOOKEEPER_CONNECT naming a real server of its own, which ends with it.
with_zookeeper() {
    cargo run --quiet --package zookeeper-testkit --bin with-zookeeper -- "$@"
}

need_cargo() {
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH=$HOME/.cargo/bin:$PATH
    fi
    command -v cargo >/dev/null || fail "cargo is missing: install Rust as https://rustup.rs says, and run this again"
    say "cargo: $(cargo --version)"
}

# The bundled SQLite of an example, and the linker.
need_c_compiler() {
    if ! command -v cc >/dev/null; then
        if ! can_install || ! apt_install gcc libc6-dev; then
            fail "a C compiler is missing: install gcc, and run this again"
        fi
    fi
    say "C compiler: $(command -v cc)"
}

need_server() {
    if [ -n "${ZK_TEST_CLASSPATH:-}" ]; then
        say "ZooKeeper: the jars of ZK_TEST_CLASSPATH"
    elif [ -n "${ZK_TEST_IMAGE:-}" ]; then
        need_image "$ZK_TEST_IMAGE"
    elif have_jars; then
        say "ZooKeeper: the jars of libzookeeper-java"
    elif can_install && install_jars && have_jars; then
        say "ZooKeeper: the jars of libzookeeper-java, just installed"
    else
        need_image zookeeper:3.9
    fi
}

have_jars() {
    [ -e /usr/share/java/zookeeper.jar ] && command -v java >/dev/null
}

install_jars() {
    if ! command -v java >/dev/null; then
        apt_install openjdk-17-jre-headless || apt_install default-jre-headless || return
    fi
    apt_install libzookeeper-java
}

need_image() {
    command -v docker >/dev/null ||
        fail "no ZooKeeper server: needs root on a Debian or Ubuntu to install one, or Docker to run the image $1"
    docker version >/dev/null 2>&1 ||
        fail "no ZooKeeper server: Docker is here, but its engine does not answer (try: docker version)"
    if ! docker image inspect "$1" >/dev/null 2>&1; then
        say "ZooKeeper: pulling the Docker image $1"
        docker pull --quiet "$1" >/dev/null || fail "cannot pull the Docker image $1"
    fi
    say "ZooKeeper: the Docker image $1"
}

# Asks once where a person sits at the terminal; a company may have its own way to install.
can_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return
    if [ -z "${consent:-}" ]; then
        consent=yes
        [ ! -t 0 ] || read -r -p "May the script install what the tests need, by apt-get? [y/N] " consent
    fi
    [[ $consent = y* ]]
}

apt_install() {
    say "installing $* (apt-get)"
    local log
    log=$(mktemp)
    if ! { [ -n "${updated:-}" ] || apt-get -qq update; } >"$log" 2>&1 ||
        ! DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "$@" >>"$log" 2>&1; then
        tail -n 5 "$log"
        say "could not install $*"
        rm -f "$log"
        return 1
    fi
    updated=1
    rm -f "$log"
}

step() {
    local name=$1
    shift
    say "$name"
    "$@" || fail "$name: failed after $SECONDS s"
}

say() {
    printf '==> %s\n' "$*"
}

fail() {
    printf '==> %s\n' "$*" >&2
    exit 1
}

main "$@"
