"""An agent is a TOML file: who answers, in which languages, with which tools, within which limits.

The files that ship with the package come first; a file of the same name in the administrator's
directory replaces the shipped one as a whole. `receptionist.toml` beside this module says what every
key means.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from audiosocket_agent.agents.languages import ALL, read_languages, read_texts
from audiosocket_agent.agents.limits import number, read_limits
from audiosocket_agent.agents.offer import TOOLS as TOOLS
from audiosocket_agent.agents.offer import read_offer
from audiosocket_agent.agents.phrases import Phrases, read_phrases
from audiosocket_agent.agents.recording import Recording, read_recording
from audiosocket_agent.agents.targets import read_keys, read_targets
from audiosocket_agent.business.account import AccountCheck
from audiosocket_agent.call.info import FACTS, VARIABLE
from audiosocket_agent.call.keys import Key
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.errors import ConfigError
from audiosocket_agent.tables.table import (
    Table,
    did_you_mean,
    on_one_line,
    parse,
    quoted,
    read_text,
)
from audiosocket_agent.tools.hosts import Hosts
from audiosocket_agent.tools.http import Webhook
from audiosocket_agent.tools.mcp_server import McpServer
from audiosocket_agent.tools.numbers import whole
from audiosocket_agent.tools.registry import Tool
from audiosocket_agent.tools.secrets import Secrets

SHIPPED: Final = Path(__file__).parent

MAX_AGENTS: Final = 256
"""Files in a directory; one that has more was hardly meant."""
MAX_INSTRUCTIONS_BYTES: Final = 64 * 1024
"""Some 16 000 tokens, sent with every call and billed with every turn."""
MAX_FILE_BYTES: Final = 2 * MAX_INSTRUCTIONS_BYTES

GREETING: Final = "A caller has just been connected. Greet them and ask how you can help."
"""What makes the model speak first, where a file says nothing of a greeting."""

MAX_MEMORY_DAYS: Final = 3650
MAX_TEMPERATURE: Final = 2

_ENVIRONMENT: Final = Secrets()
_THIS_HOST: Final = Hosts()

_KEYS: Final = (
    *("instructions", "instructions_file", "greeting", "languages", "timezone", "sees", "tools"),
    *("targets", "dtmf", "model", "limits", "recording", "memory", "account", "webhooks"),
    *("mcp", "phrases"),
)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_VOICE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One agent, as its file has it. What is None is as the service has it."""

    name: str
    instructions: str
    greeting: str = GREETING
    """What makes the model speak first; empty: it waits for the caller."""
    greetings: Mapping[str, str] = field(default_factory=dict)
    """By language; where one is missing, `greeting`."""
    languages: tuple[str, ...] = ()
    """The first is the one to begin in. Empty: whatever the caller speaks."""
    timezone: ZoneInfo | None = None
    """Where "tomorrow at ten" is."""
    sees: tuple[str, ...] = ()
    """Facts of a call the model may be told: of FACTS, or variables of the dialplan."""
    tools: tuple[str, ...] = ()
    """Of TOOLS and business.NAMES."""
    webhooks: tuple[Webhook, ...] = ()
    functions: tuple[Tool, ...] = ()
    mcp: tuple[McpServer, ...] = ()
    targets: tuple[Target, ...] = ()
    keys: Mapping[str, Key] = field(default_factory=dict)
    """By digit; what the others do is not the agent's to say."""
    voice: str | None = None
    temperature: float | None = None
    duration_s: float | None = None
    silence_s: float | None = None
    tool_uses: int | None = None
    """Of all tools, in one call."""
    cost_usd: Decimal | None = None
    """Of one call."""
    uses: Mapping[str, int] = field(default_factory=dict)
    """Of one tool in one call, by its name."""
    recording: Recording | None = None
    """None: its calls are not recorded."""
    phrases: Phrases = field(default_factory=Phrases)
    """Where its model is not heard."""
    memory_days: int = 0
    """So long is a caller remembered who calls again; 0: not at all."""
    account: AccountCheck | None = None
    """What a caller has to know before an account is spoken of."""


def load(
    directory: Path, *, secrets: Secrets = _ENVIRONMENT, hosts: Hosts = _THIS_HOST
) -> dict[str, Profile]:
    """All agents by name: those shipped, and those of `directory`, which may be missing. Webhooks and
    MCP servers may use `secrets` and talk to `hosts`; functions that a file names are imported.

    Raises ConfigError with one line per mistake of all files.
    """
    profiles: dict[str, Profile] = {}
    mistakes: list[str] = []
    for name, path in {**_files(SHIPPED), **_files(directory)}.items():
        if not _NAME.fullmatch(name):
            mistakes.append(
                f"{on_one_line(path)}: the file's name is the agent's: 1 to 64 of a-z, 0-9, _ and -, "
                "the first a letter or a digit"
            )
        try:
            top = parse(path, MAX_FILE_BYTES)
        except ConfigError as error:
            mistakes.append(str(error))
        else:
            profiles[name] = _profile(name, top, path.parent, secrets, hosts)
            mistakes += top.mistakes.told()
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return profiles


