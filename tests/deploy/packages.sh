#!/bin/sh
# What the `pbx` tests in here need of Debian: systemd, systemd-container to boot a copy of it, a
# system Python with venv, and Prometheus with promtool.
#
# Prometheus is unpacked, not installed: no daemon starts, now or at the next boot.
set -eu

cache=${DEPLOY_CACHE:-/var/cache/audiosocket-agent/prometheus}

missing=
command -v systemd-analyze >/dev/null || missing="$missing systemd"
command -v systemd-nspawn >/dev/null || missing="$missing systemd-container"
/usr/bin/python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
# shellcheck disable=SC2086  # a list
[ -z "$missing" ] || apt-get install -qy --no-install-recommends $missing

if [ ! -x "$cache/usr/bin/promtool" ]; then
    new=$(mktemp -d)
    trap 'rm -rf "$new"' EXIT
    (cd "$new" && apt-get download -qq -o APT::Sandbox::User=root prometheus)
    mkdir -p "$cache"
    dpkg-deb -x "$new"/prometheus_*.deb "$cache"
fi
