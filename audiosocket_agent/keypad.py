"""The caller's keys: one that has a meaning of its own, a digit that is asked for, or something to
tell the model."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from audiosocket_agent.call.digits import DigitCollector, DigitsWanted, Ending
from audiosocket_agent.call.events import Event, KeyPressed, KeyTaken
from audiosocket_agent.call.keys import DIGITS, Key, KeyAction

MAX_KEYS: Final = 40  # to be told at a time; further ones are not
HUSH_S: Final = 3.0
"""A key that comes so soon after an entry belongs to it: the terminator that a full one did not need;
and after a secret that no terminator has ended any key, each for so long again, as there are digits too
many, slow fingers, and entries that the model gives up. It does not stop the agent, who may be saying
what came of the entry."""


class Keypad:
    """The keys of one call. `feed` takes the events that they cause, `act` what a key of `keys` is to
    do."""

    def __init__(
        self,
        keys: Mapping[str, Key],
        feed: Callable[[Event], None],
        act: Callable[[Key], None],
        clock: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._feed = feed
        self._act = act
        self._clock = clock
        self._untold = ""
        self._entry: DigitCollector | None = None
        self.secret = False
        """A secret is being entered: who types one may also say it, and some phones beep."""
        self._moved = asyncio.Event()
        self._hushed = ""
        self._hush_until = 0.0

    def press(self, digit: str) -> None:
        """A key was let go."""
        if self._entry is not None:
            self._entry.press(digit, self._clock())
            self._moved.set()
            self._feed(KeyTaken())
        elif digit in self._hushed and self._clock() < self._hush_until:
            if self._hushed == DIGITS:
                self._hush_until = self._clock() + HUSH_S
        elif key := self._keys.get(digit):
            if key.action is not KeyAction.NOTHING:
                self._feed(KeyTaken())
                self._act(key)
        else:
            if len(self._untold) < MAX_KEYS:
                self._untold += digit
            self._feed(KeyPressed())

    def take_untold(self) -> str:
        """The keys that nobody was told of, in order; they count as told now."""
        keys, self._untold = self._untold, ""
        return keys

    @property
    def waits(self) -> bool:
        """Digits are waited for."""
        return self._entry is not None

    @property
    def entering(self) -> bool:
        """They are being entered, or so it is taken: the caller is not heard over a secret."""
        entry = self._entry
        return entry is not None and (self.secret or entry.ending is not None or bool(entry.digits))

    def asked(self) -> None:
        """The agent has finished speaking: where digits are waited for, from now on."""
        if self._entry is not None:
            self._entry.elapse(self._clock(), agent_speaks=True)

    async def collect(
        self, wanted: DigitsWanted, agent_speaks: Callable[[], bool]
    ) -> DigitCollector | None:
        """Wait for digits, those just pressed included; None where others are being waited for."""
        if self._entry is not None:
            return None
        self._entry = entry = DigitCollector(wanted, self._clock())
        self.secret = wanted.secret
        self._hushed = ""
        try:
            for digit in self.take_untold():
                entry.press(digit, self._clock())
            while entry.ending is None:
                self._moved.clear()
                try:
                    async with asyncio.timeout(max(0.0, entry.due - self._clock())):
                        await self._moved.wait()
                except TimeoutError:
                    entry.elapse(self._clock(), agent_speaks=agent_speaks())
        finally:
            self._entry, self.secret = None, False
            if wanted.secret and entry.ending is not Ending.TERMINATOR:
                self._hushed = DIGITS
            elif entry.ending is Ending.COMPLETE:
                self._hushed = wanted.terminator
            self._hush_until = self._clock() + HUSH_S
        return entry
