#!/usr/bin/env bash
# Sees to it that the image of the Compose files is there: the official one where a registry can be reached; else one
# built from Debian's packages, with the same tag and the same environment variables.
#
#   docker/local-image.sh
#
# Does nothing if the official image is there. `docker image rm zookeeper:3.9` forgets the one built here.
set -euo pipefail
cd "$(dirname "$0")/local-image"

readonly image=zookeeper:3.9
readonly official_base=debian:bookworm-slim
# Its own name: the official one stays free for the official base.
readonly own_base=zookeeper-recipes-base:bookworm
readonly label=zookeeper-recipes.local-image

main() {
    docker version >/dev/null 2>&1 || fail "no Docker engine answers (try: docker version)"
    local inputs built_from
    inputs=$(cat Dockerfile zookeeper.sh | sha256sum | cut -c1-16)
    if built_from=$(docker image inspect --format "{{index .Config.Labels \"$label\"}}" "$image" 2>/dev/null); then
        case $built_from in
        "" | "<no value>") say "$image: the official image is here, nothing to do" && return ;;
        "$inputs") say "$image: the image built here from Debian's packages is up to date" && return ;;
        esac
    elif docker pull --quiet "$image" >/dev/null 2>&1; then
        say "$image: pulled the official image"
        return
    fi

    say "$image: NOT the official image, which cannot be pulled here: building one from Debian's packages"
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    choose_base
    docker build --build-arg "BASE=$base" --label "$label=$inputs" --tag "$image" . >"$scratch/log" 2>&1 || {
        tail -n 20 "$scratch/log" >&2
        fail "$image could not be built"
    }
    say "$image: built in $SECONDS s on $base, with ZooKeeper $(version) from Debian"
}

# Sets `base` to an image of Debian: the official one if it can be had, else one made by debootstrap.
choose_base() {
    base=$official_base
    if docker image inspect "$base" >/dev/null 2>&1 || docker pull --quiet "$base" >/dev/null 2>&1; then
        return
    fi
    base=$own_base
    if docker image inspect "$base" >/dev/null 2>&1; then
        return
    fi
    [ "$(id -u)" = 0 ] || fail "cannot pull $official_base, and only root can make a base with debootstrap"
    if ! command -v debootstrap >/dev/null; then
        command -v apt-get >/dev/null || fail "cannot pull $official_base, and there is no debootstrap"
        say "installing debootstrap (apt-get)"
        { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends debootstrap; } \
            >/dev/null || fail "could not install debootstrap"
    fi
    say "base: $official_base cannot be pulled: making $own_base with debootstrap"
    debootstrap --variant=minbase bookworm "$scratch/debian" >"$scratch/log" 2>&1 || {
        tail -n 5 "$scratch/log" >&2
        fail "debootstrap failed"
    }
    tar -C "$scratch/debian" --exclude='./var/cache/apt/archives/*.deb' -c . | docker import - "$own_base" >/dev/null
}

version() {
    docker run --rm "$image" dpkg-query --show --showformat='${Version}' libzookeeper-java
}

say() {
    printf '==> %s\n' "$*"
}

fail() {
    printf '==> %s\n' "$*" >&2
    exit 1
}

main
