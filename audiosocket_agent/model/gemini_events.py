"""What Gemini Live says all the time, as events, past the SDK.

Words of either side come several times a second, the ends of a turn with every turn. By the SDK and the
queues behind it one word costs 86 us of CPU until the call has it, or 430 where caches are cold; by this
way 17, or 185. It is a closed table: a message with anything in it that is not here, or is of another
type, is the SDK's.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

from audiosocket_agent import log
from audiosocket_agent.model.base import (
    GenerationEnded,
    Interrupted,
    ModelEvent,
    Resumable,
    Transcript,
    TurnEnded,
    Usage,
)

_MESSAGE: Final = {"serverContent": dict, "usageMetadata": dict, "sessionResumptionUpdate": dict}
_CONTENT: Final = {
    "interrupted": bool,
    "inputTranscription": dict,
    "outputTranscription": dict,
    "generationComplete": bool,
    "turnComplete": bool,
}
_TRANSCRIPTION: Final = {"text": str, "finished": bool}
_USAGE: Final = {
    "promptTokenCount": int,
    "promptTokensDetails": list,
    "responseTokenCount": int,
    "responseTokensDetails": list,
    "thoughtsTokenCount": int,
    "totalTokenCount": int,
}
_DETAIL: Final = {"modality": str, "tokenCount": int}
_MODALITIES: Final = {name: name.lower() for name in ("TEXT", "AUDIO", "IMAGE", "VIDEO")}
_RESUMPTION: Final = {"newHandle": str, "resumable": bool}

SDK_KNOWS: Final = frozenset(
    {
        "setupComplete",
        "serverContent",
        "toolCall",
        "toolCallCancellation",
        "usageMetadata",
        "goAway",
        "sessionResumptionUpdate",
        "voiceActivityDetectionSignal",
        "voiceActivity",
    }
)
"""Fields of a message, by `types.LiveServerMessage` of google-genai 3.4."""
_ERROR: Final = frozenset({"error", "code"})

_log = log.get(__name__)

_NONE: Final[Mapping[str, Any]] = {}

Details = Iterable[tuple[str, int]]
"""Modalities, and how many tokens of each."""


def plain_events(message: bytes, model: str, *, spoke: bool) -> list[ModelEvent] | None:
    """The events of a message from `model`, in the order that all are in; None where the SDK must tell.
    `spoke`: the turn under way has brought audio."""
    try:
        data = _known(orjson.loads(message), _MESSAGE)
        return list(_events(data, model, spoke)) if data else None
    except (ValueError, TypeError, KeyError, AttributeError):  # no JSON; something unknown
        return None


def is_of_the_future(message: bytes) -> bool:
    """Whether it says nothing that this SDK knows, and no error: what a newer service adds. The SDK
    would end the session over it. Logged, once for each kind."""
    try:
        names = orjson.loads(message).keys()
    except (ValueError, AttributeError):  # no JSON, or no object
        return False
    if not names or names & (SDK_KNOWS | _ERROR):
        return False
    _tell_of(", ".join(sorted(names)))
    return True


@lru_cache(maxsize=16)  # once is enough
def _tell_of(names: str) -> None:
    _log.warning("messages of an unknown kind are passed over", fields=names)


def _events(data: Mapping[str, Any], model: str, spoke: bool) -> Iterator[ModelEvent]:
    content = _known(data.get("serverContent", _NONE), _CONTENT)
    if content.get("interrupted"):
        yield Interrupted()
    for speaker, name in (("caller", "inputTranscription"), ("agent", "outputTranscription")):
        if name in content and (text := _known(content[name], _TRANSCRIPTION).get("text")):
            yield Transcript(speaker, text)
    if content.get("generationComplete"):
        yield GenerationEnded()
    if content.get("turnComplete"):
        yield TurnEnded(spoke)
    if "usageMetadata" in data:
        usage = _known(data["usageMetadata"], _USAGE)
        ways = (
            (
                way,
                usage.get(f"{name}TokenCount", 0),
                _details(usage.get(f"{name}TokensDetails", ())),
            )
            for way, name in (("in", "prompt"), ("out", "response"))
        )
        yield Usage(tokens(ways, usage.get("thoughtsTokenCount", 0)), model)
    update = _known(data.get("sessionResumptionUpdate", _NONE), _RESUMPTION)
    if update.get("resumable") and (handle := update.get("newHandle")):
        yield Resumable(handle)


def _known(value: Any, fields: Mapping[str, type]) -> Mapping[str, Any]:
    """Raises TypeError for what has others."""
    for name, field in value.items():
        if type(field) is not fields.get(name):
            raise TypeError(name)
    return value  # type: ignore[no-any-return]


def _details(details: Iterable[Any]) -> Iterator[tuple[str, int]]:
    for detail in details:
        count = _known(detail, _DETAIL).get("tokenCount", 0)
        yield _MODALITIES[detail["modality"]], count


def tokens(ways: Iterable[tuple[str, int, Details]], thoughts: int) -> dict[tuple[str, str], int]:
    """Counts by direction and modality, of each direction's total and details. These may not add up to
    their total, which is what is billed: the rest is "other". Thoughts are outside the total."""
    counts: dict[tuple[str, str], int] = {}
    for way, rest, details in ways:
        for modality, count in details:
            counts[way, modality] = counts.get((way, modality), 0) + count
            rest -= count
        if rest > 0:
            counts[way, "other"] = counts.get((way, "other"), 0) + rest
    if thoughts:
        counts["out", "thinking"] = thoughts
    return counts
