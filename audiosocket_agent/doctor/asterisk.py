"""Asterisk: its version, its modules, its dialplan, its manager.

What a version lacks, and which modules the shipped dialplan needs, is in asterisk/README.md.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from audiosocket_agent.addresses import WILDCARDS, is_ours
from audiosocket_agent.dialplan import NOBODY, agent_address, fastagi_address
from audiosocket_agent.doctor.console import Console, NoConsole
from audiosocket_agent.doctor.finding import Finding, failed, ok, skipped, warning
from audiosocket_agent.doctor.host import Host
from audiosocket_agent.drive import TARGETS
from audiosocket_agent.errors import AgentError

LEAST: Final = {20: 14, 21: 9, 22: 4, 23: 0}
"""Below: the agent's end hangs the caller up, and keys never reach us."""
RECOMMENDED: Final = {20: 20, 22: 10, 23: 4}
"""Nothing that ends calls is left to be mended from here on. 21 has no such version."""

MODULES: Final = (
    "res_audiosocket",
    "app_audiosocket",
    "app_dial",
    "app_exec",
    "app_stack",
    "func_callerid",
    "func_channel",
    "func_uri",
    "func_uuid",
    "res_speech",
    "res_agi",
)
"""What the dialplan `agent` needs, in an order they can be loaded in."""
WIDE_MODULES: Final = ("chan_audiosocket", "codec_resample")
"""For callers at 16 kHz alone."""

SUBROUTINE: Final = "agent"
BRIEFING: Final = "agent-briefing"
AMI_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 2.0
"""Asterisk waits no longer."""

_VACANT: Final = re.compile(rf"=>\s+1\. {re.escape(NOBODY)}")
_RELOAD: Final = 'then: asterisk -rx "dialplan reload"'
_UPGRADE: Final = "install Asterisk 20.20, 22.10 or 23.4, or a newer one of these"


async def asterisk(host: Host) -> list[Finding]:
    """All that its console tells."""
    console = Console(host.settings.asterisk.command)
    try:
        version = _version(await console.rx("core show version"))
    except NoConsole as error:
        unseen = [skipped(name, "Asterisk is not reached") for name in _CHECKS]
        return [failed("asterisk", str(error), error.cure), *unseen]
    async with asyncio.TaskGroup() as tasks:
        others = [
            tasks.create_task(_answered(name, check(console, host)))
            for name, check in _CHECKS.items()
        ]
    return [version, *(task.result() for task in others)]


async def _answered(name: str, check: Awaitable[Finding]) -> Finding:
    try:
        return await check
    except NoConsole as error:
        return failed(name, str(error), error.cure)


# ---- version and modules -----------------------------------------------------------------------


def _version(said: str) -> Finding:
    name = "asterisk"
    word = said.removeprefix("Asterisk ").partition(" ")[0].strip() or "nothing"
    numbers = re.match(r"(\d+)\.(\d+)", word)
    if not numbers:  # certified/20.7-cert5, GIT-22-1a2b3c4: numbers that do not say what is in it
        return warning(
            name,
            f"{word}: not known what it has of 20.14, 22.4 or 23.0",
            "make a call, press a key in it and have the agent end it: the dialplan has to go on",
        )
    major, minor = int(numbers[1]), int(numbers[2])
    if major > max(LEAST):
        return ok(name, word)
    if major not in LEAST or minor < LEAST[major]:
        least = f"{major}.{LEAST[major]}" if major in LEAST else "20.14"
        return failed(
            name, f"{word} is older than {least}: callers are hung up after the agent", _UPGRADE
        )
    if major not in RECOMMENDED or minor < RECOMMENDED[major]:
        return warning(name, f"{word} has faults that may end calls", _UPGRADE)
    return ok(name, word)


async def _modules(console: Console, host: Host) -> Finding:
    loaded = {
        line.split(".so", 1)[0]
        for line in (await console.rx("module show")).splitlines()
        if ".so " in line and "Not Running" not in line
    }
    missing = [module for module in MODULES if module not in loaded]
    if missing:
        cure = f"{_load(missing[0])}, and modules.conf must load it for good"
        return failed("modules", f"not loaded: {', '.join(missing)}", cure)
    missing = [module for module in WIDE_MODULES if module not in loaded]
    if missing:
        cure = f"{_load(missing[0])}, if callers are taken at 16 kHz (slin16)"
        return warning("modules", f"not loaded: {', '.join(missing)}", cure)
    return ok("modules", f"all {len(MODULES + WIDE_MODULES)} are loaded")


def _load(module: str) -> str:
    return f'asterisk -rx "module load {module}.so"'


# ---- dialplan ----------------------------------------------------------------------------------


