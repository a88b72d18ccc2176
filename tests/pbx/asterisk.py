"""A real Asterisk of our own: its configuration, its life, its console.

It runs by chroot in the root file system rootfs.sh built, in the foreground, on free ports of
127.0.0.1, with a fresh directory for configuration, log, database, recordings and console socket. It
loads every file that is shipped in `asterisk/`, as it is; what the bench needs beside them (its ports,
its own numbers, a phone for callers, phones that are called) is appended.
"""

import asyncio
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.pbx.phone import PHONES

ROOT: Final = Path(os.environ.get("PBX_ROOT", "/var/cache/audiosocket-agent/asterisk"))
SHIPPED: Final = Path(__file__).parents[2] / "asterisk"

PLAIN, ROBUST, WIDE, ECHO = "9000", "9001", "9002", "9003"
AGENT, RUNG, ODDLY_NAMED = "9010", "9011", "9012"
RUN, RUN_RUNG = "9013", "9014"
WIDE_AGENT = "9015"
"""Extensions: one for each shipped form, and Asterisk's own Echo() for the bench to test itself. The
shipped numbers, 1000 to 1005 and those of `[agent-targets]`, are there too."""
ANSWERED_HUMAN, QUEUE, MAILBOX = "9020", "9030", "9031"
"""One that is answered and then rings the human, whose key * hangs up; the shipped `[staff]`, open and
closed."""
TAPED_PLAIN, TAPED_WIDE, TAPED_AGENT = "9040", "9041", "9042"
"""As the numbers above, with MixMonitor on the caller's channel: files `monitor/CALLER-said.wav` and
`monitor/CALLER-heard.wav`, 8 kHz but of the wide form, whose end in wav16."""
RINGS_HUMAN, RINGS_COLLEAGUE = "2003", "2004"
"""Extensions, also of `[agent-targets]`: they ring the phones of phone.py. The colleague is rung but for
3 s at 2005. Of the shipped ones, alice (2001) answers by herself and bob (2002) is always busy."""
AMI_SECRET: Final = "CHANGE-ME-ami"
"""As it is shipped."""

_START_TIMEOUT_S: Final = 20.0
_STOP_TIMEOUT_S: Final = 10.0

