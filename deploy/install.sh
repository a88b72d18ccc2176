#!/bin/sh
# Installs the service: a venv of its own, the command, the unit, an example configuration, a user.
#
#   make install                         as root, into /usr/local
#   make install PREFIX=/opt/agent       somewhere else
#   make install DESTDIR=/tmp/stage      staged below a directory, for a package: no root, no user
#   make install PYTHON=/usr/bin/python3.13
#
# Run it again to upgrade: what is installed stays until the new venv is complete, and the
# configuration is never touched.
set -eu
umask 022

NAME=audiosocket-agent
UNITS=/etc/systemd/system
CONFIG=/etc/$NAME

prefix=${PREFIX:-/usr/local}
destdir=${DESTDIR:-}
destdir=${destdir%/}
source=$(cd "$(dirname "$0")/.." && pwd -P)

say() { echo "install.sh: $*" >&2; }
die() { say "$*"; exit 1; }

# Prints why a Python cannot carry the service, or nothing.
fault() {
    "$1" - 2>/dev/null <<'PYTHON' || echo "$1 does not run"
import os, sys
base = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
hidden = [home for home in ("/home/", "/root/", "/run/user/") if base.startswith(home)]
if sys.version_info < (3, 11):
    print("%s is Python %d.%d" % ((sys.executable,) + sys.version_info[:2]))
elif hidden:
    print("%s is below %s, which the service cannot see" % (base, hidden[0]))
else:
    try:
        import ensurepip, venv
    except ImportError:
        print("%s has no venv (Debian: apt-get install python3-venv)" % base)
PYTHON
}

find_python() {
    why=
    for candidate in ${PYTHON:-/usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11}; do
        command -v "$candidate" >/dev/null || continue
        found=$(fault "$candidate")
        [ -n "$found" ] || { command -v "$candidate"; return; }
        why=${why:-$found}
    done
    die "needs Python 3.11 or newer: ${why:-${PYTHON:-python3} is not there}; set PYTHON=/path/to/it"
}

# Built beside the old one, below $destdir; what is written into it says where it will be: $home.
make_venv() {
    new=$destdir$home/venv.new
    rm -rf "$new"
    trap 'rm -rf "$new"' EXIT
    "$python" -m venv "$new"
    pip="$new/bin/python -m pip --disable-pip-version-check --quiet"
    $pip install --no-compile --require-hashes -r "$source/requirements.lock"
    $pip install --no-compile --no-deps --no-build-isolation "$source"
    "$new/bin/python" -m compileall -q -f -s "$new" -p "$home/venv" "$new/lib"
    grep -rlIF "$new" "$new/bin" "$new/pyvenv.cfg" | xargs sed -i "s|$new|$home/venv|g"

    rm -rf "$destdir$home/venv.old"
    [ ! -e "$destdir$home/venv" ] || mv "$destdir$home/venv" "$destdir$home/venv.old"
    mv "$new" "$destdir$home/venv"
    rm -rf "$destdir$home/venv.old"
}

case $prefix in
    /home/* | /root | /root/* | /run/user/*) die "the service cannot see PREFIX=$prefix" ;;
    *[!A-Za-z0-9/._+-]* | [!/]*) die "PREFIX=$prefix is not an absolute path of plain characters" ;;
esac
prefix=${prefix%/}
home=$prefix/lib/$NAME

if [ -n "$destdir" ]; then
    mkdir -p "$destdir" 2>/dev/null || die "DESTDIR=$destdir cannot be made"
    destdir=$(cd "$destdir" && pwd -P)
    case $destdir in
        *[!A-Za-z0-9/._+-]*) die "DESTDIR=$destdir is not a path of plain characters" ;;
    esac
elif [ "$(id -u)" != 0 ]; then
    die "needs root, or DESTDIR for a staged installation"
fi
python=$(find_python)

mkdir -p "$destdir$home" "$destdir$prefix/bin" "$destdir$UNITS" "$destdir$CONFIG" "$destdir$CONFIG/agents"
make_venv
ln -sfn "../lib/$NAME/venv/bin/$NAME" "$destdir$prefix/bin/$NAME"
for unit in "$NAME.service" "$NAME@.service" "$NAME.target"; do
    sed "s|^ExecStart=/usr/local/|ExecStart=$prefix/|" "$source/deploy/$unit" >"$destdir$UNITS/$unit"
done
[ -e "$destdir$CONFIG/agent.toml" ] || cp "$source/deploy/agent.toml" "$destdir$CONFIG/agent.toml"
# Not by the name of an agent: an upgrade's receptionist would never be used.
for agent in "$source"/audiosocket_agent/agents/*.toml; do
    cp "$agent" "$destdir$CONFIG/agents/$(basename "$agent").example"
done

if [ -z "$destdir" ]; then
    getent passwd "$NAME" >/dev/null || useradd --system --user-group --no-create-home \
        --home-dir "/var/lib/$NAME" --shell /usr/sbin/nologin "$NAME"
    [ ! -d /run/systemd/system ] || systemctl daemon-reload
fi

cat <<TEXT
$NAME is installed in $destdir$home.
1. The Gemini key goes into $CONFIG/gemini_api_key, mode 0600; paste it, then Ctrl-D:
       install -m 600 /dev/stdin $CONFIG/gemini_api_key
   Without it, callers talk to the embedded echo.
2. Who answers is a file in $CONFIG/agents: copy an example there, as
   receptionist.toml.example to receptionist.toml, and say what the agent is to know and do.
3. systemctl enable --now $NAME
   After an upgrade: systemctl restart $NAME, which lets running calls end first.
   For more calls than a core takes: $UNITS/$NAME@.service says how.
TEXT
[ -z "$destdir" ] || echo "The package has to make the system user $NAME."
