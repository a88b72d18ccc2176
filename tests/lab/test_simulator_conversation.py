"""What the simulated model does, without sockets and with time in hand."""

import base64
import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from audiosocket_agent.lab.simulator import CLOSES, Behaviour, Pcm, SessionRecord, ToolStep
from audiosocket_agent.lab.simulator.conversation import Conversation
from audiosocket_agent.lab.simulator.resumption import HANDLE_SECONDS, HANDLES_KEPT, Handles, Memory
from audiosocket_agent.lab.simulator.schema import SessionEnd
from audiosocket_agent.lab.simulator.setup import read_setup
from tests.lab.utterance import RATE_HZ, SPEECH

FRAME = 0.02


def seconds_of_tone(seconds: float) -> Pcm:
    return Pcm(bytes(range(1, 241)) * round(seconds * 200), 24_000)


GREETING, REPLY, GOODBYE = (seconds_of_tone(seconds) for seconds in (0.4, 1.2, 0.6))
TERSE = Behaviour(
    greeting=GREETING, reply=REPLY, think_seconds=0.3, speed=4.0, prefix_ms=100, silence_ms=500
)

EDGE = 0.1
"""The detector and the ear may differ by so much on where speech begins or ends."""


AUDIO = {"data": "AAA=", "mime_type": "audio/pcm;rate=16000"}
"""One sample."""


class Call:
    """A conversation, its clock, and what it sent when."""

    def __init__(
        self,
        behaviour: Behaviour = TERSE,
        *,
        handles: Handles | None = None,
        model: str = "gemini-3.8-live",
        vertex: bool = False,
        **setup: Any,
    ) -> None:
        prefix = "publishers/google/models" if vertex else "models"
        asked = {"model": f"{prefix}/{model}"} | setup
        self.now = 0.0
        self.record = SessionRecord(0, 0.0)
        read = read_setup(asked, vertex=vertex, api_version="v1beta")
        self.conversation = Conversation(behaviour, read, self.record, handles or Handles(), 0.0)
        self.sent: list[tuple[float, dict[str, Any]]] = []
        self.conversation.open(0.0)
        self._collect()

    def send(self, **message: Any) -> None:
        self.conversation.receive(orjson.dumps(message), self.now)
        self._collect()

    def say(self, text: str = "hello") -> None:
        turn = {"role": "user", "parts": [{"text": text}]}
        self.send(client_content={"turns": [turn], "turnComplete": True})

    def hear(self, pcm: bytes, rate: int = RATE_HZ) -> None:
        """The caller's line, in frames of 20 ms, as time goes by."""
        size = int(rate * FRAME) * 2
        for start in range(0, len(pcm), size):
            self.wait(FRAME)
            data = base64.urlsafe_b64encode(pcm[start : start + size]).decode()
            self.send(
                realtime_input={"audio": {"data": data, "mime_type": f"audio/pcm;rate={rate}"}}
            )

    def silence(self, seconds: float) -> None:
        self.hear(bytes(int(seconds * RATE_HZ) * 2))

    def wait(self, seconds: float) -> None:
        """Time goes by; the line is not open."""
        until = self.now + seconds
        while self.conversation.deadline <= until:
            self.now = max(self.now, self.conversation.deadline)
            self.conversation.tick(self.now)
            self._collect()
        self.now = until

    def _collect(self) -> None:
        outbox = self.conversation.outbox
        while outbox:
            self.sent.append((self.now, orjson.loads(outbox.popleft())))

    def story(self) -> list[str]:
        """The names of all that was sent, a run of audio as one, without the bookkeeping."""
        names = itertools.chain.from_iterable(names_of(message) for _, message in self.sent)
        quiet = {"setupComplete", "usageMetadata", "sessionResumptionUpdate"}
        return [name for name, _ in itertools.groupby(n for n in names if n not in quiet)]

    def at(self, name: str) -> float:
        """When `name` was sent first."""
        return next(now for now, message in self.sent if name in names_of(message))

    def all(self, name: str) -> list[Any]:
        return [message[name] for _, message in self.sent if name in message]

    def content(self, name: str) -> list[Any]:
        return [body[name] for body in self.all("serverContent") if name in body]

    def audio_seconds(self) -> float:
        parts = [turn["parts"][0]["inlineData"] for turn in self.content("modelTurn")]
        assert all(part["mimeType"] == "audio/pcm;rate=24000" for part in parts)
        return sum(len(base64.b64decode(part["data"])) for part in parts) / 48_000


