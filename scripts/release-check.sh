#!/usr/bin/env bash
# Whether the packages may be published: contents, licences, dependencies, features, least versions, and their use by a crate
# outside the workspace.
#
#   scripts/release-check.sh             everything; about 15 minutes
#   scripts/release-check.sh --fast      what takes seconds; part of CI
#   scripts/release-check.sh --install   installs cargo-deny and cargo-hack without a question
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
work=$(mktemp -d)
current='release check'
trap finish EXIT

main() {
    fast=''
    [ "${1:-}" != --fast ] || fast=yes
    step "licence files in each published package" licences
    step "every script is in CONTRIBUTING.md" scripts_listed
    step "contents of the packages" contents
    [ -z "$fast" ] || exit 0
    need cargo-deny "${1:-}"
    need cargo-hack "${1:-}"
    step "licences, sources, duplicate versions" deny
    step "every combination of features" cargo hack check --quiet --package zookeeper-recipes --lib --feature-powerset \
        --exclude-features _ensemble-tests,_interop-tests,_model --target-dir "$target/features"
    step "Rust versions of what is used" cargo clippy --workspace --lib --all-features -- -D clippy::incompatible_msrv
    step "fuzz targets, which are no members of the workspace" fuzz_targets
    step "least versions of the dependencies" least_versions
    step "packages that need each other" unpack
    step "a crate outside the workspace uses the packages" smoke
    step "zkr is installed from its package" install_zkr
    printf '==> release check: all green, in %s s\n' "$SECONDS"
}

fuzz_targets() {
    local folder
    for folder in fuzz embedded/fuzz; do
        cargo check --quiet --manifest-path "$folder/Cargo.toml" --target-dir "$target/fuzz-check"
    done
}

# The folders of the packages that are published.
published() {
    printf '.\n'
    local manifest
    for manifest in */Cargo.toml; do
        grep -q '^publish = false' "$manifest" || dirname "$manifest"
    done
}

name_of() {
    sed -n 's/^name = "\(.*\)"/\1/p' "$1/Cargo.toml" | head -n 1
}

licences() {
    local folder licence
    for folder in $(published); do
        for licence in LICENSE-APACHE LICENSE-MIT; do
            cmp "$licence" "$folder/$licence" || missing "$(name_of "$folder"): $licence"
        done
    done
}

# A release needs it; a change may come before it.
missing() {
    printf 'MISSING: %s\n' "$1"
    [ -n "$fast" ] || exit 1
}

scripts_listed() {
    local script
    for script in scripts/*.sh; do
        grep -q "\`$script" CONTRIBUTING.md || { printf '%s is missing\n' "$script"; return 1; }
    done
}

# Nothing that only this repository needs, and all that a user does.
contents() {
    local folder name listed
    for folder in $(published); do
        name=$(name_of "$folder")
        listed=$(cargo package --quiet --allow-dirty --list --package "$name")
        for wanted in LICENSE-APACHE LICENSE-MIT README.md Cargo.toml; do
            grep -qx "$wanted" <<<"$listed" || missing "$name: $wanted in the package"
        done
        if grep -E '^(\.ci|\.github|tests|benches|interop|docker|scripts|fuzz)/' <<<"$listed"; then
            printf '%s: the files above do not belong into the package\n' "$name"
            return 1
        fi
    done
}

deny() {
    local others=() manifest
    for manifest in */Cargo.toml; do
        ! grep -q '^publish = false' "$manifest" || others+=(--exclude "$(name_of "$(dirname "$manifest")")")
    done
    cargo deny --exclude-dev "${others[@]}" check bans licenses sources
}

# Of the libraries, in a copy, since the lock file changes, and without what only tests need. `-Z` is for the resolver alone;
# what is built is stable.
least_versions() {
    mkdir "$work/least"
    git ls-files -z | xargs -0 cp --parents -t "$work/least"
    (
        cd "$work/least"
        local manifest
        for manifest in Cargo.toml embedded/Cargo.toml; do
            awk '/^\[/ {skip = /^\[dev-dependencies|^\[\[(bench|example|test)/} !skip' "$manifest" >stripped
            mv stripped "$manifest"
        done
        sed -i 's/^members = .*/members = ["embedded"]/' Cargo.toml
        RUSTC_BOOTSTRAP=1 cargo update --quiet -Z direct-minimal-versions
        cargo check --quiet --package zookeeper-recipes --package zookeeper-embedded --lib --features serde,cron,metrics,tls \
            --target-dir "$target/least"
    )
}

# Packs what is published, in one go since the packages need each other, and unpacks the tarballs.
unpack() {
    local folder packages=()
    for folder in $(published); do
        packages+=(--package "$(name_of "$folder")")
    done
    cargo package --quiet --allow-dirty --no-verify "${packages[@]}" --target-dir "$work/packages"
    for folder in $(published); do
        tar -xzf "$work/packages/package/$(name_of "$folder")-"[0-9]*.crate -C "$work"
    done
}

# Installs the command line from its package, and runs it.
install_zkr() {
    local folder name patches=()
    for folder in $(published); do
        name=$(name_of "$folder")
        [ "$name" = zookeeper-recipes-cli ] ||
            patches+=(--config "patch.crates-io.$name.path=\"$(echo "$work/$name-"[0-9]*)\"")
    done
    cargo install --quiet --debug --path "$(echo "$work/zookeeper-recipes-cli-"[0-9]*)" --root "$work/root" \
        --target-dir "$target/install" "${patches[@]}"
    local zkr=$work/root/bin/zkr
    [ "$("$zkr" server start --listen 127.0.0.1:0 -- "$zkr" lock /l -- sh -c 'echo held $ZK_LOCK_PATH')" = "held /l" ]
}

# Builds README's first example against the unpacked packages.
smoke() {
    local folder name patches=''
    for folder in $(published); do
        name=$(name_of "$folder")
        patches+="$name = { path = \"$(echo "$work/$name-"[0-9]*)\" }"$'\n'
    done
    mkdir -p "$work/smoke/src"
    cat >"$work/smoke/Cargo.toml" <<END
[package]
name = "smoke"
version = "0.0.0"
edition = "2024"

[workspace]

[dependencies]
tokio = { version = "1", features = ["full"] }
zookeeper-embedded = "0.1"
zookeeper-recipes = "0.1"

[patch.crates-io]
$patches
END
    awk '/^```rust$/ {inside = 1; next} /^```$/ && inside {exit} inside' README.md >"$work/smoke/src/main.rs"
    (cd "$work/smoke" && cargo run --quiet --target-dir "$target/smoke")
}

need() {
    ! command -v "$1" >/dev/null || return 0
    if [ "$2" != --install ]; then
        local answer=y
        [ ! -t 0 ] || read -r -p "$1 is missing. Install it by cargo? [y/N] " answer
        [ "$answer" = y ] || fail "$1 is missing: cargo install --locked $1"
    fi
    step "installing $1" cargo install --quiet --locked "$1"
}

# Not `"$@" || fail`: a function that is called in a condition goes on after a command that failed.
step() {
    current=$1
    shift
    printf '==> %s\n' "$current"
    "$@"
}

finish() {
    local status=$?
    rm -rf "$work"
    [ "$status" -eq 0 ] || printf '==> %s: failed\n' "$current" >&2
    exit "$status"
}

fail() {
    printf '==> %s\n' "$*" >&2
    exit 1
}

main "$@"
