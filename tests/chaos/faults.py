"""The list of what can happen."""

import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from signal import SIGKILL, SIGTERM
from typing import Any, Final

from audiosocket_agent.lab.simulator import CLOSES
from tests.chaos import acts
from tests.chaos.acts import beside, connection, gemini, leg, limited, nothing, reloads
from tests.chaos.proxy import FINE, Pipe, Weather
from tests.chaos.talk import Act, Moment

SILENCE_S: Final = 3.0
"""What a caller may have to bear of dead air."""
AFTER_RESTART_S: Final = 1.5
"""The same where we have died, beside what the restart takes."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row: `act` happens to each call at the moment `when`."""

    name: str
    when: Moment = Moment.NEVER
    act: Act = nothing
    first: Mapping[str, Any] = field(default_factory=dict)
    """Knobs of each call's first session (lab.simulator.Behaviour)."""
    every: Mapping[str, Any] = field(default_factory=dict)
    """Knobs of all sessions."""
    network: Weather = FINE
    """Between us and the model."""
    line: Weather | None = None
    """Between the PBX and us; None: there is nothing between."""
    settings: Mapping[str, str] = field(default_factory=dict)
    tool: str = ""
    """Used for the second question."""
    no_model: bool = False
    """It cannot be had by any means: to hand the caller on is all that can be done."""
    ends: bool = False
    """The service is to end by itself, with exit code 0."""
    restarts: bool = False
    """It dies, and is started again: what that takes may be heard, too."""


def bad(*names: str, **knobs: Any) -> dict[str, Any]:
    """Faults of the simulator."""
    return {"faults": frozenset(names), **knobs}


def says(name: str) -> dict[str, Any]:
    """How it closes."""
    return {"close": CLOSES[name]}


def away(seconds: float) -> dict[str, Any]:
    """The time left at a goAway."""
    return {"fault_seconds": seconds}


def turn(name: str, **knobs: Any) -> dict[str, Any]:
    """A fault of the answer to the first question."""
    return {"faults": frozenset({name}), "fault_turn": 1, **knobs}


CLOSES_NOW: Final = gemini("close")
GOES_AWAY: Final = gemini("go-away")
FIN: Final = connection(Pipe.cut)
RESET: Final = connection(lambda pipe: pipe.cut(reset=True))
HALF_CLOSE: Final = connection(Pipe.half_close)
HALF_OPEN: Final = connection(Pipe.freeze)
LEG_RESET: Final = leg(lambda pipe: pipe.cut(reset=True))
LEG_FIN: Final = leg(Pipe.cut)
LEG_HALF_CLOSED: Final = leg(Pipe.half_close)
LEG_RESET_UNTOLD: Final = leg(Pipe.reset_client)
TAPED: Final = {"ENABLE_CALL_RECORDING": "true"}
NO_DATABASE: Final = {"DATABASE_URL": "postgresql://nobody:x@127.0.0.1:1/nothing"}
GOOD_AGENT: Final = 'instructions = "Be brief."\n'

