"""`audiosocket-agent doctor`: what is wrong with this host, and what to do about it.

A check is a function that looks at one thing and says in one line what it saw; where that is wrong, it
says in another what to do. Nothing is changed, no secret is shown, no call is made. Those that have to
wait for others run side by side; what is shown keeps its order.

    settings, agents    can they be used at all?
    host                the key, who can read it, what must be written
    service             does it run, are its ports its own, may it open enough files
    model               its host, the clock, a session
    database            does it answer, is it ours
    asterisk, manager   version, modules, dialplan, globals, targets; the manager's login
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

from audiosocket_agent import config
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.doctor import asterisk, database, host, model, service
from audiosocket_agent.doctor.finding import Finding, as_json, as_text, exit_code, failed, ok
from audiosocket_agent.doctor.host import AmiLogin, Host
from audiosocket_agent.errors import ConfigError
from audiosocket_agent.settings import Settings

__all__ = ["AmiLogin", "Finding", "as_json", "as_text", "examine", "exit_code"]

CHECK_SECONDS: Final = 25.0
"""For one check; they run side by side, so it bounds them all."""

AT_ONCE: Final[tuple[Callable[[Host], Finding], ...]] = (
    host.key,
    host.secrets,
    host.state_directory,
    host.log_file,
)
"""Checks of what is on this disk."""

Check = Callable[[Host], Awaitable[list[Finding]]]

IN_TIME: Final[dict[str, Check]] = {
    "service": service.service,
    "model": model.model,
    "database": database.database,
    "asterisk": asterisk.asterisk,
    "manager": asterisk.manager,
}
"""Checks of what has to answer first, by what they are called where it does not."""


async def examine(
    file: Path | None,
    *,
    targets: Callable[[Settings], Iterable[Target]],
    ami_login: AmiLogin,
    now: Callable[[], float] = time.time,
) -> list[Finding]:
    """Look at everything there is to see on this host, in less than 30 s.

    `file` is the settings file as `config.load` takes it. `targets` gives those of all agents, and may
    raise ConfigError; so may the settings, and then nothing else is looked at.
    """
    try:
        loaded = config.load_beside_the_service(file)
    except ConfigError as error:
        return _mistakes("settings", error)
    settings = ok("settings", f"{len(loaded.origins)} given, model {loaded.settings.model}")
    try:
        known = tuple(targets(loaded.settings))
    except ConfigError as error:
        return [settings, *_mistakes("agents", error)]
    patient = Host(loaded, known, ami_login, now)
    found = [settings, *(check(patient) for check in AT_ONCE)]
    async with asyncio.TaskGroup() as tasks:
        looks = [tasks.create_task(_in_time(*named, patient)) for named in IN_TIME.items()]
    return found + [finding for look in looks for finding in look.result()]


def _mistakes(name: str, error: ConfigError) -> list[Finding]:
    check = {"settings": "config", "agents": "agents"}[name]
    cure = f"correct it; audiosocket-agent {check} check says whether it is right"
    return [failed(name, line, cure) for line in str(error).splitlines()]


async def _in_time(name: str, check: Check, patient: Host) -> list[Finding]:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check(patient)
    except TimeoutError:
        cure = "this host or its network is very slow: try again"
        return [failed(name, f"not done within {CHECK_SECONDS:.0f} s", cure)]
