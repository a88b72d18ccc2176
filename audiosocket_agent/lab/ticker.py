"""The 20 ms clock of the callers.

Time in a call is not Asterisk's but the caller's phone's: 50 packets a second, whatever happens
here. So the clock is absolute, and after a stall everything that came due meanwhile is sent at
once, as Asterisk does when it finds the packets waiting. Callers do not speak in step, so calls are
spread over PHASES; one timer serves all of them. The service's own clock is not used: a ruler is
not checked against itself.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from audiosocket_agent.audio import FRAME_SECONDS

PHASES: Final = 10
"""Calls of one phase share a wake-up: at most 500 a second, 2 ms apart, for any number of calls."""

_STEP_SECONDS: Final = FRAME_SECONDS / PHASES

_EARLY_SECONDS: Final = 0.001
"""A wake-up this much before its time counts: event loops round their timers to 1 ms."""

Tick = Callable[[float], None]
"""Called every 20 ms with the loop's time."""


class Ticker:
    """Calls each of its members every 20 ms, by the running loop's clock, until it leaves."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._phases: list[dict[Tick, None]] = [{} for _ in range(PHASES)]
        self._epoch = 0.0
        self._step = 0  # the next one due, at _epoch + _step * _STEP_SECONDS
        self._timer: asyncio.TimerHandle | None = None

    def join(self, tick: Tick) -> None:
        """Begin to call `tick`, in less than 20 ms."""
        min(self._phases, key=len)[tick] = None
        if self._timer is None:
            self._epoch, self._step = self._loop.time(), 0
            self._arm()

    def leave(self, tick: Tick) -> None:
        """Stop calling `tick`; nothing happens where it is not called."""
        for phase in self._phases:
            phase.pop(tick, None)

    def _due(self) -> float:
        return self._epoch + self._step * _STEP_SECONDS

    def _arm(self) -> None:
        while not self._phases[self._step % PHASES]:
            self._step += 1
        self._timer = self._loop.call_at(self._due(), self._wake)

    def _wake(self) -> None:
        now = self._loop.time()
        try:
            while self._due() <= now + _EARLY_SECONDS:
                phase = self._phases[self._step % PHASES]
                self._step += 1
                for tick in tuple(phase):
                    tick(now)
        finally:
            self._timer = None
            if any(self._phases):
                self._arm()