# Parts of the core that complain of a missing file; their defaults will do.
_UNCONFIGURED: Final = (
    "acl.conf",
    "ccss.conf",
    "cdr.conf",
    "cel.conf",
    "features.conf",
    "pjproject.conf",
    "queuerules.conf",
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

# ---- appended to what is shipped -----------------------------------------------------------------

_MODULES: Final = """
load = func_db.so
load = res_clioriginate.so
"""

_MANAGER: Final = """
[general](+)
port = {ami_port}
"""

# Whoever calls from here is the bench's phone. Alice and Bob are numbers of the bench, over SIP.
_PJSIP: Final = """
[transport-udp](+)
bind = 127.0.0.1:{sip_port}

[bench](!)
type = endpoint
context = bench
disallow = all
allow = ulaw,slin16,g722,alaw
direct_media = no
media_address = 127.0.0.1
bind_rtp_to_media_address = yes

[caller](bench)

[loopback]
type = identify
endpoint = caller
match = 127.0.0.1
"""

# A phone that is shipped, at a number of the bench.
_PJSIP_SHIPPED: Final = """
[{name}](+type=endpoint)
media_address = 127.0.0.1
bind_rtp_to_media_address = yes

[{name}](+type=aor)
contact = sip:{number}@127.0.0.1:{sip_port}
qualify_frequency = 0
"""

_PJSIP_PHONE: Final = """
[{name}](bench)
aors = {name}

[{name}]
type = aor
contact = sip:{name}@{host}:{sip_port}
"""

# After the agent, the dialplan says so in the database and by a beep at the caller's ear.
_EXTENSIONS: Final = """
[bench]
exten => 9000,1,Gosub(audiosocket-agent,plain,1)
 same => n,Goto(after,s,1)
exten => 9001,1,Gosub(audiosocket-agent,robust,1)
 same => n,Goto(after,s,1)
exten => 9002,1,Gosub(audiosocket-agent,wide,1)
 same => n,Goto(after,s,1)
exten => 9003,1,Answer()
 same => n,Echo()
exten => 9010,1,Gosub(agent,s,1)
 same => n,Goto(after,s,1)
exten => 9011,1,Gosub(agent,s,1(,1.5))
 same => n,Goto(after,s,1)
exten => 2001,1,Set(DB(passed-on/${CALLERID(num)})=named ${CALLERID(name)})
 same => n,Answer()
 same => n,Playback(tt-monkeys)
 same => n,Hangup()
exten => 2002,1,Busy()
exten => 2003,1,Dial(PJSIP/human,3)
exten => 2004,1,Dial(PJSIP/colleague,3)
exten => 9012,1,Gosub(agent,s,1(Zoë & "Co." = 100%?#))
 same => n,Goto(after,s,1)
exten => 9013,1,Set(AGENT_STATUS=FAILED)
 same => n,AGI(agi://${AGENT_FASTAGI}/run)
 same => n,Set(GOSUB_RETVAL=${AGENT_STATUS})
 same => n,Goto(after,s,1)
exten => 9015,1,Gosub(agent,s,1(,,slin16))
 same => n,Goto(after,s,1)
exten => 9014,1,AGI(agi://${AGENT_FASTAGI}/run?ring=1.5)
 same => n,Set(GOSUB_RETVAL=${AGENT_STATUS})
 same => n,Goto(after,s,1)
exten => 9016,1,Dial(PJSIP/human,,U(agent-briefing^${UUID()}^127.0.0.1:1))
exten => 9020,1,Answer()
 same => n,Dial(PJSIP/human,,rh)
exten => 9040,1,Gosub(tape,s,1(wav))
 same => n,Gosub(audiosocket-agent,plain,1)
exten => 9041,1,Gosub(tape,s,1(wav16))
 same => n,Gosub(audiosocket-agent,wide,1)
exten => 9042,1,Gosub(tape,s,1(wav))
 same => n,Gosub(agent,s,1)
exten => 9030,1,Goto(staff,s,open)
exten => 9031,1,Goto(staff,s,closed)
include => from-internal

[agent-targets](+)
exten => 2003,1,Dial(PJSIP/human)
exten => 2004,1,Dial(PJSIP/colleague)
exten => 2005,1,Dial(PJSIP/colleague,3)
 same => n,Hangup()

[tape]
exten => s,1,Answer()
 same => n,Set(TAPE=${CALLERID(num)})
 same => n,MixMonitor(${TAPE}.${ARG1},r(${TAPE}-said.${ARG1})t(${TAPE}-heard.${ARG1}))
 same => n,Return()

[after]
exten => s,1,Set(DB(went-on/${CALLERID(num)})=returned ${GOSUB_RETVAL})
 same => n,Playback(beep)
 same => n,Hangup()
"""

# ---- the bench's own -----------------------------------------------------------------------------

# Below the kernel's ephemeral ports; Asterisk itself skips those in use.
_RTP_CONF: Final = """\
[general]
rtpstart = 16384
rtpend = 32000
"""


@dataclass(frozen=True, slots=True)
class Asterisk:
    """One running Asterisk."""

    sip_port: int
    ami_port: int
    pid: int
    home: Path
    """Its files, as this side of the chroot sees them; recordings are in `monitor`."""

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
        sip_port, ami_port = free_port(socket.SOCK_DGRAM), free_port()
        _configure(home, sip_port, ami_port)
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
            yield Asterisk(sip_port, ami_port, process.pid, home)
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


def _configure(home: Path, sip_port: int, ami_port: int) -> None:
    own = dict.fromkeys(_UNCONFIGURED, "") | {
        "asterisk.conf": _ASTERISK_CONF.format(home=_inside(home)),
        "logger.conf": _LOGGER_CONF,
        "rtp.conf": _RTP_CONF,
    }
    pjsip = [
        _PJSIP.format(sip_port=sip_port),
        _PJSIP_SHIPPED.format(name="alice", number="2001", sip_port=sip_port),
        _PJSIP_SHIPPED.format(name="bob", number="2002", sip_port=sip_port),
        *(_PJSIP_PHONE.format(name=n, host=h, sip_port=sip_port) for n, h in PHONES.items()),
    ]
    appended = {
        "extensions.conf": _EXTENSIONS,
        "manager.conf": _MANAGER.format(ami_port=ami_port),
        "modules.conf": _MODULES,
        "pjsip.conf": "".join(pjsip),
    }
    for name, text in own.items():
        (home / name).write_text(text)
    for shipped in SHIPPED.glob("*.conf"):
        (home / shipped.name).write_text(shipped.read_text() + appended.get(shipped.name, ""))


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
