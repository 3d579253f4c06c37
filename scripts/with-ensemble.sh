#!/usr/bin/env bash
# Runs a command with an ensemble of three ZooKeeper servers in containers (docker/ensemble.yaml), and takes it down
# after it: no container, network or volume is left, whatever became of the command.
#
#   scripts/with-ensemble.sh COMMAND...
#   scripts/with-ensemble.sh --single COMMAND...   one server (docker/compose.yaml) instead
#
# The command sees ZOOKEEPER_CONNECT with the servers, and ZK_ENSEMBLE_PROJECT, the Compose project whose label the
# containers and networks carry. Ports, addresses and names are chosen so that several ensembles can run side by side.
# ZOO_TICK_TIME, ZOO_INIT_LIMIT, ZOO_SYNC_LIMIT and ZOO_CFG_EXTRA are handed on to the servers.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
readonly start_patience=120

main() {
    single=
    if [ "${1:-}" = --single ]; then
        single=1
        shift
    fi
    [ $# -gt 0 ] || fail "usage: scripts/with-ensemble.sh [--single] COMMAND..."
    docker version >/dev/null 2>&1 || fail "no Docker engine answers (try: docker version)"
    need_compose
    "$repository/docker/local-image.sh"

    export ZK_ENSEMBLE_PROJECT="zookeeper-recipes-$$"
    trap take_down EXIT
    trap 'exit 130' INT TERM HUP
    bring_up
    local status=0
    "$@" || status=$?
    [ "$status" = 0 ] || last_words
    trap - EXIT
    take_down
    return "$status"
}

# Compose comes with the engine in many places (version 2), and from Debian as docker-compose (version 1).
need_compose() {
    if docker compose version >/dev/null 2>&1; then
        compose=(docker compose)
        return
    fi
    if ! command -v docker-compose >/dev/null; then
        { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; } || fail "Docker Compose is missing: install it, and run this again"
        say "installing docker-compose (apt-get)"
        { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends docker-compose; } \
            >/dev/null || fail "could not install docker-compose"
    fi
    compose=(docker-compose)
}

# Another process may have taken a port or a subnet: then others are tried.
bring_up() {
    local log
    log=$(mktemp)
    for _ in 1 2 3 4 5; do
        # Below the range from which connections get their ports.
        local base=$((20000 + RANDOM % 4000 * 3))
        export ZOO1_PORT=$base ZOO2_PORT=$((base + 1)) ZOO3_PORT=$((base + 2))
        export ZOOKEEPER_QUORUM_NET="10.$((RANDOM % 100 + 130)).$((RANDOM % 250))"
        export ZOOKEEPER_CONNECT="127.0.0.1:$ZOO1_PORT,127.0.0.1:$ZOO2_PORT,127.0.0.1:$ZOO3_PORT"
        local file=ensemble.yaml
        if [ -n "$single" ]; then
            file=compose.yaml
            export ZOOKEEPER_PORT=$base ZOOKEEPER_CONNECT="127.0.0.1:$base"
        fi
        if "${compose[@]}" -p "$ZK_ENSEMBLE_PROJECT" -f "$repository/docker/$file" up -d >"$log" 2>&1; then
            rm -f "$log"
            await_health
            return
        fi
        remove_all
        grep -qE 'already in use|already allocated|overlaps' "$log" || break
    done
    cat "$log" >&2
    rm -f "$log"
    fail "the servers did not start"
}

# `up --wait` is not in Compose 1.
await_health() {
    local started=$SECONDS unhealthy
    while
        unhealthy=$(all ps -q | xargs docker inspect --format '{{.Name}} {{.State.Status}} {{.State.Health.Status}}' |
            grep -v ' healthy$')
    do
        [ $((SECONDS - started)) -lt $start_patience ] || {
            last_words
            fail "not healthy after $start_patience s: $unhealthy"
        }
        sleep 0.5
    done
    say "$ZK_ENSEMBLE_PROJECT: healthy after $((SECONDS - started)) s, at $ZOOKEEPER_CONNECT"
}

# What of this project there is: `all ps -q`, `all network ls -q`.
all() {
    case $1 in
    ps) docker "$@" --all --filter "label=com.docker.compose.project=$ZK_ENSEMBLE_PROJECT" ;;
    *) docker "$@" --filter "label=com.docker.compose.project=$ZK_ENSEMBLE_PROJECT" ;;
    esac
}

last_words() {
    local container
    for container in $(all ps -q); do
        printf -- '--- the end of the log of %s\n' "$(docker inspect --format '{{.Name}}' "$container")" >&2
        docker logs --tail 15 "$container" >&2 || true
    done
}

# By label and not by `down`, which knows neither what a test has added nor, in version 1, paused containers.
remove_all() {
    local volumes left
    volumes=$(all ps -q | xargs -r docker inspect --format '{{range .Mounts}}{{.Name}} {{end}}')
    all ps -q | xargs -r docker rm --force --volumes >/dev/null
    all network ls -q | xargs -r docker network rm >/dev/null
    all volume ls -q | xargs -r docker volume rm >/dev/null
    left=$(all ps -q && all network ls -q && for volume in $volumes; do docker volume ls -q --filter "name=$volume"; done)
    [ -z "$left" ] || fail "left behind: $left"
}

take_down() {
    remove_all
    say "$ZK_ENSEMBLE_PROJECT: taken down, no container, network or volume left"
}

say() {
    printf '==> %s\n' "$*"
}

fail() {
    printf '==> %s\n' "$*" >&2
    exit 1
}

main "$@"
