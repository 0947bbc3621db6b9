#!/bin/sh
# Installs, upgrades and removes a package on a copy of this machine: an overlay in
# memory, in namespaces of its own, which ends with this script.
#
#   unshare --mount --pid --fork install.sh PACKAGE EXPORT FOLDER
set -eux
base=$3
mount -t tmpfs tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
mount -t proc proc "$base/root/proc"
mount --bind /dev "$base/root/dev"
mount -t tmpfs tmpfs "$base/root/run"
mount -t tmpfs tmpfs "$base/root/tmp"
cp "$1" "$base/root/tmp/package.deb"
cp "$2" "$base/root/tmp/customers.csv"

fails() { if "$@"; then exit 1; fi; }
on_the_copy() { chroot "$base/root" "$@"; }
# The images of containers leave documentation out.
install() {
    on_the_copy dpkg --path-include='/usr/share/doc/*' --path-include='/usr/share/man/*' --install /tmp/package.deb
}
timer() { on_the_copy systemctl --root=/ is-enabled omnidesk-sync.timer || true; }

on_the_copy dpkg --purge omnidesk-sync
find "$base/upper" >"$base/before"

# Installed, it works. Nothing runs and nothing is enabled.
install
on_the_copy omnidesk-sync --version
test "$(timer)" = disabled
fails on_the_copy pidof omnidesk-sync
on_the_copy systemd-analyze verify --man=no omnidesk-sync.service omnidesk-sync.timer
on_the_copy sh -eux <<'EOF'
cd /tmp
export HOME=/tmp
cp /usr/share/doc/omnidesk-sync/examples/config.example.toml omnidesk-sync.toml
omnidesk-sync run --sandbox --rate 1000/s --quiet customers.csv
EOF
on_the_copy bash -eux <<'EOF'
source /usr/share/bash-completion/completions/omnidesk-sync
COMP_WORDS=(omnidesk-sync sta) COMP_CWORD=1
function=$(complete -p omnidesk-sync | sed 's/.* -F \([^ ]*\) .*/\1/')
"$function" omnidesk-sync sta omnidesk-sync
test "${COMPREPLY[*]}" = status
EOF

# An upgrade leaves what a person has enabled.
on_the_copy systemctl --root=/ enable omnidesk-sync.timer
install
test "$(timer)" = enabled

# Removed and purged, nothing is left.
on_the_copy dpkg --remove omnidesk-sync
fails on_the_copy sh -c 'command -v omnidesk-sync'
on_the_copy dpkg --purge omnidesk-sync
find "$base/upper" >"$base/after"
diff "$base/before" "$base/after" >"$base/left" || true
fails grep omnidesk "$base/left"