M: Final = Moment
FAULTS: Final = (
    Fault("nothing"),
    # -- Gemini cannot be reached, or does not want
    Fault("HTTP 503 at first", first=bad("http-503")),
    # three refusals in a row open the breaker of the project's key: then nobody is asked for 5 s
    Fault("HTTP 429 to all calls at once", first=bad("http-429"), no_model=True),
    Fault("HTTP 403, always", every=bad("http-403"), no_model=True),
    Fault("reset in the handshake, at first", first=bad("reset")),
    Fault("upgrade not answered, at first", first=bad("silent")),
    Fault("setup not answered, at first", first=bad("no-setup-complete")),
    Fault("closed before the setup: 1011, at first", first=bad("close-before-setup")),
    Fault("closed at the setup: 1007, at first", first=bad("close-at-setup", **says("invalid"))),
    Fault("1008, leaked key, always", every=bad("close-at-setup", **says("leaked")), no_model=True),
    Fault("1011, quota, always", every=bad("close-at-setup", **says("quota")), no_model=True),
    Fault("1008, no such model", settings={"GEMINI_LIVE_MODEL": "gemini-9-live"}, no_model=True),
    Fault(
        "1008, no such model, but a second one",
        settings={
            "GEMINI_LIVE_MODEL": "gemini-9-live",
            "GEMINI_SECOND_MODEL": "gemini-3.1-flash-live-preview",
        },
    ),
    Fault(
        "the name is not found (DNS)",
        settings={"GOOGLE_GEMINI_BASE_URL": "https://gemini.invalid:{port}"},
        no_model=True,
    ),
    Fault(
        "the certificate is not trusted (TLS)",
        settings={"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"},
        no_model=True,
    ),
    # -- Gemini leaves
    Fault("1000 'cancelled' in a pause", M.GREETED, CLOSES_NOW, every=says("cancelled")),
    Fault("1006 in a pause", M.GREETED, CLOSES_NOW, every=says("abort")),
    Fault("1007 in a pause", M.GREETED, CLOSES_NOW, every=says("invalid")),
    Fault("1008 'not implemented' in a pause", M.ANSWERED, CLOSES_NOW, every=says("unsupported")),
    Fault("1011 in a pause", M.ANSWERED, CLOSES_NOW, every=says("internal")),
    Fault(
        "1011 'quota' to all calls at once",
        M.ANSWERED,
        CLOSES_NOW,
        every=says("quota"),
    ),
    Fault("1012 in a pause", M.ANSWERED, CLOSES_NOW, every=says("restart")),
    Fault(
        "1011 'deadline', then no handle is good",
        M.ANSWERED,
        CLOSES_NOW,
        every=bad("lost-handles", **says("deadline")),
    ),
    Fault("1006 in the greeting", M.GREETING, CLOSES_NOW, every=says("abort")),
    Fault("1006 while the caller speaks", M.ASKING, CLOSES_NOW, every=says("abort")),
    Fault("1011 before the answer", M.ASKED, CLOSES_NOW, every=says("internal")),
    Fault("1000 'cancelled' mid-sentence", M.ANSWER, CLOSES_NOW, every=says("cancelled")),
    Fault("1006 mid-sentence", M.ANSWER, CLOSES_NOW, every=says("abort")),
    Fault("1006 while a tool is used", M.USED, CLOSES_NOW, every=says("abort"), tool="look_up"),
    Fault(
        "reset with a tool's result on its way",
        M.RESULT,
        acts.frozen_and_reset(0.4),
        tool="look_up",
    ),
    Fault("goAway in a pause, 15 s left", M.GREETED, GOES_AWAY, every=away(15.0)),
    Fault("goAway mid-sentence, 15 s left", M.ANSWER, GOES_AWAY, every=away(15.0)),
    Fault("goAway mid-sentence, 2 s left", M.ANSWER, GOES_AWAY, every=away(2.0)),
    Fault("goAway while the caller speaks, 4 s left", M.ASKING, GOES_AWAY, every=away(4.0)),
    Fault("goAway with no time left", M.ANSWERED, GOES_AWAY, every=away(0.0)),
    # -- Gemini is there, and does not do its part
    Fault("no answer to the caller's turn", first=turn("no-answer")),
    Fault("empty turn", first=turn("empty-turn")),
    Fault("turn complete mid-sentence", first=turn("cut-reply")),
    Fault("interrupted by nobody, mid-sentence", first=turn("phantom-interrupted")),
    Fault("stalls mid-sentence for 6 s", first=turn("stall", fault_seconds=6.0)),
    Fault("audio at 0.8 of its speed", first=turn("slow")),
    Fault("a tone without end", first=turn("tone")),
    Fault("answers twice", first=turn("twice")),
    Fault("a message that is no JSON, mid-sentence", M.ANSWER, gemini("malformed-json")),
    Fault("a message of unknown fields, mid-sentence", M.ANSWER, gemini("unknown-message")),
    Fault("a message that is an error, in a pause", M.GREETED, gemini("error-message")),
    Fault("unknown fields in a known message", M.ANSWER, gemini("unknown-field")),
    Fault("a message of 2 MB", M.GREETED, gemini("huge-message")),
    Fault("binary frames", every=bad("binary")),
    # -- the network before Gemini
    Fault("150 ms and 100 ms of jitter", network=Weather(delay_s=0.15, jitter_s=0.1)),
    Fault("512 kbit/s each way", network=Weather(bytes_per_s=64_000.0 * 2)),
    Fault("slices of 1 to 40 bytes", network=Weather(slice_bytes=40)),
    Fault("bytes are changed mid-sentence", M.ANSWER, connection(acts.corrupted)),
    Fault("6 resets, one every 2 s", M.GREETED, acts.again_and_again(2.0, 6)),
    Fault("FIN before the answer", M.ASKED, FIN),
    Fault("reset mid-sentence", M.ANSWER, RESET),
    Fault("half-closed in a pause", M.GREETED, HALF_CLOSE),
    Fault("half-open in a pause", M.GREETED, HALF_OPEN),
    Fault("half-open mid-sentence", M.ANSWER, HALF_OPEN),
    Fault("half-open before the answer", M.ASKED, HALF_OPEN),
    Fault("nothing of Google reached for 1.5 s", M.ANSWERED, acts.unreachable(1.5)),
    # -- tools
    Fault("a tool that hangs", tool="hang"),
    Fault("a tool that fails", tool="fail"),
    Fault("a webhook whose host is dead", tool="away"),
    # -- our host
    Fault("the database is gone", settings=NO_DATABASE),
    Fault("the disk is full", M.GREETED, limited(resource.RLIMIT_FSIZE, 0), settings=TAPED),
    Fault(
        "neither database nor journal",
        M.GREETED,
        limited(resource.RLIMIT_FSIZE, 0),
        settings={**NO_DATABASE, **TAPED},
    ),
    Fault("the state directory is deleted", M.GREETED, acts.state_deleted, settings=TAPED),
    Fault("no more files can be opened", M.GREETED, limited(resource.RLIMIT_NOFILE, 8)),
    Fault("no CPU for 1.5 s, mid-sentence", M.ANSWER, acts.stopped(1.5)),
    Fault("SIGTERM mid-sentence", M.ANSWER, acts.signalled(SIGTERM), ends=True),
    Fault("SIGKILL mid-sentence, restart", M.ANSWER, acts.signalled(SIGKILL), restarts=True),
    Fault("SIGKILL in a pause, restart", M.ANSWERED, acts.signalled(SIGKILL), restarts=True),
    Fault("the clock an hour ahead, then behind", M.GREETED, acts.clock_is_set(times=2)),
    Fault(
        "the clock an hour ahead, reset mid-sentence",
        M.ANSWER,
        acts.both(acts.clock_is_set(times=1), RESET),
    ),
    Fault(
        "SIGKILL, the clock an hour back at the restart",
        M.ANSWERED,
        acts.clock_is_set(times=1, then=SIGKILL),
        restarts=True,
    ),
    Fault("SIGHUP with a good file", M.ANSWER, reloads(GOOD_AGENT)),
    Fault("SIGHUP with a bad file", M.ANSWER, reloads("instructions = [")),
    # -- the PBX and its neighbours
    Fault("the PBX's bytes in slices of 1 to 40", line=Weather(slice_bytes=40)),
    Fault("the PBX's network jitters by 60 ms", line=Weather(jitter_s=0.06)),
    Fault("the PBX's connection is reset in a pause", M.ANSWERED, LEG_RESET, line=FINE),
    Fault("the PBX's connection is reset in a question", M.ASKING, LEG_RESET, line=FINE),
    Fault("the PBX's connection is reset before the answer", M.ASKED, LEG_RESET, line=FINE),
    Fault("the PBX's connection is reset mid-sentence", M.ANSWER, LEG_RESET, line=FINE),
    Fault("the PBX's connection is reset, we hear nothing", M.ANSWER, LEG_RESET_UNTOLD, line=FINE),
    Fault("the PBX's connection gets a FIN mid-sentence", M.ANSWER, LEG_FIN, line=FINE),
    Fault("the PBX's connection half-closed mid-sentence", M.ANSWER, LEG_HALF_CLOSED, line=FINE),
    Fault("5 other callers' connections are reset", M.GREETED, beside(acts.resets)),
    Fault("5 other callers do not read", M.GREETED, beside(acts.does_not_read)),
    Fault("5 others send audio 4 times too fast", M.GREETED, beside(acts.hurries)),
    Fault("400 connects/s of another host", M.GREETED, beside(acts.connects_all_the_time, times=1)),
    Fault("5 others come byte by byte", M.GREETED, beside(acts.one_byte_at_a_time)),
    Fault("100 connections of silence", M.GREETED, beside(acts.says_nothing, times=100)),
    Fault("100 connections of nonsense", M.GREETED, beside(acts.says_nonsense, times=100)),
    Fault("scrapers that hang", M.GREETED, beside(acts.scrapes_and_hangs)),
    Fault("dialplans that hang", M.GREETED, beside(acts.asks_and_hangs)),
)
