#!/usr/bin/env bash
# Runs tests/it on several versions of real ZooKeeper and says what differs. Slow: some 15 minutes a version.
#
#   scripts/server-matrix.sh                              3.6.3, 3.8.0 and 3.9.3, all tests
#   scripts/server-matrix.sh 3.6.3 3.9.3 -- fair_lock::   these versions, only the tests whose names contain this
#
# Needs Java, python3 with venv, and the headers that the feature `sasl` is built with (see .ci/run). The jars of 3.8.0
# are those of Debian's libzookeeper-java; the others lie in source packages of pyspark, of which pip downloads 320 MB
# and 430 MB. What is kept of them (10 MB) is in $XDG_CACHE_HOME/zookeeper-recipes, nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/zookeeper-recipes
results=${CARGO_TARGET_DIR:-target}/server-matrix

main() {
    local versions=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        versions+=("$1")
        shift
    done
    [ "${1:-}" != -- ] || shift
    [ ${#versions[@]} -gt 0 ] || versions=(3.6.3 3.8.0 3.9.3)

    command -v java >/dev/null || fail "java is missing: install a JRE (Debian: openjdk-17-jre-headless)"
    mkdir -p "$results"
    rm -f "$results"/*.tests
    local version
    for version in "${versions[@]}"; do
        classpath "$version" >/dev/null
    done
    # One build for all versions, also where the sources change meanwhile.
    tests=$(cargo test --all-features --test it --no-run --color never 2>&1 | tee >(cat >&2) | sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
    [ -x "$tests" ] || fail "tests/it was not built"
    for version in "${versions[@]}"; do
        run "$version" "$@"
    done
    report "${versions[@]}"
}

# Where the jars of a version are, for `java -cp`. Downloads them at the first use.
classpath() {
    case $1 in
    3.8.0)
        [ -e /usr/share/java/zookeeper-3.8.0.jar ] || fail "3.8.0 is missing: apt-get install libzookeeper-java (Debian 12)"
        echo /usr/share/java/zookeeper-3.8.0.jar:/usr/share/java/slf4j-simple.jar
        ;;
    3.6.3) from_pyspark 3.6.3 3.5.6 ;;
    3.9.3) from_pyspark 3.9.3 4.0.1 ;;
    *) fail "no jars are known for $1; known are 3.6.3, 3.8.0 and 3.9.3" ;;
    esac
}

from_pyspark() {
    local version=$1
    local jars=$cache/zookeeper-$version
    if [ ! -e "$jars/zookeeper-$version.jar" ]; then
        download "$version" "$2" "$jars" >&2
    fi
    echo "$jars/*"
}

# The source package holds the jars of Spark: of them the server, and what it logs and counts with.
download() {
    local version=$1 package=$2 jars=$3
    say "ZooKeeper $version: downloading pyspark $package"
    local work
    work=$(mktemp -d)
    # Reading a source package's name and version runs its set-up script: in an environment of its own.
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet setuptools wheel
    "$work/venv/bin/pip" download --quiet --no-deps --no-binary :all: --no-build-isolation --dest "$work" "pyspark==$package"
    local names=('zookeeper-*' 'slf4j-api-*' 'metrics-core-*' 'snappy-java-*' 'log4j-*')
    tar --extract --gzip --file "$work/pyspark-$package.tar.gz" --directory "$work" --strip-components=3 --wildcards \
        "${names[@]/#/pyspark-$package/deps/jars/}"
    mkdir -p "$jars"
    mv "$work"/*.jar "$jars"
    rm -rf "$work"
    [ -e "$jars/zookeeper-$version.jar" ] || fail "pyspark $package has no ZooKeeper $version"
}

run() {
    local version=$1
    shift
    say "ZooKeeper $version"
    local log=$results/$version.log began=$SECONDS
    ZK_TEST_SERVER=real ZK_TEST_CLASSPATH=$(classpath "$version") RUST_TEST_THREADS=${RUST_TEST_THREADS:-6} \
        nice "$tests" "$@" >"$log" 2>&1 || true
    { grep -E '^test .* \.\.\. (ok|FAILED|ignored)' "$log" || true; } | sed -E 's/^test (.*) \.\.\. (ok|FAILED|ignored).*/\1 \2/' |
        sort >"$results/$version.tests"
    grep -E '^test result:' "$log" || fail "the tests did not end; see $log"
    say "ZooKeeper $version: $((SECONDS - began)) s"
}

# Which tests fail, and where.
report() {
    local version failed=0
    say "what differs"
    for version in "$@"; do
        local name
        while read -r name; do
            printf '  %s fails: %s (see %s)\n' "$version" "$name" "$results/$version.log"
            failed=1
        done < <(sed -n 's/ FAILED$//p' "$results/$version.tests")
    done
    if [ "$failed" = 0 ]; then
        say "nothing: all tests pass on $*"
    fi
    return "$failed"
}

say() {
    printf '==> %s\n' "$*"
}

fail() {
    printf '==> %s\n' "$*" >&2
    exit 1
}

main "$@"
