#!/bin/sh
# Packs a built program with its pages, example and units into one archive.
#
#   packaging/archive.sh BUILD TARGET OUTPUT
#   packaging/archive.sh target/release x86_64-unknown-linux-gnu dist
set -eu
cd "$(dirname "$0")/.."
build=$1 target=$2 output=$3
packaging/pages.sh "$build/omnidesk-sync" "$build"
version=$("$build/omnidesk-sync" --version)
name=omnidesk-sync-${version#* }-$target
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/$name"
cp -R "$build/omnidesk-sync" "$build/man" "$build/completions" README.md CHANGELOG.md LICENSE config.example.toml \
    packaging/omnidesk-sync.service packaging/omnidesk-sync.timer packaging/omnidesk-sync.cron "$folder/$name"
mkdir -p "$output"
tar -czf "$output/$name.tar.gz" -C "$folder" "$name"
