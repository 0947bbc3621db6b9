#!/bin/sh
# Writes the manual pages and completions of a built program, for packages.
#
#   packaging/pages.sh PROGRAM FOLDER
set -eu
program=$1 folder=$2
rm -rf "$folder/man" "$folder/completions"
mkdir -p "$folder/completions"
"$program" man --dir "$folder/man"
gzip -9n "$folder/man/"*.1
"$program" completions bash >"$folder/completions/omnidesk-sync"
"$program" completions zsh >"$folder/completions/_omnidesk-sync"
"$program" completions fish >"$folder/completions/omnidesk-sync.fish"
