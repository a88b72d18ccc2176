"""A stand-in for the Gemini Live API: it hears, speaks, is interrupted, calls tools, and fails on
request; what it saw of each session can be asked afterwards.

The google-genai SDK talks to it unmodified, over TLS. It reads no words: it answers everybody with
the same recorded reply, unless a script says what was heard and what is to come of it (`Exchange`).
What it is strict about (fields, enums, models, order) was seen to end sessions of the real service;
how long things take is for `Behaviour` to say.
"""

from audiosocket_agent.lab.simulator.behaviour import (
    CLOSES,
    FAULTS,
    GOODBYE,
    Behaviour,
    Close,
    Exchange,
    Line,
    Pcm,
    Speech,
    ToolStep,
    Use,
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
    "Exchange",
    "Line",
    "ModelTurn",
    "Pcm",
    "SessionRecord",
    "Simulator",
    "Speech",
    "ToolStep",
    "Use",
    "serve",
]
