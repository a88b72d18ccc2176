"""The model's turn, as far as its connection tells: whether one is under way, and whether the caller is
owed an answer should the connection break now."""

from audiosocket_agent.model.base import (
    GenerationEnded,
    Interrupted,
    ModelEvent,
    Resumable,
    ToolCall,
    Transcript,
    TurnEnded,
)


class Turn:
    """Pure: audio and events in."""

    def __init__(self) -> None:
        self.under_way = False
        self.generating = False
        """More audio is to come: a break now would cut a sentence."""
        self.spoke = False
        self.owed = False
        """The caller has said something, or the model has begun something, that has no end yet."""
        self._broken = False  # the caller has interrupted it
        self.settled = True
        """The model has done nothing since the handle was given, or since the beginning."""

    def audio(self) -> bool:
        """Audio has arrived; True where it begins a turn."""
        begins = not self.under_way
        self._broken &= self.under_way  # what interrupted the one before does not break this one
        self.under_way = self.generating = self.spoke = self.owed = True
        self.settled = False
        return begins

    def event(self, event: ModelEvent) -> bool:
        """True where it begins a turn."""
        begins = False
        match event:
            case ToolCall():
                begins = not self.under_way
                self.under_way = self.owed = True
                self.settled = False
            case Transcript("caller"):
                self.owed |= self._broken or not self.under_way
            case GenerationEnded():
                self.generating = self.owed = False
            case Interrupted():
                self.generating = self.owed = False
                self._broken = True
            case TurnEnded():
                self.end()
            case Resumable() if not self.under_way:
                self.settled = True  # an answer may be owed all the same
        return begins

    def end(self) -> None:
        """It is over, one way or another."""
        self.owed &= self._broken  # whoever interrupted it has asked something else
        self.under_way = self.generating = self.spoke = self._broken = False
