"""A call as it is told while it happens: one event for each thing a listener would remark on.

Frames and words go in with their times; out come events, and the spans of speech that the report is
made from, so that what was shown and what is reported cannot differ. An end of speech is only known
PAUSE_SECONDS later; its event carries the time it happened.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from audiosocket_agent.lab.ear import OVERLAP_SECONDS, PAUSE_SECONDS, Ear
from audiosocket_agent.lab.report import End, Said

_ENDS = {
    End.HUNG_UP: "caller hangs up",
    End.FINISHED: "the service ends the call",
    End.CLOSED: "the service closes the connection without saying so (0x00)",
    End.RESET: "the service resets the connection",
    End.BROKEN: "Asterisk would end the call here",
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, `at` seconds after the call was connected."""

    at: float
    who: Literal["call", "caller", "agent"]
    text: str


Observer = Callable[[Event], None]
"""Takes events as they happen, in the event loop. Must not block."""


def nobody(_: Event) -> None:
    """The observer of a call that is not watched."""


class Story:
    """One call. Times are seconds since it was connected and never go back."""

    def __init__(self, observe: Observer) -> None:
        self._observe = observe
        self._any_frame = False
        self._speaking = False
        self._answered: Said | None = None  # what the agent has already spoken after
        self.agent = Ear()
        self.said: list[Said] = []

    def frame(self, at: float, *, audible: bool) -> None:
        """A frame of the agent's arrived."""
        if not self._any_frame:
            self._any_frame = True
            self._observe(Event(at, "call", "first frame"))
        if self.agent.hear(at, audible=audible):
            self._speaking = True
            self._observe(Event(at, "agent", f"agent {self._opening(at)}"))

    def spoken(self, words: Said, at: float) -> None:
        """An audible frame of the caller's was sent."""
        if not self.said or self.said[-1] is not words:
            self._begins(words, at)
        words.ends = at
        words.frames_left -= 1

    def passes(self, at: float) -> None:
        """Time goes by: to be called every frame."""
        if self._speaking and not self.agent.heard_within(PAUSE_SECONDS, at):
            self._speaking = False
            self._observe(self._stop())

    def pressed(self, digit: str, at: float) -> None:
        """A digit was sent."""
        self._observe(Event(at, "caller", f"caller presses {digit}"))

    def noted(self, what: str, at: float) -> None:
        """The service did something Asterisk does not take well."""
        self._observe(Event(at, "call", f"violation: {what}"))

    def over(self, end: End, at: float) -> None:
        """The call has ended."""
        self._observe(Event(at, "call", _ENDS[end]))

    def _begins(self, words: Said, at: float) -> None:
        words.begins = at
        words.over_agent = self.agent.heard_within(OVERLAP_SECONDS, at)
        self.said.append(words)
        if words.over_agent:
            text = f"caller speaks over the agent ({words.voiced_seconds:.1f} s)"
        else:
            text = f"caller: utterance {len(self.said)} ({words.voiced_seconds:.1f} s)"
        self._observe(Event(at, "caller", text))

    def _opening(self, at: float) -> str:
        """How the agent comes to speak now."""
        if not self.said:
            unasked = len(self.agent.spans) > 1
            return "speaks again" if unasked else f"speaks (greeting, {at:.2f} s after connect)"
        words = self.said[-1]
        if self._answered is words:
            return "speaks again"
        self._answered = words
        if words.frames_left:
            return "speaks while the caller does"
        return f"answers after {at - words.ends:.2f} s"

    def _stop(self) -> Event:
        span = self.agent.spans[-1]
        if self.said and self.said[-1].over_agent and span.begins <= self.said[-1].begins:
            later = max(0.0, span.ends - self.said[-1].begins)
            return Event(span.ends, "agent", f"agent stops, {later:.2f} s later")
        return Event(span.ends, "agent", f"agent is done ({span.ends - span.begins:.1f} s)")
