#!/bin/sh
# Takes each safeguard out in turn, in a copy of the sources, and expects tests
# to fail. A safeguard that no test misses could go unnoticed.
#
#   tests/safeguards.sh [NAME ...]     NAME is of tests/safeguards/NAME.patch
#
# SAFEGUARDS_TARGET names a build folder to use again.
set -eu
cd "$(dirname "$0")/.."
here=$PWD
target=${SAFEGUARDS_TARGET:-$here/target/safeguards}
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
unmissed=0
[ $# -gt 0 ] || set -- record reply sync lock settle watermark count print
for name in "$@"; do
    # The tests that are there for it; all others may fail too.
    case $name in
    record) tests="model:: kill::" ;;
    reply | sync) tests="durable::" ;;
    count) tests="disk::a_log" ;;
    lock) tests="run::the_second" ;;
    settle | watermark) tests="model::" ;;
    print) tests="prints::" ;;
    *) tests="" ;;
    esac
    rm -rf "$copy/src"
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -p -t "$copy"
    (cd "$copy" && patch -s -p1 <"$here/tests/safeguards/$name.patch")
    # A patch that does not build would be taken for a test that fails.
    (cd "$copy" && CARGO_TARGET_DIR=$target cargo build -q -j1 --test it)
    log=$copy/log
    # shellcheck disable=SC2086 # several names
    if (cd "$copy" && CARGO_TARGET_DIR=$target cargo test -q -j1 --test it -- $tests) >"$log" 2>&1; then
        echo "$name: taken out, and no test missed it"
        unmissed=1
    else
        echo "$name: missed by"
        sed -n 's/^    \([a-z_]*::[a-z_:]*\)$/  \1/p' "$log" | sort -u
    fi
done
exit $unmissed
