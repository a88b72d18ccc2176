"""A connection whose call is being looked up: nobody has it for some milliseconds.

The caller hears silence meanwhile, as on every call until the greeting; the first syllable, should
there be one, is lost.
"""

from audiosocket_agent.call.events import Outcome


class Arrival:
    """The listener of a leg (pbx.audiosocket.LegListener), until `Leg.hand_over` gives it another."""

    def __init__(self) -> None:
        self.gone = False
        """The connection has ended before anybody had it."""

    def heard(self, payload: bytes, rate_hz: int, now: float) -> None: ...

    def pressed(self, digit: str) -> None: ...

    def ticked(self, now: float) -> None: ...

    def played_out(self, now: float) -> None: ...

    def closed(self, outcome: Outcome, error: Exception | None) -> None:
        self.gone = True
