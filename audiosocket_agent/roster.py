"""Who can answer: the agents' files and the settings, as plans for calls."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from decimal import Decimal
from functools import partial
from typing import Final

from audiosocket_agent import business
from audiosocket_agent.agents import profile
from audiosocket_agent.agents.profile import Profile
from audiosocket_agent.audio.vad import SpeechDetector
from audiosocket_agent.business import Office, Rules
from audiosocket_agent.call.machine import Limits
from audiosocket_agent.errors import ConfigError
from audiosocket_agent.plan import Plan
from audiosocket_agent.settings import Settings
from audiosocket_agent.tools.builtin import built_in
from audiosocket_agent.tools.hosts import Hosts
from audiosocket_agent.tools.http import webhook_tool
from audiosocket_agent.tools.http_client import HttpClient
from audiosocket_agent.tools.registry import MAX_USES_OF_ALL, Registry, Tool

NO_BOUND: Final = Decimal("Infinity")


@dataclass(frozen=True, slots=True)
class Means:
    """What the tools of one process work with."""

    office: Office
    client: HttpClient


def profiles(settings: Settings) -> dict[str, Profile]:
    """Every agent's file, by its name. Raises ConfigError with a line for each mistake."""
    found = profile.load(settings.agents_directory, hosts=Hosts.of(settings.tools.hosts))
    if settings.default_agent not in found:
        raise ConfigError(
            f"DEFAULT_AGENT: there is no agent {settings.default_agent!r}; there are: "
            f"{', '.join(sorted(found))}"
        )
    return found


def agents(settings: Settings, means: Means) -> dict[str, Plan]:
    """Every agent there is, by name. Raises ConfigError."""
    return {name: plan(settings, agent, means) for name, agent in profiles(settings).items()}


def plan(settings: Settings, agent: Profile, means: Means) -> Plan:
    """One agent, under these settings, as numbers for calls."""
    vad, recording = settings.vad, agent.recording
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
        tools=_registry(agent, means),
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
        recording=recording.consent if recording else "",
        notices=recording.notices if recording and settings.enable_call_recording else {},
    )


def _registry(agent: Profile, means: Means) -> Registry:
    rules = Rules(agent.timezone or _here(), agent.account)
    tools = [
        *built_in(agent.tools, agent.targets),
        *business.tools(agent.tools, means.office, rules),
        *(webhook_tool(webhook, means.client) for webhook in agent.webhooks),
        *agent.functions,
    ]
    uses = agent.tool_uses or MAX_USES_OF_ALL
    return Registry((_bounded(tool, agent.uses) for tool in tools), max_uses=uses)


def _bounded(tool: Tool, uses: Mapping[str, int]) -> Tool:
    most = uses.get(tool.spec.name)
    return tool if most is None else replace(tool, max_uses=most)


def _here() -> tzinfo:
    here = datetime.now().astimezone().tzinfo
    assert here is not None
    return here


def _least(own: float | None, all_have: float) -> float:
    return all_have if own is None else min(own, all_have)
