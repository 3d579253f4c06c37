#!/usr/bin/env bash
# Shows that tests/interop notices when we and the others no longer agree: breaks each name and byte order that we share
# with Curator and kazoo, one at a time and in a copy of the sources, and demands that its reference of layouts goes red,
# and every module that the break concerns. Without a break, all must be green.
#
#   scripts/interop-mutations.sh              all: about 25 minutes
#   scripts/interop-mutations.sh lock ready   only these
set -euo pipefail
cd "$(dirname "$0")/.."
readonly target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
readonly copy=$target/interop-mutations
readonly log=$copy.log
chosen=" $* "
known=
judged=0

main() {
    local name=src/znode/name.rs counter=src/recipes/shared_counter.rs semaphore=src/recipes/semaphore/mod.rs
    local everything='reference mutex rwlock election semaphore double_barrier values queue revocation'

    rm -rf "$copy"
    unbroken "$everything"
    # What it is; the modules of tests/interop/ that it concerns; where; what is replaced by what, in pairs.
    broken lock 'mutex election semaphore revocation' $name '=> "lock-"' '=> "lock_"'
    broken latch election $name '=> "latch-"' '=> "latch_"'
    broken read rwlock $name '=> "__READ__"' '=> "__READ_"'
    broken write rwlock $name '=> "__WRIT__"' '=> "__WRIT_"'
    broken lease semaphore $name '=> "lease-"' '=> "lease_"'
    broken kazoo-lock 'mutex rwlock election' $name '=> "__lock__"' '=> "__lock_"'
    broken kazoo-read-lock rwlock $name '=> "__rlock__"' '=> "__rlock_"'
    broken locks semaphore $semaphore 'child("locks")' 'child("lock")'
    broken leases semaphore $semaphore 'child("leases")' 'child("lease")'
    broken ready double_barrier src/recipes/double_barrier/view.rs '= "ready"' '= "READY"'
    broken item queue src/recipes/queue/fifo/backlog.rs '= "qn-"' '= "qn_"'
    broken revoke revocation src/znode/revocation.rs 'b"__REVOKE__";' 'b"__REVOKE_";'
    broken long values $counter 'Int64 => Some(Bytes::copy_from_slice(&count.to_be' 'Int64 => Some(Bytes::copy_from_slice(&count.to_le' \
        i64::from_be i64::from_le
    broken count values $counter ' Some(Bytes::copy_from_slice(&count.to_be_bytes()))
' ' Some(Bytes::copy_from_slice(&count.to_le_bytes()))
' i32::from_be i32::from_le
    # The others look only at what stands right before the number, and at no name of a member: red in the reference alone.
    broken separator '' $name '_c_{guid}-{}' '_c_{guid}{}'
    broken protection '' $name 'format!("_c_{guid}' 'format!("c_{guid}'
    broken member '' $name 'prefix: guid.clone()' 'prefix: format!("m-{guid}")'

    for name in $chosen; do
        [[ $known = *" $name "* ]] || fail "there is no break named $name, but:$known"
    done
    say "each break was noticed, $judged in $SECONDS s"
}

unbroken() {
    copy_sources
    interop "$1" || fail "without a break it is red: see $log"
    say "without a break: green"
}

broken() {
    local what=$1 modules="reference $2" file=$3 text module red told=
    shift 3
    known+=" $what "
    [[ $chosen = "  " || $chosen = *" $what "* ]] || return 0
    copy_sources
    while [ $# -gt 0 ]; do
        text=$(<"$copy/$file")
        [[ $text = *"$1"* ]] || fail "$what: $file no longer contains: $1"
        printf '%s\n' "${text/"$1"/"$2"}" >"$copy/$file"
        shift 2
    done
    ! interop "$modules" || fail "$what: nothing is red: see $log"
    for module in $modules; do
        red=$(failures | grep -c "^$module::") || fail "$what: $module stays green: see $log"
        told+="${told:+, }$red in $module"
    done
    say "$what: red are $told"
    judged=$((judged + 1))
}

# The sources as they are in the working tree, written again only where they differ: cargo goes by time.
copy_sources() {
    local file
    git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
        cmp --silent "$file" "$copy/$file" || install -D "$file" "$copy/$file"
    done
    # A wait in vain shall not be long.
    sed -i 's/\(PATIENCE: Duration = Duration::from_secs\)([0-9]*)/\1(30)/' "$copy/tests/interop/support.rs"
    grep -q 'PATIENCE: Duration = Duration::from_secs(30)' "$copy/tests/interop/support.rs" || fail "no PATIENCE to shorten"
}

# Runs the tests of these modules. A tree that does not compile is no red test.
interop() {
    local module filters=() code=0
    for module in $1; do
        filters+=("$module::")
    done
    (cd "$copy" && CARGO_TARGET_DIR=$target scripts/interop-test.sh "${filters[@]}") >"$log" 2>&1 || code=$?
    grep -q '^test result' "$log" || fail "no test has run: see $log"
    return $code
}

failures() {
    sed -n 's/^test \([a-z0-9_:]*\) .*FAILED$/\1/p' "$log"
}

say() {
    printf '==> %s\n' "$*"
}

fail() {
    printf '==> %s\n' "$*" >&2
    exit 1
}

main "$@"
