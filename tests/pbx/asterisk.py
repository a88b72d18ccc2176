"""A real Asterisk of our own: its configuration, its life, its console.

It runs by chroot in the root file system rootfs.sh built, in the foreground, on free ports of
127.0.0.1, with a fresh directory for configuration, log, database and console socket. The dialplan
it loads is the shipped one, `asterisk/extensions_audiosocket.conf`, under the few numbers below.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(os.environ.get("PBX_ROOT", "/var/cache/audiosocket-agent/asterisk"))
SHIPPED: Final = Path(__file__).parents[2] / "asterisk"

PLAIN, ROBUST, WIDE, ECHO = "1000", "1001", "1002", "1003"
AGENT, RUNG = "1010", "1011"
"""Extensions: one for each shipped form, and Asterisk's own Echo() for the bench to test itself."""

_START_TIMEOUT_S: Final = 20.0
_STOP_TIMEOUT_S: Final = 10.0

# `require`: without one of these there is no start, rather than a call that fails strangely.
_MODULES_CONF: Final = """\
[modules]
autoload = no
; the shipped dialplan's
require = res_audiosocket.so
require = app_audiosocket.so
require = chan_audiosocket.so
require = func_uuid.so
require = app_stack.so
require = app_exec.so
require = app_dial.so
require = res_speech.so
require = res_agi.so
require = func_channel.so
require = func_logic.so
; the test's own
require = pbx_config.so
require = app_playback.so
require = app_echo.so
require = func_db.so
require = func_callerid.so
require = format_wav.so
; SIP and RTP
require = res_sorcery_config.so
require = res_sorcery_memory.so
require = res_sorcery_astdb.so
require = res_pjproject.so
require = res_pjsip.so
require = res_pjsip_session.so
require = res_pjsip_pubsub.so
require = res_pjsip_endpoint_identifier_ip.so
require = res_pjsip_caller_id.so
require = res_pjsip_sdp_rtp.so
require = chan_pjsip.so
require = res_rtp_asterisk.so
require = res_timing_timerfd.so
; media
require = codec_ulaw.so
require = codec_alaw.so
require = codec_g722.so
require = codec_resample.so
require = bridge_simple.so
"""

# Parts of the core that complain of a missing file; their defaults will do.
_UNCONFIGURED: Final = (
    "acl.conf",
    "ccss.conf",
    "cdr.conf",
    "cel.conf",
    "features.conf",
    "indications.conf",
    "manager.conf",
    "pjproject.conf",
    "udptl.conf",
)

_ASTERISK_CONF: Final = """\
[directories]
astetcdir => {home}
astdbdir => {home}
astrundir => {home}
astlogdir => {home}
astspooldir => {home}

[options]
verbose = 3
"""

_LOGGER_CONF: Final = """\
[general]
dateformat = %H:%M:%S.%3q

[logfiles]
log => notice,warning,error,verbose
"""

_PJSIP_CONF: Final = """\
[udp]
type = transport
protocol = udp
bind = 127.0.0.1:{sip_port}

[phone]
type = endpoint
context = phones
disallow = all
allow = ulaw,slin16,g722,alaw
direct_media = no
media_address = 127.0.0.1
bind_rtp_to_media_address = yes

[loopback]
type = identify
endpoint = phone
match = 127.0.0.1
"""

# Below the kernel's ephemeral ports; Asterisk itself skips those in use.
_RTP_CONF: Final = """\
[general]
rtpstart = 16384
rtpend = 32000
"""

