"""When a call is recorded: from its first leg on, or, where the agent is to say so first, from the end
of those words. Of a tape that never ran there is neither a file nor a row."""

from audiosocket_agent.ledger import Ledger
from audiosocket_agent.pbx.audiosocket import Leg
from audiosocket_agent.records.recorder import Tape


class Taping:
    """The recording of one call. `consent` is how the caller knows of it ("" is: not at all, and nothing
    is recorded; "notice": the agent says so); `told`: they have heard it."""

    def __init__(self, ledger: Ledger, consent: str, *, told: bool) -> None:
        self._ledger = ledger
        self._consent = consent
        self._running = told or consent != "notice"
        self.tape: Tape | None = None
        """Once somebody is connected, where the call is recorded."""

    def attach(self, leg: Leg) -> None:
        """Record what passes this leg: the caller's first, or one that follows it."""
        if self.tape is None:
            self.tape = self._ledger.tape(leg.accepted_at, self._consent)
        if self.tape is not None:
            if self._running:
                self.tape.resume()
            else:
                self.tape.pause(leg.accepted_at)
            leg.tap = self.tape.add_agent

    def notice_heard(self) -> None:
        """The agent's first words, to their end or until the caller spoke over them."""
        if not self._running and self.tape is not None:
            self._running = True
            self.tape.resume()

    def detach(self, now: float) -> None:
        """The leg is gone."""
        if self.tape is not None:
            self.tape.pause(now)

    def close(self, now: float) -> None:
        """The call is over."""
        if self.tape is not None:
            self.tape.close(now)