async def _dialplan(console: Console, host: Host) -> Finding:
    wanted = [SUBROUTINE]
    wanted += [BRIEFING] if any(target.attended for target in host.targets) else []
    cure = (
        "put extensions_audiosocket.conf beside extensions.conf and #include it there (see "
        f"audiosocket-agent dialplan), {_RELOAD}"
    )
    for context in wanted:
        if await console.has("s", context):
            continue
        if BRIEFING in wanted:
            return failed("dialplan", f"there is no context {context}", cure)
        return warning(
            "dialplan",
            f"there is no context {context}: good where AGI(agi://.../run) is all there is",
            f"for Gosub({context},s,1), {cure}",
        )
    return ok("dialplan", f"has {' and '.join(wanted)}")


async def _globals(console: Console, host: Host) -> Finding:
    said = await console.rx("dialplan show globals")
    values = dict(line.strip().split("=", 1) for line in said.splitlines() if "=" in line)
    settings, balanced = host.settings, False
    for variable, address, place in (
        ("AGENT_ADDRESS", agent_address, settings.audiosocket),
        ("AGENT_FASTAGI", fastagi_address, settings.fastagi),
    ):
        right = await asyncio.to_thread(address, settings)  # a wildcard's may need a resolver
        cure = f"{variable}={right} in [globals] of extensions.conf, {_RELOAD}"
        value = values.get(variable)
        if value is None and not await console.has("s", SUBROUTINE):
            return skipped("globals", f"only [{SUBROUTINE}] reads them, and it is not there")
        if value is None:
            return failed("globals", f"{variable} is not set", cure)
        if not place.port or await _leads_to(value, place.host, place.port):
            continue
        if not settings.instance or value.rpartition(":")[2] != str(place.port - settings.instance):
            return failed("globals", f"{variable}={value}, but we listen at {right}", cure)
        balanced = True
        if not await _is_answered(value):
            seen = f"{variable}={value}, where nobody shares calls out among the instances"
            return failed("globals", seen, f"start HAProxy there (haproxy.cfg), or {cure}")
    return ok("globals", "lead to who shares out calls" if balanced else "lead to our ports")


async def _leads_to(value: str, host: str, port: int) -> bool:
    """Whether who dials this finds us there."""
    dialled, _, dialled_port = value.rpartition(":")
    if dialled_port != str(port):
        return False
    there = await _addresses(dialled.strip("[]"))
    if host in WILDCARDS:
        return any(is_ours(address) for address in there)
    return bool(there & await _addresses(host))


async def _is_answered(value: str) -> bool:
    """Whether somebody takes connections there; one without a word is a port check to all of us."""
    there, _, port = value.rpartition(":")
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(there.strip("[]"), int(port))
    except (OSError, TimeoutError, UnicodeError):
        return False
    writer.transport.abort()
    return True


async def _addresses(host: str) -> set[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # a name that is none
        return set()
    return {str(address[0]) for *_, address in found}


async def _targets(console: Console, host: Host) -> Finding:
    names = {target.extension: target.name for target in host.targets}
    if not names:
        return skipped("targets", "no agent transfers callers")
    there = {extension: await console.has(extension, TARGETS) for extension in names}
    missing = [extension for extension, said in there.items() if not said]
    if missing:
        seen = ", ".join(f"{names[extension]} ({extension})" for extension in missing)
        cure = f"exten => {missing[0]},1,Dial(...) in [{TARGETS}] of extensions.conf, {_RELOAD}"
        return failed("targets", f"not in {TARGETS}: {seen}", cure)
    vacant = [extension for extension, said in there.items() if _VACANT.search(said)]
    if vacant:
        seen = f"{', '.join(names[extension] for extension in vacant)}: {NOBODY}, so nobody yet"
        cure = f"say in [{TARGETS}] how {vacant[0]} is dialled, {_RELOAD}"
        return warning("targets", seen, cure)
    return ok("targets", f"{len(names)} in {TARGETS}")


_CHECKS: Final[dict[str, Callable[[Console, Host], Awaitable[Finding]]]] = {
    "modules": _modules,
    "dialplan": _dialplan,
    "globals": _globals,
    "targets": _targets,
}


# ---- manager -----------------------------------------------------------------------------------


async def manager(host: Host) -> list[Finding]:
    """Whether `dial` may place calls."""
    ami = host.settings.ami
    place = f"{ami.username} at {ami.host}:{ami.port}"
    if ami.secret is None:
        return [skipped("manager", "AMI_SECRET is not set: `dial` is not used")]
    try:
        async with asyncio.timeout(AMI_SECONDS):
            await host.ami_login(host.settings)
    except TimeoutError:
        why = f"{place} does not answer"
    except OSError as error:
        why = f"{place}: {error.strerror or error}"
    except AgentError as error:
        why = str(error)
    else:
        return [ok("manager", f"lets in {place}")]
    return [
        failed(
            "manager",
            why,
            f"manager.conf: enabled = yes, and [{ami.username}] with AMI_SECRET as its secret, read = "
            "call, write = originate,call,reporting; then: asterisk -rx 'manager reload'",
        )
    ]