def _files(directory: Path) -> dict[str, Path]:
    """The files of a directory by their names, as a shell's *.toml finds them."""
    try:
        files = {
            path.stem: path
            for path in sorted(directory.iterdir())
            if path.suffix == ".toml" and not path.name.startswith(".")
        }
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{on_one_line(directory)}: cannot be read: {error.strerror}") from None
    if len(files) > MAX_AGENTS:
        raise ConfigError(
            f"{on_one_line(directory)}: {len(files)} agents; {MAX_AGENTS} are the most"
        )
    return files


def _profile(name: str, top: Table, directory: Path, secrets: Secrets, hosts: Hosts) -> Profile:
    top.only(_KEYS)
    languages = read_languages(top)
    greetings = read_texts(top, "greeting", languages) or {ALL: GREETING}
    targets = top.table("targets")
    offer = read_offer(top, targets.values, secrets, hosts)
    model = top.table("model")
    model.only(("voice", "temperature"))
    return Profile(
        name=name,
        instructions=_instructions(top, directory),
        greeting=greetings[ALL],
        greetings={language: text for language, text in greetings.items() if language != ALL},
        languages=languages,
        timezone=_timezone(top),
        sees=_sees(top),
        tools=offer.tools,
        webhooks=offer.webhooks,
        functions=offer.functions,
        mcp=offer.mcp,
        targets=tuple(read_targets(targets)),
        keys=dict(read_keys(top.table("dtmf"), targets.values)),
        voice=_voice(model),
        temperature=number(model, "temperature", 0, MAX_TEMPERATURE),
        **read_limits(top.table("limits"), offer.names),
        recording=read_recording(top, languages),
        phrases=read_phrases(top, languages, directory),
        memory_days=_memory_days(top),
        account=_account(top),
    )


def _instructions(top: Table, directory: Path) -> str:
    match [key for key in ("instructions", "instructions_file") if key in top.values]:
        case [key]:
            text = top.get(key, str)
        case []:
            top.wrong("instructions", "missing, and so is instructions_file")
            return ""
        case _:
            top.wrong("instructions_file", "there are instructions already")
            return ""
    if text is None:
        return ""
    if key == "instructions_file":
        try:
            text = read_text(directory / text, MAX_INSTRUCTIONS_BYTES)
        except ConfigError as error:
            top.wrong(key, str(error))
            return ""
    if len(text.encode()) > MAX_INSTRUCTIONS_BYTES:
        top.wrong(key, f"has more than {MAX_INSTRUCTIONS_BYTES // 1024} KiB")
    if not text.strip():
        top.wrong(key, "is empty")
    return text.strip()


def _timezone(top: Table) -> ZoneInfo | None:
    name = top.get("timezone", str)
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # unknown; no name at all; a directory of names
        meant = did_you_mean(name, available_timezones())
        top.wrong("timezone", f"{quoted(name)} is no timezone, as Asia/Kolkata is one{meant}")
        return None


def _sees(top: Table) -> tuple[str, ...]:
    facts = top.texts("sees") or ()
    for fact in facts:
        if not VARIABLE.fullmatch(fact):
            top.one_of("sees", fact, FACTS, ", and no variable of the dialplan in capitals")
    return facts


def _voice(model: Table) -> str | None:
    voice = model.get("voice", str)
    if voice is not None and not _VOICE.fullmatch(voice):
        model.wrong("voice", f"{quoted(voice)} is no voice's name, as Kore is one")
    return voice


def _memory_days(top: Table) -> int:
    if top.get("memory", dict) is None:
        return 0
    memory = top.table("memory")
    memory.only(("days",))
    if "days" not in memory.values:
        memory.wrong("days", "missing: how long a caller is remembered")
    return whole(memory, "days", 1, MAX_MEMORY_DAYS, 0)


def _account(top: Table) -> AccountCheck | None:
    if top.get("account", dict) is None:
        return None
    table = top.table("account")
    table.only(("digits", "attempts"))
    default = AccountCheck()
    return AccountCheck(
        digits=whole(table, "digits", 3, 12, default.digits),
        attempts=whole(table, "attempts", 1, 10, default.attempts),
    )
