#!/bin/sh
# Removes each safeguard in turn, in a copy of the sources. The tests that its
# patch names must fail; others may fail too.
#
#   tests/safeguards.sh [NAME ...]     the NAME of tests/safeguards/NAME.patch
#
# SAFEGUARDS_TARGET names a build folder to reuse. It must not be the project's own:
# cargo would take the broken program there for fresh.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
export CARGO_TARGET_DIR="${SAFEGUARDS_TARGET:-$root/target/safeguards}"
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
[ $# -gt 0 ] || set -- $(cd tests/safeguards && ls | sed 's/\.patch$//')

missed=0
for name in "$@"; do
    patch=$root/tests/safeguards/$name.patch
    rm -rf "$copy/src"
    cd "$root"
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -p -t "$copy"
    cd "$copy"
    patch -s -p1 <"$patch"
    # A patch that does not compile would look like a failing test. Warnings are normal.
    cargo build -q -j1 --test it 2>log || { cat log >&2; exit 1; }
    for test in $(sed -n 's/^Caught by: //p' "$patch"); do
        # A test that does not exist passes, and so is reported.
        if cargo test -q -j1 --test it -- --exact "$test" >log 2>&1; then
            echo "$name: MISSED by $test"
            missed=1
        else
            echo "$name: caught by $test"
        fi
    done
done
exit $missed
