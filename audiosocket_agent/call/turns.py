"""Who finds the caller's turns: the model's service, or we on this side of the line.

The service does it for nothing, in all the audio there is. But short answers right after its own turn
were seen to be lost there, and interruptions not to be told (python-genai#1987, #2903); then we do it,
and say where a turn begins and ends.
"""

from enum import StrEnum
from typing import Final

from audiosocket_agent.call.watchdog import Fault

FAILURES: Final = 2
"""Of the service's detection within a call, after which it is not relied on any more. One may be a cough
that was not worth an answer; a caller who is not heard twice hangs up."""

DETECTION: Final = frozenset({Fault.MISSED, Fault.NO_ANSWER, Fault.PHANTOM})
"""Faults that detection may be behind: a caller who was heard here and got no answer, and one who was
heard there and had not spoken."""


class TurnMode(StrEnum):
    """Of a call, as configured."""

    SERVER = "server"
    LOCAL = "local"
    AUTO = "auto"  # the one, until it has failed


class Detection:
    """Of one call: whether the service's is still relied on. Pure."""

    def __init__(self, mode: TurnMode) -> None:
        self._mode = mode
        self._failures = 0

    def failed(self, fault: Fault, *, caller_waits: bool) -> bool:
        """A fault was found, which may be of no concern here. `caller_waits`: for an answer to
        something they said. True: it is time to find the turns ourselves; and so it stays, since that
        may be impossible just then."""
        concerns = fault is Fault.PHANTOM or (fault in DETECTION and caller_waits)
        if not concerns or self._mode is not TurnMode.AUTO:
            return False
        self._failures += 1
        return self._failures >= FAILURES
