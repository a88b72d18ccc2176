"""Who can answer: the agents' files and the settings, as plans for calls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Final

from audiosocket_agent import business
from audiosocket_agent.agents import profile
from audiosocket_agent.agents.profile import Profile
from audiosocket_agent.audio.endpointing import Endpointing
from audiosocket_agent.audio.vad import SpeechDetector
from audiosocket_agent.business import Office, Rules
from audiosocket_agent.call.machine import Limits
from audiosocket_agent.call.turns import TurnMode
from audiosocket_agent.call.watchdog import Patience
from audiosocket_agent.errors import ConfigError
from audiosocket_agent.localtime import HERE
from audiosocket_agent.phrases import Phrasebook
from audiosocket_agent.plan import Plan
from audiosocket_agent.records.costs import Prices
from audiosocket_agent.settings import Settings
from audiosocket_agent.tools.builtin import built_in
from audiosocket_agent.tools.hosts import Hosts
from audiosocket_agent.tools.http import TRIES, webhook_tool
from audiosocket_agent.tools.http_client import HttpClient
from audiosocket_agent.tools.mcp import McpTools
from audiosocket_agent.tools.registry import MAX_USES_OF_ALL, Registry, Tool

NO_BOUND: Final = Decimal("Infinity")
NO_AGENTS: Final[Mapping[str, Profile]] = {}


@dataclass(frozen=True, slots=True)
class Means:
    """What the agents of one process work with."""

    office: Office
    client: HttpClient
    servers: McpTools
    phrases: Phrasebook


def profiles(settings: Settings) -> dict[str, Profile]:
    """Every agent's file, by its name. Raises ConfigError with a line for each mistake."""
    found = profile.load(settings.agents_directory, hosts=Hosts.of(settings.tools.hosts))
    if settings.default_agent not in found:
        raise ConfigError(
            f"DEFAULT_AGENT: there is no agent {settings.default_agent!r}; there are: "
            f"{', '.join(sorted(found))}"
        )
    check_bounds(settings, found)
    return found


def check_bounds(settings: Settings, agents: Mapping[str, Profile] = NO_AGENTS) -> None:
    """Raises ConfigError, with a line for each model, where cost is bounded and has no price: no bound
    would ever be reached."""
    bounds = [f"limits.cost_usd of {name}" for name, its in agents.items() if its.cost_usd]
    if settings.cost.usd_per_day:
        bounds.insert(0, "COST_USD_PER_DAY")
    if not bounds or settings.model != "gemini":
        return
    prices, file = Prices.load(settings.records.prices), settings.records.prices
    mistakes = [
        f"{', '.join(bounds)}: {model} has no prices of audio and text, in and out, and would never "
        f"reach it; they belong into RECORDS_PRICES ({file or 'not set'})"
        for model in settings.gemini.live_models
        if not prices.cover(model)
    ]
    if mistakes:
        raise ConfigError("\n".join(mistakes))


def agents(settings: Settings, means: Means) -> dict[str, Plan]:
    """Every agent there is, by name; from now on it is their MCP servers that are served, and their
    phrases that are kept. Raises ConfigError, and changes nothing then."""
    found = profiles(settings)
    plans = {name: plan(settings, agent, means) for name, agent in found.items()}
    means.servers.serve(server for agent in found.values() for server in agent.mcp)
    means.phrases.serve(found.values())
    return plans


def plan(settings: Settings, agent: Profile, means: Means) -> Plan:
    """One agent, under these settings, as numbers for calls."""
    vad, watchdog, recording = settings.vad, settings.watchdog, agent.recording
    return Plan(
        name=agent.name,
        limits=Limits(
            max_duration_s=_least(agent.duration_s, settings.max_call_duration),
            verdict_s=settings.interruption.verdict,
            interruptions=settings.enable_interruption_handling,
            ring_s=settings.fastagi.ring_time,
            silence_s=agent.silence_s or 0.0,
            held_s=settings.transfer.hold,
        ),
        instructions=agent.instructions,
        greeting=agent.greeting,
        detector=partial(
            SpeechDetector,
            aggressiveness=vad.aggressiveness,
            window_ms=round(vad.window * 1000),
            start_ms=round(vad.speech_threshold * 1000),
            sustain_ms=round(settings.interruption.speech * 1000),
            silence_ms=round(vad.silence_threshold * 1000),
            energy_threshold=vad.energy_threshold,
        ),
        turn_mode=TurnMode(settings.turn_mode),
        endpointing=partial(
            Endpointing,
            speech_ms=round(settings.gemini.prefix_padding * 1000),
            silence_ms=round(vad.silence_threshold * 1000),
            pre_roll_ms=round(vad.pre_roll * 1000),
        ),
        tools=_tools(agent, means),
        targets={target.name: target for target in agent.targets},
        keys=agent.keys,
        sees=agent.sees,
        gap_fill_s=settings.audiosocket.uplink_gap_fill,
        model_rate_hz=settings.gemini.input_rate,
        languages=agent.languages,
        greetings=agent.greetings,
        timezone=agent.timezone,
        voice=agent.voice or "",
        temperature=agent.temperature,
        cost_usd=agent.cost_usd or NO_BOUND,
        memory_days=agent.memory_days,
        patience=Patience(
            filler_s=watchdog.filler,
            nudge_s=watchdog.nudge,
            reconnect_s=watchdog.reconnect,
            another_s=watchdog.another,
            give_up_s=watchdog.give_up,
        ),
        sounds=means.phrases.sounds(agent),
        recording=recording.consent if recording else "",
        notices=recording.notices if recording and settings.enable_call_recording else {},
    )


def _tools(agent: Profile, means: Means) -> Callable[[], Registry]:
    rules = Rules(agent.timezone or HERE, agent.account)
    tries = agent.account.attempts if agent.account else TRIES
    own = [
        *built_in(agent.tools, agent.targets),
        *business.tools(agent.tools, means.office, rules),
        *(webhook_tool(webhook, means.client, tries) for webhook in agent.webhooks),
        *agent.functions,
    ]
    uses = agent.tool_uses or MAX_USES_OF_ALL

    def known() -> Registry:
        tools = [*own, *means.servers.tools(agent.mcp)]
        return Registry((_bounded(tool, agent.uses) for tool in tools), max_uses=uses)

    return known


def _bounded(tool: Tool, uses: Mapping[str, int]) -> Tool:
    most = uses.get(tool.spec.name)
    return tool if most is None else replace(tool, max_uses=most)


def _least(own: float | None, all_have: float) -> float:
    return all_have if own is None else min(own, all_have)
