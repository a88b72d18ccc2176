"""A connection whose call is being looked up: nobody has it for some milliseconds.

The caller hears silence meanwhile, as on every call until the greeting; the first syllable, should
there be one, is lost.
"""

from audiosocket_agent.call.events import Outcome
from audiosocket_agent.pbx.audiosocket import LegListener


class Arrival:
    """The listener of a leg (pbx.audiosocket.LegListener), until there is another behind it."""

    def __init__(self) -> None:
        self._listener: LegListener | None = None
        self.gone = False
        """The connection has ended before anybody had it."""

    def settle(self, listener: LegListener) -> None:
        """From now on it is theirs."""
        self._listener = listener

    def heard(self, payload: bytes, rate_hz: int, now: float) -> None:
        if self._listener is not None:
            self._listener.heard(payload, rate_hz, now)

    def pressed(self, digit: str) -> None:
        if self._listener is not None:
            self._listener.pressed(digit)

    def ticked(self, now: float) -> None:
        if self._listener is not None:
            self._listener.ticked(now)

    def played_out(self, now: float) -> None:
        if self._listener is not None:
            self._listener.played_out(now)

    def closed(self, outcome: Outcome, error: Exception | None) -> None:
        self.gone = True
        if self._listener is not None:
            self._listener.closed(outcome, error)
