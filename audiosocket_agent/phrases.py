"""Phrases in an agent's own voice: spoken once by its model, kept on the disk, played whenever a caller
waits for it.

    wanted ──▶ in memory? ──▶ on the disk? ──▶ spoken, in a session of its own ──▶ checked ──▶ kept
                                                        └── not as it should be: later, a few times

One task does it, one session at a time and none while the service takes no calls. Until a phrase is
there its agent has the service's own sound: nothing here is waited for, and nothing that fails here is
more than a line in the log.
"""

import asyncio
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import astuple, dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from audiosocket_agent import log
from audiosocket_agent.agents.phrases import Said
from audiosocket_agent.agents.profile import Profile
from audiosocket_agent.audio import wav
from audiosocket_agent.errors import ModelError
from audiosocket_agent.ledger import Book
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.model.base import VoiceModel
from audiosocket_agent.model.phrase import Phrase, Unfit, sane, speak
from audiosocket_agent.records.costs import Tokens
from audiosocket_agent.sounds import Pcm, Sounds, Tones

FIRST_WAIT_S: Final = 30.0
LONGEST_WAIT_S: Final = 3600.0
"""Between two rounds, doubled from the one to the other: a model that is away for a night is asked a
dozen times."""
MAX_TRIES: Final = 4
"""Of one phrase that the model refuses, or says with other words, which is billed each time."""

_log = log.get(__name__)


class Phrasebook:
    """The phrases of all agents there are. `model` speaks them, in `voice` where an agent has none of
    its own; None: nobody does. `directory` has their files, and is for nothing else. `spend` is told
    the tokens."""

    def __init__(
        self,
        model: VoiceModel | None = None,
        voice: str = "",
        directory: Path = Path(),
        spend: Callable[[Tokens], None] = lambda tokens: None,
    ) -> None:
        self._model = model
        self._voice = voice
        self._directory = directory
        self._spend = spend
        self._wanted: frozenset[Phrase] = frozenset()
        self._kept: dict[Phrase, Pcm] = {}
        self._tries: Counter[Phrase] = Counter()
        self._changed = asyncio.Event()

    def sounds(self, agent: Profile) -> Sounds:
        """What callers of the agent hear: its phrases, as soon as they are there."""
        return _Voice(*self._said(agent), self._kept)

    def serve(self, agents: Iterable[Profile]) -> None:
        """From now on these are the agents there are; what had failed is tried again."""
        said = [said for agent in agents for said in self._said(agent)]
        phrases = (phrase for by_language in said for phrase in by_language.values())
        self._wanted = frozenset(phrase for phrase in phrases if isinstance(phrase, Phrase))
        self._tries.clear()
        self._changed.set()

    async def run(self, refuses: Callable[[], str] = str) -> None:
        """Have phrases spoken until cancelled, but not while `refuses` says why no call is taken."""
        if self._model is None:
            return
        wait_s = FIRST_WAIT_S
        while True:
            self._changed.clear()
            try:
                done = await self._round(self._model, self._wanted, refuses)
            except Exception:  # noqa: BLE001 - a fault of ours, or the disk's: no reason to end calls
                _log.exception("phrases not made")
                done = False
            try:
                async with asyncio.timeout(None if done else wait_s):
                    await self._changed.wait()
                wait_s = FIRST_WAIT_S
            except TimeoutError:
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _round(
        self, model: VoiceModel, wanted: frozenset[Phrase], refuses: Callable[[], str]
    ) -> bool:
        """Look for every phrase that is not there; False: there is something to be tried later."""
        for phrase in self._kept.keys() - wanted:
            del self._kept[phrase]
        self._kept |= await asyncio.to_thread(_tidy, self._directory, wanted, {*self._kept})
        done = True
        for phrase in sorted(wanted - self._kept.keys(), key=astuple):
            if self._changed.is_set() or refuses():
                return False
            if self._tries[phrase] >= MAX_TRIES:
                continue
            try:
                sound = await speak(model, phrase, self._spend)
            except (ModelError, Unfit) as error:
                _log.warning("phrase not made", language=phrase.language, reason=str(error))
                done = False
                if isinstance(error, Unfit) or not error.retryable:
                    self._tries[phrase] += 1
                if isinstance(error, ModelError):
                    return False  # it is away, for the others most likely too
                continue
            self._kept[phrase] = sound
            _log.info("phrase made", language=phrase.language, seconds=round(sound.seconds, 2))
            await asyncio.to_thread(_write, self._directory, phrase, sound)
        return done

    def _said(self, agent: Profile) -> tuple["_Texts", "_Texts"]:
        """The agent's fillers and apologies."""
        name, voice = self._model.name if self._model else "", agent.voice or self._voice

        def to_be_spoken(said: Said) -> _Texts:
            return {
                language: Phrase(name, voice, language, text) if isinstance(text, str) else text
                for language, text in said.items()
            }

        return to_be_spoken(agent.phrases.filler), to_be_spoken(agent.phrases.apology)


_Texts = Mapping[str, Phrase | Pcm]


@dataclass(frozen=True, slots=True)
class _Voice:
    """Of one agent (sounds.Sounds)."""

    _fillers: _Texts
    _apologies: _Texts
    _kept: Mapping[Phrase, Pcm]

    def filler(self, language: str) -> Pcm | None:
        return self._find(self._fillers, language) or Tones().filler(language)

    def apology(self, language: str) -> Pcm | None:
        return self._find(self._apologies, language) or Tones().apology(language)

    def _find(self, texts: _Texts, language: str) -> Pcm | None:
        found = texts.get(language) or next(iter(texts.values()), None)
        return self._kept.get(found) if isinstance(found, Phrase) else found


def spending(book: Book, metrics: Metrics) -> Callable[[Tokens], None]:
    """What takes tokens that belong to no call: to the metrics, and off the day's budget."""

    def spend(tokens: Tokens) -> None:
        costs = book.prices.each(book.model, tokens)
        usd = sum((cost for cost in costs.values() if cost), Decimal(0))
        book.budget.spend(usd, datetime.now().astimezone())
        metrics.cost.inc(float(usd))
        for (direction, modality), count in tokens.items():
            metrics.tokens.labels(direction, modality).inc(count)

    return spend


# ---- the files -------------------------------------------------------------------------------


def _tidy(
    directory: Path, wanted: Iterable[Phrase], known: Collection[Phrase]
) -> dict[Phrase, Pcm]:
    """What is on the disk of those that are wanted and not known; what nobody wants is removed."""
    files = {_file(phrase): phrase for phrase in wanted}
    found = {}
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in directory.iterdir():
        phrase = files.get(path.name)
        if phrase is None:
            path.unlink(missing_ok=True)
        elif phrase not in known:
            try:
                found[phrase] = sane(Pcm(*wav.decode(path.read_bytes())))
            except ValueError as error:  # it is made anew
                _log.warning("phrase not read", file=path.name, reason=str(error))
    return found


def _write(directory: Path, phrase: Phrase, sound: Pcm) -> None:
    """As a whole, or not at all."""
    part = directory / f"{_file(phrase)}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with open(os.open(part, flags, 0o600), "wb") as file:
        file.write(wav.encode(*sound))
    part.replace(directory / _file(phrase))


def _file(phrase: Phrase) -> str:
    """The name of its file; no other phrase has it."""
    return f"{hashlib.sha256(json.dumps(astuple(phrase)).encode()).hexdigest()[:32]}.wav"
