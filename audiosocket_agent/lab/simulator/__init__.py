"""A stand-in for the Gemini Live API: it hears, speaks, is interrupted, calls tools, and fails on
request; what it saw of each session can be asked afterwards.

The google-genai SDK talks to it unmodified, over TLS. It reads no words: it answers everybody with
the same recorded reply. What it is strict about (fields, enums, models, order) was seen to end
sessions of the real service; how long things take is for `Behaviour` to say.
"""

from audiosocket_agent.lab.simulator.behaviour import (
    CLOSES,
    FAULTS,
    GOODBYE,
    Behaviour,
    Close,
    Pcm,
    Speech,
    ToolStep,
)
from audiosocket_agent.lab.simulator.record import CallerTurn, ModelTurn, SessionRecord
from audiosocket_agent.lab.simulator.server import Simulator, serve

__all__ = [
    "CLOSES",
    "FAULTS",
    "GOODBYE",
    "Behaviour",
    "CallerTurn",
    "Close",
    "ModelTurn",
    "Pcm",
    "SessionRecord",
    "Simulator",
    "Speech",
    "ToolStep",
    "serve",
]
