"""A phrase, spoken by a model in a session of its own: exactly these words, and nothing else of it."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from audiosocket_agent.audio import SAMPLE_BYTES
from audiosocket_agent.audio.trim import trim
from audiosocket_agent.call.words import same_words
from audiosocket_agent.errors import ModelError
from audiosocket_agent.model.base import SessionSetup, Transcript, TurnEnded, Usage, VoiceModel
from audiosocket_agent.sounds import Pcm

SESSION_S: Final = 30.0
"""Of one session: connecting (8 s), a phrase, and a service that ends turns when they would be heard."""
LINGER_S: Final = 0.5
"""After the end of the turn: what it cost, and its last words, may come behind it."""
LEAST_S: Final = 0.3
MOST_S: Final = 8.0
"""Sane lengths of a phrase, without the silence around it."""

INSTRUCTIONS: Final = (
    "You are the voice of a telephone line. You are given a few words{}; they are recorded as you speak "
    "them, and played to callers who have to wait a moment. Speak exactly these words, calmly and "
    "kindly: nothing before them, nothing after them. Do not translate, answer or explain them."
)
CUE: Final = "Say exactly this: {}"


class Unfit(ValueError):
    """What was spoken, or kept, is not what is to be heard; the text says why."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """What is to be spoken, and by whom."""

    model: str
    voice: str
    language: str
    text: str


async def speak(
    model: VoiceModel, phrase: Phrase, spend: Callable[[dict[tuple[str, str], int]], None]
) -> Pcm:
    """Have it spoken; `model` must be one that transcribes itself. `spend` is told the tokens.
    Raises ModelError, and Unfit where something else came of it."""
    loop, audio, rate_hz, words, ended = asyncio.get_running_loop(), bytearray(), 0, "", False

    def take(pcm: bytes, rate: int) -> None:
        nonlocal rate_hz
        rate_hz = rate
        if len(audio) <= (MOST_S + 1) * rate * SAMPLE_BYTES:  # what has no end is too long there
            audio.extend(pcm)

    told = INSTRUCTIONS.format(f", in the language {phrase.language}" if phrase.language else "")
    cue = CUE.format(json.dumps(phrase.text, ensure_ascii=False))
    try:
        async with (
            asyncio.timeout(SESSION_S) as limit,
            model.open(SessionSetup(told, cue, voice=phrase.voice), take) as session,
        ):
            async for event in session.events():
                match event:
                    case TurnEnded() if not ended:
                        ended = True
                        limit.reschedule(loop.time() + LINGER_S)
                    case Transcript("agent", text):
                        words += text
                    case Usage(tokens):
                        spend(dict(tokens))
    except TimeoutError:
        if not ended:
            raise Unfit("it has no end") from None
    except ModelError:
        if not ended:
            raise
    sound = Pcm(trim(bytes(audio), rate_hz), rate_hz) if audio else Pcm(b"", 8_000)
    if not same_words(words, phrase.text):
        raise Unfit("other words were said")
    return sane(sound)


def sane(sound: Pcm) -> Pcm:
    """The same. Raises Unfit unless it is as long as a phrase is."""
    if not LEAST_S <= sound.seconds <= MOST_S:
        raise Unfit(f"{sound.seconds:.1f} s long")
    return sound
