"""The model's turns: what it says, when, and how it is stopped.

A turn is a generator (`_perform`) that reads from top to bottom like what the model does. It yields
the time at which it wants to go on and is sent the time at which it does; to interrupt the model is
to close it.

    caller    ____/speech\\____________________          ____/spe..
                         |silence_ms|think|                  |prefix_ms|
    sent                                  audio audio ... generationComplete
    played                                |------- as long as it lasts -------|turnComplete
                                                             interrupted here |
"""

import math
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from audiosocket_agent.lab.simulator.behaviour import Behaviour, Exchange, Line, Use
from audiosocket_agent.lab.simulator.record import ModelTurn, SessionRecord, keep
from audiosocket_agent.lab.simulator.results import fill, fill_text
from audiosocket_agent.lab.simulator.resumption import Memory
from audiosocket_agent.lab.simulator.setup import Setup
from audiosocket_agent.lab.simulator.speech import (
    AUDIO_HEAD,
    BYTES_PER_SECOND,
    Chunk,
    chunks_of,
    tone,
)

SLOW_SPEED: Final = 0.8
"""Of the fault `slow`: a reply of 10 s loses 2.5 s to the player."""
TONE_SPEED: Final = 4.0
"""Of the fault `tone` where the behaviour says "all at once": it has no end."""
WORDS_PER_PIECE_MS: Final = 1000
"""How much speech one outputTranscription covers."""


@dataclass(slots=True)
class Ask:
    """Tools that are asked for in one breath, and what follows once all of them have answered."""

    uses: tuple[Use, ...]
    then: "Steps" = ()
    unanswered: set[str] = field(default_factory=set)
    """Ids of the calls."""


Steps = Sequence[Line | Ask]
Script = Generator[float, float, None]


@dataclass(slots=True)
class _Turn:
    """A turn of the model that is under way."""

    record: ModelTurn
    due: float
    """When the script wants to go on."""
    script: Script | None = None
    number: int | None = None
    """None: still thinking; nothing of it is known outside."""
    played_at: float = -math.inf
    """When a player that began with the first chunk will have played what was sent."""
    awaited: set[str] = field(default_factory=set)
    """Calls whose response it waits for."""
    ended_early: bool = False
    charged: bool = False
    """Its usage was sent."""
    usage: Mapping[str, Any] | None = None
    """What it is to be; None: counted."""


