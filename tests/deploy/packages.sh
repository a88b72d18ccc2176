#!/bin/sh
# What the `pbx` tests in here and in tests/records need of Debian: systemd, systemd-container to boot
# a copy of it, a system Python with venv, Prometheus with promtool, and PostgreSQL, of which no cluster
# is made: the tests make their own. And HAProxy, for tests/pbx/test_fleet.py.
#
# Prometheus and HAProxy are unpacked, not installed: no daemon starts, now or at the next boot.
set -eu

cache=${DEPLOY_CACHE:-/var/cache/audiosocket-agent/prometheus}
haproxy=${HAPROXY_CACHE:-/var/cache/audiosocket-agent/haproxy}

missing=
command -v systemd-analyze >/dev/null || missing="$missing systemd"
command -v systemd-nspawn >/dev/null || missing="$missing systemd-container"
/usr/bin/python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    missing="$missing postgresql"
fi
# shellcheck disable=SC2086  # a list
[ -z "$missing" ] || apt-get install -qy --no-install-recommends $missing

if [ ! -x "$cache/usr/bin/promtool" ]; then
    new=$(mktemp -d)
    trap 'rm -rf "$new"' EXIT
    (cd "$new" && apt-get download -qq -o APT::Sandbox::User=root prometheus)
    mkdir -p "$cache"
    dpkg-deb -x "$new"/prometheus_*.deb "$cache"
fi

# With the libraries that this machine has not got: they are found by LD_LIBRARY_PATH.
if [ ! -x "$haproxy/usr/sbin/haproxy" ]; then
    debs=$(mktemp -d)
    trap 'rm -rf "${new:-$debs}" "$debs"' EXIT
    mkdir "$debs/partial"
    apt-get install -qqy --download-only --reinstall --no-install-recommends \
        -o APT::Sandbox::User=root -o Dir::Cache::archives="$debs" haproxy
    mkdir -p "$haproxy"
    for deb in "$debs"/*.deb; do
        dpkg-deb -x "$deb" "$haproxy"
    done
fi
