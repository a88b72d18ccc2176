#!/bin/sh
# Builds the Asterisk that tests/pbx calls: a Debian root file system with Asterisk 22 in it.
#
#   tests/pbx/rootfs.sh            builds, or does nothing if it is built already
#   PBX_ROOT=/some/dir ...         builds there
#
# Needs root on a Debian machine; about 115 MB of download and 400 MB of disk. The machine itself
# gets at most debootstrap. Stable Debian ships no Asterisk, so the packages come from the suite
# below, over the mirror, the proxy and the keys this machine's apt already uses.
set -eu

SUITE=forky
PACKAGES="asterisk asterisk-core-sounds-en-wav asterisk-moh-opsound-wav"
# The suite is signed by keys a release older than itself already has; its debootstrap script may
# be missing there, and `sid` is the same one.
SCRIPT=/usr/share/debootstrap/scripts/sid

root=${PBX_ROOT:-/var/cache/audiosocket-agent/asterisk}
stamp=$root/.built-by

say() { echo "rootfs.sh: $*" >&2; }
die() { say "$*"; exit 1; }

# The archive itself, neither its security nor its updates mirror.
mirror() {
    apt-get indextargets --format '$(REPO_URI)' \
        'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sort -u | head -n 1
}

build() {
    new=$1
    archive=$(mirror)
    if [ -z "$archive" ] || ! command -v debootstrap >/dev/null; then
        apt-get update -q
        apt-get install -qy --no-install-recommends debootstrap debian-archive-keyring
        archive=$(mirror)
    fi
    [ -n "$archive" ] || die "apt knows no Debian mirror on this machine"
    eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
    [ -z "${http_proxy:-}" ] || export http_proxy

    debootstrap --variant=minbase --include=ca-certificates "$SUITE" "$new" "$archive" "$SCRIPT"

    apt-config dump | grep -E '^Acquire::(http|https|ftp|Check|Retries|Languages)' \
        >"$new/etc/apt/apt.conf.d/90like-the-host" || true
    printf 'path-exclude=/usr/share/%s/*\n' doc man locale info \
        >"$new/etc/dpkg/dpkg.cfg.d/90no-manuals"
    echo force-unsafe-io >"$new/etc/dpkg/dpkg.cfg.d/90fast"  # a crash rebuilds, it never repairs
    printf '#!/bin/sh\nexit 101\n' >"$new/usr/sbin/policy-rc.d"  # no daemon starts in here
    chmod 755 "$new/usr/sbin/policy-rc.d"

    # shellcheck disable=SC2086  # PACKAGES is a list
    DEBIAN_FRONTEND=noninteractive LC_ALL=C chroot "$new" \
        apt-get install -qy --no-install-recommends $PACKAGES
    chroot "$new" apt-get clean
    rm -rf "$new"/var/lib/apt/lists/*
}

this=$(sha256sum "$0" | cut -d' ' -f1)
is_current() { [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$this" ]; }

if is_current; then
    say "$root is built"
    exit 0
fi
[ "$(id -u)" = 0 ] || die "needs root, to debootstrap and chroot"

mkdir -p "$(dirname "$root")"
exec 9>"$root.lock"
flock 9
is_current && exit 0  # another run built it while this one waited

new=$root.new
log=$root.log
rm -rf --one-file-system "$new" "$root.old"
say "building $root, one or two minutes; log in $log"
set +e  # not `if ! (build ...)`: that would switch -e off inside it too
(set -e; build "$new") >"$log" 2>&1
built=$?
set -e
if [ "$built" != 0 ]; then
    tail -n 20 "$log" >&2
    die "failed; the whole log is $log"
fi
echo "$this" >"$new/.built-by"
[ ! -e "$root" ] || mv "$root" "$root.old"
mv "$new" "$root"
rm -rf --one-file-system "$root.old"
say "built: $(chroot "$root" asterisk -V)"