def names_of(message: dict[str, Any]) -> list[str]:
    content = message.get("serverContent", {})
    rest = [name for name in message if name != "serverContent"]
    return ["audio" if name == "modelTurn" else name for name in content] + rest


# ---- turns -------------------------------------------------------------------------------------


def test_the_model_greets_when_told_to() -> None:
    call = Call()
    call.say("greet the caller")
    call.wait(3.0)
    assert call.story() == ["audio", "generationComplete", "turnComplete"]
    # 0.3 s of thought; 10 chunks of 40 ms, the first at once and the others at four times the
    # speed; the turn ends when a player that began with the first chunk is through.
    assert call.at("audio") == pytest.approx(0.3)
    assert call.at("generationComplete") == pytest.approx(0.3 + 9 * 0.01)
    assert call.at("turnComplete") == pytest.approx(0.3 + 0.4)
    assert call.audio_seconds() == pytest.approx(0.4)


def test_the_model_answers_when_the_caller_has_finished() -> None:
    call = Call()
    call.silence(1.0)
    call.hear(SPEECH)
    ended = call.now
    call.silence(3.0)
    assert call.story() == ["audio", "generationComplete", "turnComplete"]
    [turn] = call.record.caller_turns
    assert turn.first_speech == pytest.approx(1.0, abs=EDGE)
    assert turn.onset == pytest.approx(turn.first_speech + 0.08)  # the fifth frame of 20 ms
    assert turn.last_speech == pytest.approx(ended, abs=EDGE)
    assert turn.end == pytest.approx(turn.last_speech + 0.5)
    assert call.at("audio") == pytest.approx(turn.last_speech + 0.5 + 0.3)
    assert call.record.speech_ms == pytest.approx(len(SPEECH) / 32, rel=0.15)
    assert call.audio_seconds() == pytest.approx(1.2)