class Speaker:
    """The model's side of a conversation; one turn at a time, and at most one that waits for it."""

    def __init__(
        self,
        behaviour: Behaviour,
        setup: Setup,
        record: SessionRecord,
        memory: Memory,
        outbox: deque[bytes],
        completed: Callable[[float], None],
    ) -> None:
        """`completed` is called with the time of each turnComplete."""
        self._behaviour = behaviour
        self._setup = setup
        self._record = record
        self._memory = memory
        self._outbox = outbox
        self._completed = completed
        self._turn: _Turn | None = None
        self._next_turn: Callable[[float], None] | None = None
        """Starts the turn that waits for the end of this one."""
        self._async_calls: dict[str, Ask] = {}
        """Calls that no turn waits for, and that will start one."""
        self._names: dict[str, str] = {}
        """Tools by the ids of calls that may still be answered."""
        self._usages: deque[Mapping[str, Any]] = deque()
        """Given for the turns of this exchange that are still to come."""

    @property
    def deadline(self) -> float:
        """When `tick` has something to do."""
        return math.inf if self._turn is None else self._turn.due

    def tick(self, now: float) -> None:
        """Go on with the turn as far as it is due."""
        while self._turn is not None and self._turn.due <= now:
            self._resume(self._turn, now)

    # ---- why it speaks ---------------------------------------------------------------------

    def answer_text(self, cause: str, now: float) -> None:
        """A text, or content that is complete, starts a turn in place of the one under way."""

        def steps() -> Steps:  # only then: a turn that is given up before it began greets nobody
            if self._memory.model_turns:
                return [Line(self._behaviour.reply, self._behaviour.reply_words)]
            if self._behaviour.opening is not None:
                return self._given(self._behaviour.opening)
            return [Line(self._behaviour.greeting, self._behaviour.greeting_words)]

        self._start(cause, steps, now)

    def answer_speech(self, number: int, now: float) -> None:
        """Caller turn `number` ended."""

        def steps() -> Steps:
            exchange = self._behaviour.exchange(number)
            return self._answer(number) if exchange is None else self._given(exchange)

        self._start("speech", steps, now, when_idle=not self._setup.interruptible)

    def _given(self, exchange: Exchange) -> Steps:
        self._usages = deque(exchange.usage)
        steps: Steps = ()
        for step in reversed(exchange.steps):
            if isinstance(step, Line):
                steps = (step, *steps)
            else:
                steps = (Ask((step,) if isinstance(step, Use) else step, steps),)
        return steps

    def _answer(self, number: int) -> Steps:
        steps: list[Line | Ask] = []
        for step in self._behaviour.tools:
            if step.turn == number:
                if step.before is not None:
                    steps.append(Line(step.before))
                after = [Line(step.after)] if step.after is not None else []
                steps.append(Ask((Use(step.name, step.args),), after))
        return steps or [Line(self._behaviour.reply, self._behaviour.reply_words)]

    def take_response(self, response: Mapping[str, Any], now: float) -> None:
        """A tool's response. One that nobody waits for any more is no offence: it was on its way
        when the call was cancelled."""
        call, turn = response.get("id", ""), self._turn
        if (name := self._names.pop(call, None)) is not None:
            self._memory.results[name] = response.get("response", {})
        if turn is not None and call in turn.awaited:
            turn.awaited.remove(call)
            if not turn.awaited:
                turn.due = now
            return
        asked = self._async_calls.pop(call, None)
        if asked is None:
            return
        asked.unanswered.discard(call)
        if asked.unanswered or not asked.then:
            return
        match response.get("scheduling", "WHEN_IDLE"):
            case "INTERRUPT":
                self._start("tool", lambda: asked.then, now)
            case "WHEN_IDLE":
                self._start("tool", lambda: asked.then, now, when_idle=True)

    def _start(
        self, cause: str, steps: Callable[[], Steps], now: float, *, when_idle: bool = False
    ) -> None:
        if when_idle and self._turn is not None:
            self._next_turn = lambda later: self._start(cause, steps, later)
            return
        self.interrupt(now)
        turn = _Turn(ModelTurn(cause, now), due=now + self._behaviour.think_seconds)
        turn.script = self._perform(turn, steps)
        next(turn.script)
        self._turn = turn

    def _resume(self, turn: _Turn, now: float) -> None:
        assert turn.script is not None
        try:
            turn.due = turn.script.send(now)
        except StopIteration:
            self._turn = None
            if self._next_turn is not None:
                start, self._next_turn = self._next_turn, None
                start(now)

    # ---- a turn ----------------------------------------------------------------------------

    def _perform(self, turn: _Turn, steps: Callable[[], Steps]) -> Script:
        """A model turn, from the end of thinking to turnComplete."""
        now = yield turn.due
        script = deque(steps())
        turn.usage = self._usages.popleft() if self._usages else None
        turn.number = number = self._memory.model_turns
        self._memory.model_turns += 1
        if self._behaviour.turn_fault("no-answer", number):
            return
        keep(self._record.model_turns, turn.record)
        if self._setup.resumption:
            self._emit({"sessionResumptionUpdate": {"resumable": False}})
        if self._behaviour.turn_fault("empty-turn", number):
            script, turn.ended_early = deque(), True

        while script:
            step = script.popleft()
            if isinstance(step, Line):
                merge = self._behaviour.merge and not script
                now = yield from self._say(turn, step, now, merge=merge)
            else:
                self._ask(turn, step)
                if turn.awaited:
                    while turn.awaited:
                        now = yield math.inf
                    script.extendleft(reversed(step.then))
                    if script:
                        now = yield now + self._behaviour.think_seconds
            if turn.ended_early:
                break

        if not turn.ended_early:
            if not turn.charged:  # else it went out with the last audio
                self._emit({"serverContent": {"generationComplete": True}})
            turn.record.generation_complete = now
            if turn.played_at > now:
                now = yield turn.played_at
        if self._behaviour.turn_fault("twice", number) and turn.record.started_by != "twice":
            self._next_turn = lambda later: self._start("twice", steps, later)
        self._complete(turn, now)

    def _say(
        self, turn: _Turn, line: Line, now: float, *, merge: bool
    ) -> Generator[float, float, float]:
        """Send the audio of a line, and its words. Returns the time at its end."""
        assert turn.number is not None
        behaviour, number = self._behaviour, turn.number
        speed = behaviour.speed
        if behaviour.turn_fault("tone", number):
            for chunk in tone(behaviour.chunk_ms):
                self._send_chunk(turn, chunk, now)
                now = yield now + chunk.seconds / (speed or TONE_SPEED)
        if behaviour.turn_fault("slow", number):
            speed = SLOW_SPEED

        chunks = chunks_of(line.speech, behaviour.chunk_ms)
        spoken = fill_text(line.words, self._memory.results)
        words = self._pieces(spoken, len(chunks))
        due = now
        for index, chunk in enumerate(chunks):
            if index and index == len(chunks) // 2:
                if self._ends_in_the_middle(turn, number, now):
                    return now
                if behaviour.turn_fault("stall", number):
                    due += behaviour.fault_seconds
            if due > now:
                now = yield due
            if merge and index == len(chunks) - 1:
                self._send_last(turn, chunk, words.get(index), now)
            else:
                self._send_chunk(turn, chunk, now)
                if index in words:
                    self._emit({"serverContent": {"outputTranscription": words[index]}})
            due += chunk.seconds / speed if speed else 0.0
        keep(self._record.words, spoken)
        return now

    def _ends_in_the_middle(self, turn: _Turn, number: int, now: float) -> bool:
        if self._behaviour.turn_fault("phantom-interrupted", number):
            turn.record.interrupted = now
            self._emit({"serverContent": {"interrupted": True}})
            turn.ended_early = True
        elif self._behaviour.turn_fault("cut-reply", number):
            turn.ended_early = True
        return turn.ended_early

    def _pieces(self, words: str, chunks: int) -> dict[int, dict[str, Any]]:
        """The words of a line, as transcriptions to send after some of its chunks."""
        if not (self._setup.output_transcription and words and chunks):
            return {}
        every = max(1, WORDS_PER_PIECE_MS // self._behaviour.chunk_ms)
        places = [*range(0, chunks - 1, every), chunks - 1]
        split = words.split()
        pieces: dict[int, dict[str, Any]] = {}
        for nth, place in enumerate(places):
            start, stop = (len(split) * n // len(places) for n in (nth, nth + 1))
            text = "".join(f" {word}" for word in split[start:stop])
            if place == chunks - 1:
                pieces[place] = {"text": text, "finished": True}
            elif text:
                pieces[place] = {"text": text}
        return pieces

    def _send_chunk(self, turn: _Turn, chunk: Chunk, now: float) -> None:
        self._outbox.append(chunk.message)
        self._note_chunk(turn, chunk, now)

    def _send_last(
        self, turn: _Turn, chunk: Chunk, words: dict[str, Any] | None, now: float
    ) -> None:
        """The last chunk, and in the same message all that ends a generation."""
        self._note_chunk(turn, chunk, now)
        rest: dict[str, Any] = {"generationComplete": True}
        if words is not None:
            rest["outputTranscription"] = words
        audio = AUDIO_HEAD + chunk.payload.encode() + b'"}}]},' + orjson.dumps(rest)[1:]
        usage = orjson.dumps({"usageMetadata": self._charge(turn)})
        self._outbox.append(audio + b"," + usage[1:])

    def _note_chunk(self, turn: _Turn, chunk: Chunk, now: float) -> None:
        record = turn.record
        if record.first_chunk is None:
            record.first_chunk = now
        record.last_chunk = now
        record.audio_bytes += chunk.pcm_bytes
        self._record.audio_sent_bytes += chunk.pcm_bytes
        turn.played_at = max(turn.played_at, now) + chunk.seconds

    def _ask(self, turn: _Turn, asked: Ask) -> None:
        """One message for all of them. Where none blocks, nobody waits here for what follows."""
        bodies = []
        for use in asked.uses:
            call = f"call-{self._record.number}-{len(self._record.tool_calls)}"
            body = {"id": call, "name": use.name, "args": fill(use.args, self._memory.results)}
            keep(self._record.tool_calls, body)
            self._names[call] = use.name
            bodies.append(body)
            if self._setup.blocks(use.name):
                turn.awaited.add(call)
        self._emit({"toolCall": {"functionCalls": bodies}})
        if not turn.awaited:
            asked.unanswered = {body["id"] for body in bodies}
            self._async_calls.update(dict.fromkeys(asked.unanswered, asked))

    # ---- its end ---------------------------------------------------------------------------

    def interrupt(self, now: float) -> None:
        """The turn under way is given up, and what was to follow it."""
        turn, self._turn, self._next_turn = self._turn, None, None
        if turn is None:
            return
        assert turn.script is not None
        turn.script.close()
        if turn.number is None:
            return
        if turn.awaited:
            ids = sorted(turn.awaited)
            for call in ids:
                keep(self._record.cancelled_calls, call)
                self._names.pop(call, None)
            self._emit({"toolCallCancellation": {"ids": ids}})
        turn.record.interrupted = now
        if self._behaviour.merge:
            self._complete(turn, now, interrupted=True)
        else:
            self._emit({"serverContent": {"interrupted": True}})
            self._complete(turn, now)

    def _complete(self, turn: _Turn, now: float, *, interrupted: bool = False) -> None:
        content: dict[str, Any] = {"interrupted": True} if interrupted else {}
        message: dict[str, Any] = {"serverContent": content | {"turnComplete": True}}
        if not turn.charged:
            message["usageMetadata"] = self._charge(turn)
        self._emit(message)
        turn.record.turn_complete = now
        self._completed(now)

    def _charge(self, turn: _Turn) -> dict[str, Any]:
        turn.charged = True
        seconds = turn.record.audio_bytes / BYTES_PER_SECOND
        usage = self._memory.context.charge_turn(seconds, vertex=self._setup.vertex)
        if turn.usage is not None:
            usage = dict(turn.usage)
        keep(self._record.usages, usage)
        return usage

    def _emit(self, message: Mapping[str, Any]) -> None:
        self._outbox.append(orjson.dumps(message))


def prepare(behaviour: Behaviour) -> None:
    """Load and resample what will be said, so that no reply waits for it. Raises OSError or
    ValueError for a file that cannot be used."""
    for line in behaviour.lines:
        chunks_of(line, behaviour.chunk_ms)