# After the agent, the dialplan says so in the database and by a beep at the caller's ear.
_EXTENSIONS_CONF: Final = """\
[globals]
AGENT_ADDRESS=127.0.0.1:9092
AGENT_FASTAGI=127.0.0.1:4573

[phones]
exten => 1010,1,Gosub(audiosocket-agent,agent,1)
 same => n,Goto(after,s,1)
exten => 1011,1,Gosub(audiosocket-agent,agent,1(1.5))
 same => n,Goto(after,s,1)
exten => 1000,1,Gosub(audiosocket-agent,plain,1)
 same => n,Goto(after,s,1)
exten => 1001,1,Gosub(audiosocket-agent,robust,1)
 same => n,Goto(after,s,1)
exten => 1002,1,Gosub(audiosocket-agent,wide,1)
 same => n,Goto(after,s,1)
exten => 1003,1,Answer()
 same => n,Echo()

[audiosocket-agent-targets]
exten => 2001,1,Set(DB(passed-on/${CALLERID(num)})=named ${CALLERID(name)})
 same => n,Answer()
 same => n,Playback(tt-monkeys)
 same => n,Hangup()
exten => 2002,1,Busy()

[after]
exten => s,1,Set(DB(went-on/${CALLERID(num)})=returned ${GOSUB_RETVAL})
 same => n,Playback(beep)
 same => n,Hangup()

#include "extensions_audiosocket.conf"
"""


@dataclass(frozen=True, slots=True)
class Asterisk:
    """One running Asterisk."""

    sip_port: int
    pid: int
    home: Path

    async def rx(self, command: str) -> str:
        """Run a console command; its output."""
        process = await asyncio.create_subprocess_exec(
            *_console(self.home, command),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return output.decode()

    async def send_agents_to(self, port: int, fastagi: int = 0) -> None:
        """Let the shipped dialplan find the agent at these ports of 127.0.0.1 from now on."""
        await self.rx(f"dialplan set global AGENT_ADDRESS 127.0.0.1:{port}")
        await self.rx(f"dialplan set global AGENT_FASTAGI 127.0.0.1:{fastagi}")

    async def went_on(self, caller: str) -> str | None:
        """What the agent's subroutine returned to this caller's dialplan; None: not yet, or hung
        up before."""
        reply = await self.rx(f"database get went-on {caller}")
        value = reply.partition("Value: returned")[2]
        return value.strip() if "Value:" in reply else None

    async def channels(self) -> int:
        """How many channels are up."""
        return int((await self.rx("core show channels count")).split()[0])

    def log(self, start: int = 0) -> str:
        """Its log from a position on, dialplan steps included."""
        return _read(self.home / "log")[start:]


@contextmanager
def running_asterisk(root: Path = ROOT) -> Iterator[Asterisk]:
    """Run an Asterisk until the block ends. Raises RuntimeError, with its log, if it does not
    start."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=root / "tmp") as directory:
        home = Path(directory)
        sip_port = free_port(socket.SOCK_DGRAM)
        _configure(home, root, sip_port)
        inside = _inside(home)
        with (home / "output").open("wb") as output:
            process = subprocess.Popen(
                ["chroot", str(root), "asterisk", "-f", "-C", f"{inside}/asterisk.conf"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            _wait_booted(process, home)
            yield Asterisk(sip_port, process.pid, home)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of 127.0.0.1 nobody listens on now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _configure(home: Path, root: Path, sip_port: int) -> None:
    inside = _inside(home)
    files = dict.fromkeys(_UNCONFIGURED, "") | {
        "asterisk.conf": _ASTERISK_CONF.format(home=inside),
        "modules.conf": _MODULES_CONF,
        "logger.conf": _LOGGER_CONF,
        "pjsip.conf": _PJSIP_CONF.format(sip_port=sip_port),
        "rtp.conf": _RTP_CONF,
        "extensions.conf": _EXTENSIONS_CONF,
    }
    for name, text in files.items():
        (home / name).write_text(text)
    for shipped in SHIPPED.glob("*.conf"):
        shutil.copy(shipped, home)


def _inside(home: Path) -> str:
    """The same directory as Asterisk sees it."""
    return f"/tmp/{home.name}"


def _console(home: Path, command: str) -> list[str]:
    root = home.parents[1]
    return ["chroot", str(root), "asterisk", "-C", f"{_inside(home)}/asterisk.conf", "-rx", command]


def _wait_booted(process: subprocess.Popen[bytes], home: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    wait = _console(home, "core waitfullybooted")
    # Until its socket is there, the console command fails at once.
    while subprocess.run(wait, capture_output=True, check=False).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            said = _read(home / "output") + _read(home / "log")
            raise RuntimeError(f"Asterisk does not start:\n{said}")
        time.sleep(0.05)


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