def test_the_setup_says_how_long_speech_and_silence_are() -> None:
    detection = {"prefix_padding_ms": 300, "silence_duration_ms": 800}
    call = Call(realtimeInputConfig={"automaticActivityDetection": detection})
    call.hear(SPEECH)
    call.silence(1.0)
    [turn] = call.record.caller_turns
    assert turn.onset == pytest.approx(turn.first_speech + 0.28)  # its words are without gaps
    assert turn.end == pytest.approx(turn.last_speech + 0.8)


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
def test_the_caller_is_heard_at_any_rate(rate: int) -> None:
    samples = memoryview(SPEECH).cast("h")
    at_rate = b"".join(
        samples[nth * RATE_HZ // rate].to_bytes(2, "little", signed=True)
        for nth in range(len(samples) * rate // RATE_HZ)
    )
    call = Call()
    call.hear(at_rate, rate)
    call.silence(2.0)
    assert len(call.record.caller_turns) == 1
    assert call.story()[0] == "audio"


def test_a_line_that_only_hums_is_no_caller() -> None:
    call = Call()
    call.hear(b"\x28\x00\xd8\xff" * RATE_HZ)  # 2 s of hum, 40 of 32,768
    call.hear(SPEECH[: int(0.06 * RATE_HZ) * 2])  # and a click
    call.silence(1.0)
    assert call.record.caller_turns == []
    assert call.story() == []


def test_a_pause_of_the_stream_ends_the_callers_turn() -> None:
    call = Call()
    call.hear(SPEECH)
    call.send(realtime_input={"audioStreamEnd": True})
    [turn] = call.record.caller_turns
    assert turn.end == call.now
    call.wait(0.31)
    assert call.story() == ["audio"]


def test_the_client_may_mark_the_callers_turns_itself() -> None:
    off = {"automaticActivityDetection": {"disabled": True}}
    call = Call(realtimeInputConfig=off)
    call.hear(SPEECH)
    call.silence(1.0)
    assert call.story() == []
    call.send(realtime_input={"activityStart": {}})
    call.hear(SPEECH)
    call.send(realtime_input={"activityEnd": {}})
    call.wait(0.31)
    assert call.story() == ["audio"]
    call.send(realtime_input={"activityStart": {}})
    assert call.story() == ["audio", "interrupted", "turnComplete"]
    call.send(realtime_input={"audioStreamEnd": True})  # the client marks the turns, not the pauses
    call.send(realtime_input={"activityEnd": {}})
    call.send(realtime_input={"activityEnd": {}})
    assert [turn.end for turn in call.record.caller_turns] == [
        pytest.approx(call.now - 0.31),
        call.now,
    ]


def test_it_is_known_what_was_inside_the_marks() -> None:
    off = {"automaticActivityDetection": {"disabled": True}}
    call = Call(realtimeInputConfig=off)
    call.silence(0.5)
    call.send(realtime_input={"activityStart": {}})
    call.hear(SPEECH)
    call.send(realtime_input={"activityEnd": {}})
    call.silence(0.5)
    [turn] = call.record.caller_turns
    assert turn.marked
    assert bytes(call.record.audio[turn.from_byte : turn.to_byte]) == SPEECH
    assert turn.speech_ms == pytest.approx(len(SPEECH) / 32, rel=0.15)
    assert call.record.unmarked_bytes == RATE_HZ * 2


def test_a_service_may_be_deaf_at_first_after_its_own_turn() -> None:
    call = Call(replace(TERSE, faults=frozenset({"deaf"})))
    short = SPEECH[: int(0.24 * RATE_HZ) * 2]
    call.say("greet the caller")
    call.wait(0.8)
    call.hear(short)
    call.silence(1.0)
    assert call.record.caller_turns == []
    call.hear(short)  # the same a second later
    call.silence(1.0)
    assert len(call.record.caller_turns) == 1


def test_but_not_to_a_caller_who_was_speaking() -> None:
    call = Call(replace(TERSE, faults=frozenset({"deaf"})))
    call.say("greet the caller")
    call.wait(0.5)
    call.hear(SPEECH)
    call.silence(1.0)
    [turn] = call.record.caller_turns
    assert turn.end == pytest.approx(turn.last_speech + 0.5)


def test_history_without_an_end_starts_nothing() -> None:
    call = Call()
    turn = {"role": "model", "parts": [{"text": "so far, so good"}]}
    call.send(client_content={"turns": [turn], "turn_complete": False})
    call.wait(1.0)
    assert call.story() == []
    assert call.record.contents == [{"turns": [turn], "turnComplete": False}]


def test_a_text_starts_a_turn() -> None:
    call = Call()
    call.send(realtimeInput={"text": "hello?"})
    call.wait(1.0)
    call.send(realtimeInput={"text": "and now?"})
    call.wait(2.0)
    assert call.record.texts == ["hello?", "and now?"]
    assert call.audio_seconds() == pytest.approx(0.4 + 1.2)  # a greeting, then a reply


def test_a_model_that_takes_history_only_as_a_seed() -> None:
    seeded = Call(
        model="gemini-3.1-flash-live-preview", historyConfig={"initialHistoryInClientContent": True}
    )
    seeded.say("what was said before")
    seeded.wait(1.0)
    assert seeded.story() == []
    seeded.send(realtimeInput={"text": " "})
    seeded.wait(1.0)
    assert seeded.story() == ["audio", "generationComplete", "turnComplete"]
    with pytest.raises(SessionEnd, match="1007"):
        seeded.say("more")
    with pytest.raises(SessionEnd, match="1007"):
        Call(model="gemini-3.1-flash-live-preview").say("greet the caller")


def test_one_message_may_carry_several_inputs() -> None:
    call = Call()
    call.send(realtime_input={"audio": AUDIO, "text": "hello?"})
    call.wait(0.31)
    assert (call.record.audio_bytes, call.record.texts) == (2, ["hello?"])
    assert call.story() == ["audio"]


def test_the_context_may_change_on_the_way() -> None:
    call = Call()
    instruction = {"parts": [{"text": "Be brief from now on."}]}
    call.send(context_update={"system_instruction": instruction})
    assert call.record.context_updates == [{"systemInstruction": instruction}]
    assert call.story() == []


def test_vertex_tells_of_activity_where_asked() -> None:
    call = Call(vertex=True, explicitVadSignal=True)
    call.hear(SPEECH)
    call.silence(0.6)
    start, end = call.all("voiceActivity")
    assert start == {"type": "ACTIVITY_START", "audioOffset": "0.10s"}
    assert end["type"] == "ACTIVITY_END"


# ---- interruption ------------------------------------------------------------------------------


def test_the_caller_interrupts() -> None:
    call = Call()
    call.say()
    call.wait(0.3)
    call.hear(SPEECH)
    assert call.story() == ["audio", "generationComplete", "interrupted", "turnComplete"]
    [turn], [caller] = call.record.model_turns, call.record.caller_turns
    assert turn.interrupted == turn.turn_complete == caller.onset == call.at("interrupted")


def test_an_interrupted_generation_is_never_complete() -> None:
    call = Call()
    call.say()
    call.wait(1.0)
    call.hear(SPEECH)
    call.silence(0.9)  # 0.5 to be sure, 0.3 to think: the reply has begun
    call.hear(SPEECH)
    reply = ["audio", "interrupted", "turnComplete"]
    assert call.story() == ["audio", "generationComplete", "turnComplete", *reply]
    assert 0 < call.record.model_turns[1].audio_bytes < len(REPLY.data)


def test_a_caller_who_goes_on_is_not_answered_in_between() -> None:
    call = Call()
    call.hear(SPEECH)
    call.silence(0.6)  # the turn has ended, the model still thinks
    call.hear(SPEECH)
    call.silence(1.0)
    assert len(call.record.caller_turns) == 2
    assert len(call.record.model_turns) == 1
    assert call.story()[0] == "audio"


def test_the_setup_may_forbid_interruption() -> None:
    behaviour = Behaviour(greeting=seconds_of_tone(8.0), reply=REPLY)
    call = Call(behaviour, realtimeInputConfig={"activityHandling": "NO_INTERRUPTION"})
    call.say()
    call.wait(0.3)
    call.hear(SPEECH)
    call.silence(8.0)
    spoken = ["audio", "generationComplete", "turnComplete"]
    assert call.story() == spoken * 2
    greeting, reply = call.record.model_turns
    assert greeting.turn_complete is not None
    assert reply.first_chunk == pytest.approx(greeting.turn_complete + 0.3)


def test_messages_may_carry_several_fields() -> None:
    behaviour = Behaviour(greeting=GREETING, reply=REPLY, merge=True, speed=0)
    call = Call(behaviour, outputAudioTranscription={})
    call.say()
    call.wait(1.0)
    last = [message for _, message in call.sent if "audio" in names_of(message)][-1]
    assert set(names_of(last)) == {
        "audio",
        "outputTranscription",
        "generationComplete",
        "usageMetadata",
    }
    assert len(call.all("usageMetadata")) == 1
    call.say()
    call.wait(0.5)
    call.say()
    assert {"interrupted": True, "turnComplete": True} in call.all("serverContent")
    assert len(call.all("usageMetadata")) == 2


# ---- words and tokens --------------------------------------------------------------------------


def test_words_are_transcribed_where_asked_for() -> None:
    call = Call(inputAudioTranscription={}, outputAudioTranscription={})
    call.hear(SPEECH)
    call.silence(3.0)
    assert call.content("inputTranscription") == [{"text": "Caller turn 1.", "finished": True}]
    words = call.content("outputTranscription")
    assert len(words) == 3  # 1.2 s of speech: at its start, after one second, at its end
    assert "".join(word["text"] for word in words).strip() == TERSE.reply_words
    assert [word.get("finished", False) for word in words] == [False, False, True]


def test_the_whole_context_is_counted_again_with_every_turn() -> None:
    call = Call(systemInstruction={"parts": [{"text": "Be brief. " * 40}]})
    for _ in range(3):
        call.hear(SPEECH)
        call.silence(3.0)
    counts = call.all("usageMetadata")
    prompts = [count["promptTokenCount"] for count in counts]
    assert prompts == sorted(set(prompts))
    for count in counts:
        assert count["responseTokenCount"] == 30  # 1.2 s at 25 a second
        assert count["totalTokenCount"] == count["promptTokenCount"] + 30
        details = {each["modality"]: each["tokenCount"] for each in count["promptTokensDetails"]}
        assert details["TEXT"] > 90
        assert 25 <= count["promptTokenCount"] - sum(details.values()) <= 51
    # By the end of the second turn: two utterances, the 3 s between them, 0.5 + 0.3 + 1.2 s of open
    # line until the reply is through, and the first reply.
    audio = counts[1]["promptTokensDetails"][1]["tokenCount"]
    assert audio == pytest.approx(25 * (2 * len(SPEECH) / 32_000 + 3.0 + 2.0 + 1.2), rel=0.02)


def test_compression_keeps_the_context_small() -> None:
    window = {"triggerTokens": "200", "slidingWindow": {"targetTokens": "100"}}
    call = Call(contextWindowCompression=window)
    for _ in range(4):
        call.hear(SPEECH)
        call.silence(3.0)
    prompts = [count["promptTokenCount"] for count in call.all("usageMetadata")]
    assert max(prompts) < 400


def test_vertex_names_its_counts_otherwise() -> None:
    call = Call(vertex=True)
    call.say()
    call.wait(1.0)
    [usage] = call.all("usageMetadata")
    assert usage["candidatesTokenCount"] == 10
    assert call.all("setupComplete") == [{"sessionId": "simulated-0"}]


# ---- tools -------------------------------------------------------------------------------------


def declared(name: str, behaviour: str) -> list[dict[str, Any]]:
    return [{"functionDeclarations": [{"name": name, "behavior": behaviour}]}]


def with_tool(**step: Any) -> Behaviour:
    return Behaviour(
        greeting=GREETING, reply=REPLY, tools=(ToolStep(1, "end_call", {"why": "done"}, **step),)
    )


def test_the_model_calls_a_tool_and_speaks_when_it_has_the_result() -> None:
    call = Call(with_tool(after=GOODBYE), tools=declared("end_call", "BLOCKING"))
    call.hear(SPEECH)
    call.silence(5.0)
    assert call.story() == ["toolCall"]
    [[wanted]] = [each["functionCalls"] for each in call.all("toolCall")]
    assert (wanted["name"], wanted["args"]) == ("end_call", {"why": "done"})
    response = {"id": wanted["id"], "name": "end_call", "response": {"output": "ok"}}
    call.send(tool_response={"functionResponses": [response]})
    call.wait(2.0)
    assert call.story() == ["toolCall", "audio", "generationComplete", "turnComplete"]
    assert call.audio_seconds() == pytest.approx(0.6)
    assert call.record.tool_responses == [response]


def test_the_model_speaks_and_then_calls_a_tool() -> None:
    call = Call(with_tool(before=GOODBYE), tools=declared("end_call", "BLOCKING"))
    call.hear(SPEECH)
    call.silence(2.0)
    assert call.story() == ["audio", "toolCall"]
    [wanted] = call.record.tool_calls
    call.send(tool_response={"functionResponses": [{"id": wanted["id"], "response": {}}]})
    call.wait(2.0)
    assert call.story() == ["audio", "toolCall", "generationComplete", "turnComplete"]


def test_a_caller_who_interrupts_cancels_the_call() -> None:
    call = Call(with_tool(after=GOODBYE), tools=declared("end_call", "BLOCKING"))
    call.hear(SPEECH)
    call.silence(1.0)
    call.hear(SPEECH)
    assert call.story() == ["toolCall", "toolCallCancellation", "interrupted", "turnComplete"]
    [wanted] = call.record.tool_calls
    assert call.all("toolCallCancellation") == [{"ids": [wanted["id"]]}]
    assert call.record.cancelled_calls == [wanted["id"]]
    # The result was on its way already. Nobody minds.
    call.send(tool_response={"functionResponses": [{"id": wanted["id"], "response": {}}]})
    call.silence(3.0)
    assert call.story()[4:] == ["audio", "generationComplete", "turnComplete"]


@pytest.mark.parametrize(
    ("scheduling", "then"),
    [
        ({}, ["audio", "generationComplete", "turnComplete"]),
        ({"scheduling": "INTERRUPT"}, ["audio", "generationComplete", "turnComplete"]),
        ({"scheduling": "SILENT"}, []),
    ],
)
def test_a_tool_that_does_not_block(scheduling: dict[str, str], then: list[str]) -> None:
    # The model's own default is not to block.
    call = Call(with_tool(after=GOODBYE), tools=[{"functionDeclarations": [{"name": "end_call"}]}])
    call.hear(SPEECH)
    call.silence(1.0)
    assert call.story() == ["toolCall", "generationComplete", "turnComplete"]
    [wanted] = call.record.tool_calls
    response = {"id": wanted["id"], "response": {}} | scheduling
    call.send(tool_response={"functionResponses": [response]})
    call.wait(2.0)
    assert call.story()[3:] == then


def test_a_result_may_wait_for_the_end_of_a_reply() -> None:
    behaviour = with_tool(before=seconds_of_tone(4.0), after=GOODBYE)
    call = Call(behaviour, tools=declared("end_call", "NON_BLOCKING"))
    call.hear(SPEECH)
    call.silence(2.0)
    assert call.story() == ["audio", "toolCall", "generationComplete"]
    [wanted] = call.record.tool_calls
    call.send(tool_response={"functionResponses": [{"id": wanted["id"], "response": {}}]})
    call.wait(5.0)
    assert call.story()[3:] == ["turnComplete", "audio", "generationComplete", "turnComplete"]
    assert [turn.started_by for turn in call.record.model_turns] == ["speech", "tool"]


# ---- resumption --------------------------------------------------------------------------------


def test_a_conversation_goes_on_with_its_handle() -> None:
    handles = Handles()
    first = Call(sessionResumption={}, handles=handles)
    first.say("greet the caller")
    first.wait(1.0)
    updates = first.all("sessionResumptionUpdate")
    assert [update["resumable"] for update in updates] == [True, False, True]
    assert [update["newHandle"] for update in updates[::2]] == first.record.handles

    second = Call(sessionResumption={"handle": first.record.handles[-1]}, handles=handles)
    assert second.record.resumed
    second.say("go on")
    second.wait(2.0)
    assert second.audio_seconds() == pytest.approx(1.2)  # a reply: the greeting was said before
    tokens = [call.all("usageMetadata")[0]["promptTokenCount"] for call in (first, second)]
    assert tokens[1] > tokens[0]


def test_the_oldest_handles_are_forgotten() -> None:
    handles = Handles()
    issued = [handles.issue(Memory(), 0.0) for _ in range(HANDLES_KEPT + 1)]
    known = [handles.recall(handle, 0.0) is not None for handle in issued]
    assert known == [False] + [True] * HANDLES_KEPT


def test_handles_that_do_not_hold() -> None:
    handles = Handles()
    first = Call(sessionResumption={}, handles=handles)
    handle = first.record.handles[0]
    memory = handles.recall(handle, now=HANDLE_SECONDS)
    assert memory is not None
    assert handles.recall(handle, now=HANDLE_SECONDS + 1) is None
    lost = Behaviour(faults=frozenset({"lost-handles"}))
    for behaviour, wanted in ((TERSE, "made up"), (lost, handle)):
        with pytest.raises(SessionEnd, match="1007"):
            Call(behaviour, sessionResumption={"handle": wanted}, handles=handles)


# ---- faults ------------------------------------------------------------------------------------


def faulty(*faults: str, **knobs: Any) -> Behaviour:
    knobs = {"greeting": GREETING, "reply": REPLY} | knobs
    return Behaviour(faults=frozenset(faults), **knobs)


SPOKEN = ["audio", "generationComplete", "turnComplete"]


@pytest.mark.parametrize(
    ("fault", "story"),
    [
        ("no-answer", []),
        ("empty-turn", ["turnComplete"]),
        ("cut-reply", ["audio", "turnComplete"]),
        ("phantom-interrupted", ["audio", "interrupted", "turnComplete"]),
        ("stall", SPOKEN),
        ("slow", SPOKEN),
        ("tone", ["audio"]),
    ],
)
def test_a_turn_that_goes_wrong_and_the_next_that_does_not(fault: str, story: list[str]) -> None:
    call = Call(faulty(fault, fault_turn=0))
    call.say()
    call.wait(20.0)
    assert call.story() == story
    before = len(call.sent)
    call.say()
    call.wait(3.0)
    del call.sent[:before]
    interrupted = ["interrupted", "turnComplete"] if fault == "tone" else []
    assert call.story() == [*interrupted, *SPOKEN]


def test_a_reply_is_said_a_second_time() -> None:
    call = Call(faulty("twice"))
    call.say()
    call.wait(20.0)
    assert call.story() == [*SPOKEN, *SPOKEN]


def test_a_stall_is_a_hole_in_the_middle() -> None:
    call = Call(faulty("stall", fault_seconds=5.0))
    call.say()
    call.wait(7.0)
    times = [now for now, message in call.sent if "audio" in names_of(message)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) == pytest.approx(5.0, abs=0.02)
    assert gaps.index(max(gaps)) == len(times) // 2 - 1


def test_slow_audio_takes_longer_than_it_lasts() -> None:
    call = Call(faulty("slow", reply=REPLY))
    call.hear(SPEECH)
    call.silence(4.0)
    [turn] = call.record.model_turns
    assert turn.first_chunk is not None
    assert turn.last_chunk is not None
    assert turn.last_chunk - turn.first_chunk == pytest.approx((1.2 - 0.04) / 0.8)


def test_a_tone_has_no_end() -> None:
    call = Call(faulty("tone", speed=0))
    call.say()
    call.wait(30.0)
    assert call.audio_seconds() > 60


@pytest.mark.parametrize(
    ("fault", "is_it"),
    [
        ("unknown-message", lambda message: message.keys() == {"somethingNew"}),
        ("error-message", lambda message: message.keys() == {"error"}),
        ("unknown-field", lambda message: "moodUpdate" in message),
        ("huge-message", lambda message: len(message.get("padding", "")) > 1 << 20),
        ("go-away", lambda message: message == {"goAway": {"timeLeft": "5s"}}),
    ],
)
def test_a_message_out_of_the_blue(fault: str, is_it: Callable[[dict[str, Any]], bool]) -> None:
    call = Call(faulty(fault, fault_after_seconds=2.0))
    call.wait(1.9)
    assert not any(is_it(message) for _, message in call.sent)
    call.wait(0.2)
    assert is_it(call.sent[-1][1])
    injected = Call()
    injected.conversation.inject(fault)
    injected.wait(0.0)
    assert is_it(injected.sent[-1][1])


def test_the_service_leaves() -> None:
    call = Call(faulty("close", close=CLOSES["deadline"], fault_after_seconds=2.0))
    call.wait(1.9)
    with pytest.raises(SessionEnd) as left:
        call.wait(0.2)
    assert left.value.close == CLOSES["deadline"]


def test_the_service_goes_away_and_says_so_before() -> None:
    call = Call(faulty("go-away", fault_after_seconds=1.0, fault_seconds=3.0))
    call.wait(3.9)
    assert call.all("goAway") == [{"timeLeft": "3s"}]
    with pytest.raises(SessionEnd, match="1000"):
        call.wait(0.2)


def test_faults_have_names() -> None:
    with pytest.raises(ValueError, match="no such fault: stal;"):
        faulty("stal")
    with pytest.raises(ValueError, match="stall cannot be injected"):
        Call().conversation.inject("stall")


def test_a_behaviour_that_cannot_be() -> None:
    for knobs in ({"chunk_ms": 0}, {"speed": -1.0}):
        with pytest.raises(ValueError, match="chunk_ms must be above 0 and speed not below"):
            faulty(**knobs)


# ---- what a client may not send ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"setup": {"model": "models/gemini-3.8-live"}}, "setup must be the first message"),
        ({"hello": {}}, 'Unknown name "hello": Cannot find field'),
        ({"realtime_input": {"volume": 3}}, "Unknown name \"volume\" at 'realtime_input'"),
        ({"realtime_input": {"audio": AUDIO | {"rate": 8000}}}, 'Unknown name "rate"'),
        ({"realtime_input": {"audio": AUDIO | {"data": "====="}}}, "Base64 decoding failed"),
        ({"realtime_input": {"audio": AUDIO | {"data": "AA=="}}}, "half a sample"),
        ({"realtime_input": {"audio": AUDIO | {"mime_type": "audio/opus"}}}, "mime_type"),
        ({"realtime_input": {"mediaChunks": [AUDIO]}}, "media_chunks is deprecated"),
        ({"realtime_input": {"activityStart": {}}}, "Explicit activity control"),
        ({"client_content": {"turns": {"role": "user"}}}, "'client_content.turns' (list), dict"),
        ({"tool_response": {"functionResponses": [{"call": "1"}]}}, 'Unknown name "call"'),
    ],
)
def test_what_ends_a_session(message: dict[str, Any], reason: str) -> None:
    with pytest.raises(SessionEnd) as end:
        Call().send(**message)
    assert end.value.close.code == 1007
    assert reason in end.value.close.reason


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"text"', b"\xff"])
def test_what_is_no_message(raw: bytes) -> None:
    with pytest.raises(SessionEnd, match="1007 Invalid JSON"):
        Call().conversation.receive(raw, 0.0)


def test_a_client_that_never_reads_is_let_go() -> None:
    call = Call(Behaviour(greeting=GREETING, reply=REPLY), sessionResumption={})
    text = orjson.dumps({"realtimeInput": {"text": "again"}})

    def talk_on() -> None:
        for _ in range(10_000):
            call.conversation.receive(text, call.now)
            call.now += 1.0
            call.conversation.tick(call.now)

    with pytest.raises(SessionEnd, match="1008"):
        talk_on()


def test_a_record_is_bounded() -> None:
    call = Call(Behaviour(kept_audio_seconds=1.0))
    call.silence(3.0)
    assert (len(call.record.audio), call.record.audio_bytes) == (32_000, 96_000)
    for text in texts(1_500):
        call.send(realtimeInput={"text": text})
    assert call.record.texts == list(texts(1_000))


def texts(count: int) -> Iterable[str]:
    return (f"text {nth}" for nth in range(count))
