"""Whole calls, as transcripts: a caller over a real socket, the service, and a model on strings.

Time is virtual: a call of a minute takes a fraction of a second, and its times are exact to a frame.
"""

import asyncio

import numpy as np
import pytest
from structlog.testing import capture_logs

from audiosocket_agent import wire
from audiosocket_agent.call.events import Outcome
from audiosocket_agent.call.machine import Limits
from audiosocket_agent.call.tool import ToolSpec
from audiosocket_agent.errors import ModelError
from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.report import End
from audiosocket_agent.lab.sound import SHIPPED_CALLER, read_utterances
from audiosocket_agent.model import base
from audiosocket_agent.model.echo import EchoModel
from audiosocket_agent.tools.registry import Tool
from tests.house import HOST, house
from tests.scripted import Puppet, ScriptedModel, tone
from tests.virtual_time import in_virtual_time

FRAME = 0.020
UTTERANCE = read_utterances(SHIPPED_CALLER, 8_000)[0]  # 2.9 s of speech


def noise(seconds: float, rate_hz: int = 8_000) -> bytes:
    """A burst that webrtcvad takes for speech: voiced, vowel-like."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = sum(np.sin(2 * np.pi * 140 * n * t) / n for n in range(1, 20))
    burst: bytes = (5000 * np.asarray(wave)).astype("<i2").tobytes()
    return burst


def audible_seconds(call: Call) -> float:
    return sum(frame.audible for frame in call.frames) * FRAME


async def one_reply(model: Puppet) -> None:
    """Speak for two seconds, in one burst."""
    model.say(tone(2.0))
    model.turn_ends()


# -- a conversation ------------------------------------------------------------------------------


@in_virtual_time
async def test_silence_flows_from_accept_to_hangup_at_50_frames_a_second() -> None:
    async with house(ScriptedModel()) as service, service.call() as call:
        await call.passes(3.0)
        assert call.frames[0].at <= 0.040
        assert len(call.frames) == pytest.approx(3.0 / FRAME, abs=1)
        assert {frame.kind for frame in call.frames} == {wire.Kind.SLIN}
        assert not any(frame.audible for frame in call.frames)


@in_virtual_time
async def test_the_greeting_comes_unasked_and_its_first_frame_at_once() -> None:
    async def greet(model: Puppet) -> None:
        await asyncio.sleep(0.507)
        model.say(tone(1.0))
        model.turn_ends()

    async with house(ScriptedModel(greet)) as service, service.call() as call:
        at = await call.agent_speaks()
        assert at == pytest.approx(0.507, abs=0.003)  # not at the next tick, 0.520
        await call.agent_silent(0.5)
        assert audible_seconds(call) == pytest.approx(1.0, abs=2 * FRAME)
        assert service.metric("greeting_seconds_sum") == pytest.approx(0.507, abs=0.003)
        await call.passes(1.0)
        assert len(call.frames) == pytest.approx(
            call.now / FRAME, abs=1
        )  # what was borrowed is back


@in_virtual_time
async def test_the_model_hears_every_sample_of_the_caller() -> None:
    model = ScriptedModel()
    async with house(model) as service, service.call() as call:
        await call.passes(0.1)
        call.say(UTTERANCE)
        await call.said()
        await call.passes(0.1)
        assert UTTERANCE.rstrip(b"\0") in bytes(model.puppet.heard)
        assert model.puppet.heard_rate_hz == 8_000


@in_virtual_time
async def test_a_wideband_caller_passes_untouched_both_ways() -> None:
    said = read_utterances(SHIPPED_CALLER, 16_000)[0]
    reply = tone(1.0, rate_hz=16_000)

    async def answer(model: Puppet) -> None:
        await asyncio.sleep(5.0)
        model.say(reply, 16_000)
        model.turn_ends()

    model = ScriptedModel(answer)
    async with house(model) as service, service.call(rate_hz=16_000) as call:
        await call.passes(0.1)
        call.say(said)
        await call.said()
        await call.agent_speaks()
        await call.agent_silent(0.2)
        assert said.rstrip(b"\0") in bytes(model.puppet.heard)
        assert reply in call.heard
        assert call.frames[-1].kind == wire.Kind.SLIN16


@in_virtual_time
async def test_24_khz_passes_untouched_where_asterisk_takes_it() -> None:
    reply = tone(1.0)

    async def answer(model: Puppet) -> None:
        model.say(reply)
        model.turn_ends()

    model = ScriptedModel(answer)
    async with house(model, downlink_rate_hz=24_000) as service, service.call() as call:
        await call.passes(1.5)
        assert reply in call.heard
        assert {frame.kind for frame in call.frames} == {wire.Kind.SLIN24}


@in_virtual_time
async def test_other_rates_become_wideband_for_the_model() -> None:
    model = ScriptedModel()
    async with house(model) as service, service.call(rate_hz=24_000) as call:
        call.say(tone(1.0, rate_hz=24_000))
        await call.said()
        assert model.puppet.heard_rate_hz == 16_000
        assert len(model.puppet.heard) == pytest.approx(32_000, abs=1_300)


@in_virtual_time
async def test_the_answer_is_timed_from_the_callers_last_word() -> None:
    async def answer(model: Puppet) -> None:
        model.say(tone(0.5))
        model.turn_ends()
        await asyncio.sleep(6.0)
        model.say(tone(0.5))
        model.turn_ends()

    async with house(ScriptedModel(answer)) as service, service.call() as call:
        await call.passes(2.0)
        said = call.say(UTTERANCE)
        await call.said()
        await call.agent_speaks()
        assert service.metric("response_seconds_count") == 1
        expected = 6.0 - said.ends
        assert service.metric("response_seconds_sum") == pytest.approx(expected, abs=0.1)


@in_virtual_time
async def test_the_echo_repeats_the_caller() -> None:
    async with house(EchoModel(asyncio.get_running_loop().time)) as service:
        async with service.call() as call:
            await call.agent_speaks()
            await call.agent_silent(1.0)
            greeting = audible_seconds(call)
            said = call.say(UTTERANCE)
            await call.said()
            await call.agent_speaks()
            await call.agent_silent(1.0)
            echoed = audible_seconds(call) - greeting
            assert echoed == pytest.approx(said.voiced_seconds, abs=0.7)  # pauses are not audible
            call.hang_up()
        await service.is_empty()
        assert service.metric("calls_total", outcome="caller_hangup") == 1


# -- barge-in ------------------------------------------------------------------------------------


async def long_reply(model: Puppet) -> None:
    """Ten seconds at once, as models do that are faster than real time."""
    model.say(tone(10.0))
    model.tell(base.GenerationEnded())


@in_virtual_time
async def test_the_agent_stops_when_the_caller_speaks() -> None:
    model = ScriptedModel(long_reply)
    async with house(model) as service, service.call() as call:
        await call.agent_speaks()
        await call.passes(2.0)
        said = call.say(UTTERANCE)
        await call.said()
        last_heard = max(frame.at for frame in call.frames if frame.audible)
        assert last_heard - said.begins <= 0.160
        assert service.metric("barge_ins_total", result="confirmed") == 1
        assert service.metric("barge_in_stop_seconds_sum") <= FRAME + 0.001
        [heard_ms] = model.puppet.notes
        assert heard_ms == pytest.approx(audible_seconds(call) * 1000, abs=20)


@in_virtual_time
async def test_a_short_noise_pauses_the_reply_and_nothing_of_it_is_lost() -> None:
    reply = tone(10.0)

    async def long_reply(model: Puppet) -> None:
        model.say(reply)
        model.turn_ends()

    async with house(ScriptedModel(long_reply), downlink_rate_hz=24_000) as service:
        async with service.call() as call:
            await call.agent_speaks()
            await call.passes(2.0)
            call.say(noise(0.2))
            await call.agent_silent(0.3)
            await call.agent_speaks()
            await call.agent_silent(1.0)
            assert service.metric("barge_ins_total", result="resumed") == 1
            assert service.metric("barge_ins_total", result="confirmed") == 0
            frames = [call.heard[at : at + 960] for at in range(0, len(call.heard), 960)]
            assert b"".join(frame for frame in frames if any(frame)) == reply
            assert len(call.frames) == pytest.approx(call.now / FRAME, abs=1)


@in_virtual_time
async def test_speech_that_follows_a_cough_stops_the_agent() -> None:
    async with house(ScriptedModel(long_reply)) as service, service.call() as call:
        await call.agent_speaks()
        await call.passes(1.0)
        call.say(noise(0.12) + bytes(8_000))  # a cough, and half a second in which it is judged
        said = call.say(UTTERANCE)
        await call.said()
        last_heard = max(frame.at for frame in call.frames if frame.audible)
        assert last_heard - said.begins <= 0.160
        assert service.metric("barge_ins_total", result="resumed") == 1
        assert service.metric("barge_ins_total", result="confirmed") == 1


@in_virtual_time
async def test_stop_and_a_breath_stops_the_agent_for_good() -> None:
    remark = read_utterances(SHIPPED_CALLER, 8_000)[2]  # "Stop, one moment please, ..."
    async with house(ScriptedModel(long_reply)) as service, service.call() as call:
        await call.agent_speaks()
        await call.passes(1.0)
        said = call.say(remark)
        await call.said()
        last_heard = max(frame.at for frame in call.frames if frame.audible)
        assert last_heard - said.begins <= 0.160
        assert service.metric("barge_ins_total", result="resumed") == 0


@in_virtual_time
async def test_an_interruption_whose_turn_never_ends_does_not_mute_the_next_reply() -> None:
    async def talk(model: Puppet) -> None:
        model.say(tone(1.0))
        await asyncio.sleep(0.5)
        model.tell(base.Interrupted())  # and no turnComplete
        await asyncio.sleep(3.0)
        model.say(tone(0.4))
        model.turn_ends()

    async with house(ScriptedModel(talk)) as service, service.call() as call:
        await call.agent_speaks()
        await call.agent_silent(1.0)
        await call.agent_speaks()
        await call.agent_silent(0.5)
        assert audible_seconds(call) == pytest.approx(0.9, abs=4 * FRAME)


@in_virtual_time
async def test_what_the_model_says_after_being_interrupted_is_not_heard_until_its_next_turn() -> (
    None
):
    async def talk(model: Puppet) -> None:
        model.say(tone(1.0))
        await asyncio.sleep(0.5)
        model.tell(base.Interrupted())
        await asyncio.sleep(0.1)
        model.say(tone(3.0))  # the rest of the turn, still on its way
        model.tell(base.TurnEnded(spoke=True))
        await asyncio.sleep(1.0)
        model.say(tone(0.4))
        model.turn_ends()

    async with house(ScriptedModel(talk)) as service, service.call() as call:
        await call.agent_speaks()
        await call.agent_silent(0.8)
        assert audible_seconds(call) == pytest.approx(0.5, abs=2 * FRAME)
        await call.agent_speaks()
        await call.agent_silent(0.5)
        assert audible_seconds(call) == pytest.approx(0.9, abs=4 * FRAME)
        assert service.metric("barge_ins_total", result="model") == 1


@in_virtual_time
async def test_the_model_may_be_interrupted_after_it_has_said_all() -> None:
    """`interrupted` for a turn that is only playing: the next turn is heard from its first word."""

    async def talk(model: Puppet) -> None:
        model.say(tone(5.0))
        model.tell(base.GenerationEnded())
        await asyncio.sleep(0.5)
        model.tell(base.Interrupted())
        await asyncio.sleep(1.0)
        model.say(tone(0.4))
        model.turn_ends()

    async with house(ScriptedModel(talk)) as service, service.call() as call:
        await call.agent_speaks()
        await call.agent_silent(0.8)
        await call.agent_speaks()
        await call.agent_silent(0.8)
        assert audible_seconds(call) == pytest.approx(0.9, abs=4 * FRAME)


@in_virtual_time
async def test_interruptions_can_be_switched_off() -> None:
    model = ScriptedModel(long_reply)
    async with house(model, limits=Limits(interruptions=False)) as service, service.call() as call:
        await call.agent_speaks()
        call.say(UTTERANCE)
        await call.said()
        await call.agent_silent(1.0)
        assert audible_seconds(call) == pytest.approx(10.0, abs=2 * FRAME)


@in_virtual_time
async def test_where_they_are_off_what_the_model_says_of_one_cuts_nothing() -> None:
    async def talk(model: Puppet) -> None:
        model.say(tone(1.0))
        model.tell(base.Interrupted())
        await asyncio.sleep(0.2)
        model.say(tone(1.0))
        model.turn_ends()

    model = ScriptedModel(talk)
    async with house(model, limits=Limits(interruptions=False)) as service, service.call() as call:
        await call.agent_speaks()
        await call.agent_silent(0.5)
        assert audible_seconds(call) == pytest.approx(2.0, abs=2 * FRAME)


# -- what is missing -----------------------------------------------------------------------------


@in_virtual_time
async def test_a_muted_caller_is_silence_to_the_model_and_then_a_pause() -> None:
    model = ScriptedModel()
    async with house(model) as service, service.call() as call:
        await call.passes(1.0)
        before = len(model.puppet.heard)
        call.mute(3.0)
        await call.passes(2.0)
        filled = (len(model.puppet.heard) - before) / 16_000
        assert filled == pytest.approx(1.0, abs=2 * FRAME)  # uplink_gap_fill
        assert model.puppet.pauses == 1
        await call.passes(2.0)
        assert model.puppet.pauses == 1
        assert len(model.puppet.heard) > before + 16_000  # the caller is back


@in_virtual_time
async def test_a_digit_reaches_us_and_leaves_no_hole_in_what_the_model_hears() -> None:
    model = ScriptedModel()
    async with house(model) as service, service.call() as call:
        await call.passes(1.0)
        call.press("5")
        await call.said()
        await call.passes(1.0)
        assert len(model.puppet.heard) / 16_000 == pytest.approx(call.now, abs=0.15)
    await service.is_empty()
    assert service.metric("frames_received_total", kind="dtmf") == 1


@in_virtual_time
async def test_keys_stop_the_agent_and_are_told_to_the_model_as_text() -> None:
    model = ScriptedModel(long_reply)
    async with house(model) as service, service.call() as call:
        await call.agent_speaks()
        await call.passes(1.0)
        call.press("12#")
        await call.said()
        await call.passes(2.0)
        assert model.puppet.texts == ["(The caller pressed these keys of the telephone: 1 2 #.)"]
        assert audible_seconds(call) < 1.5


@in_virtual_time
async def test_no_more_keys_are_told_than_anybody_needs() -> None:
    model = ScriptedModel()
    async with house(model) as service, service.call() as call:
        await call.passes(0.1)
        call.press("5" * 50)
        await call.said()
        await call.passes(2.0)
        [text] = model.puppet.texts
        assert text.count("5") == 40


@in_virtual_time
async def test_a_reply_that_comes_too_slowly_is_rebuffered_not_chopped() -> None:
    async def slow(model: Puppet) -> None:
        for _ in range(50):  # 2 s of audio in 2.5 s
            model.say(tone(0.040))
            await asyncio.sleep(0.050)
        model.turn_ends()

    async with house(ScriptedModel(slow)) as service, service.call() as call:
        await call.agent_speaks()
        await call.agent_silent(1.0)
        assert audible_seconds(call) == pytest.approx(2.0, abs=0.1)
        gaps = sum(
            before.audible and not after.audible
            for before, after in zip(call.frames, call.frames[1:], strict=False)
        )
        assert gaps <= 8  # not one for each of the 50 chunks
        call.hang_up()
        await service.is_empty()
        assert service.metric("model_stalls_total") >= 1


# -- the end of a call ---------------------------------------------------------------------------


@in_virtual_time
async def test_the_agent_ends_the_call_and_its_goodbye_is_heard_to_the_end() -> None:
    async def goodbye(model: Puppet) -> None:
        model.tell(base.ToolCall("1", "end_call", {}))
        await asyncio.sleep(0.3)
        model.say(tone(1.5))
        model.turn_ends()

    model = ScriptedModel(goodbye)
    async with house(model) as service, service.call() as call:
        assert await call.ended() is End.FINISHED
        assert audible_seconds(call) == pytest.approx(1.5, abs=2 * FRAME)
        last_heard = max(frame.at for frame in call.frames if frame.audible)
        assert call.now - last_heard >= 0.22 - 0.001  # the phone has played it
        assert model.puppet.results[0][0].name == "end_call"
    await service.is_empty()
    assert service.metric("calls_total", outcome="agent_hangup") == 1
    assert service.metric("tool_calls_total", tool="end_call", outcome="ok") == 1


@in_virtual_time
async def test_a_long_goodbye_is_heard_to_the_end() -> None:
    async def goodbye(model: Puppet) -> None:
        model.say(tone(16.0))
        model.tell(base.ToolCall("1", "end_call", {}))
        model.turn_ends()

    async with house(ScriptedModel(goodbye)) as service, service.call() as call:
        assert await call.ended(timeout=30.0) is End.FINISHED
        assert audible_seconds(call) == pytest.approx(16.0, abs=2 * FRAME)


@in_virtual_time
async def test_a_goodbye_that_comes_before_the_end_is_wanted_is_waited_for_no_further() -> None:
    async def goodbye(model: Puppet) -> None:
        model.say(tone(0.5))
        await asyncio.sleep(1.0)  # it is heard
        model.tell(base.ToolCall("1", "end_call", {}), base.TurnEnded(spoke=True))  # in one burst

    async with house(ScriptedModel(goodbye)) as service, service.call() as call:
        assert await call.ended() is End.FINISHED
        assert call.now < 1.5


@in_virtual_time
async def test_what_the_model_says_after_its_goodbye_is_not_begun() -> None:
    async def goodbye(model: Puppet) -> None:
        model.say(tone(1.0))
        model.tell(base.ToolCall("1", "end_call", {}))
        await asyncio.sleep(0.1)
        model.turn_ends()
        await asyncio.sleep(1.0)  # within the 200 ms that the phone plays out
        model.say(tone(1.0))

    async with house(ScriptedModel(goodbye)) as service, service.call() as call:
        assert await call.ended() is End.FINISHED
        assert audible_seconds(call) == pytest.approx(1.0, abs=2 * FRAME)


@in_virtual_time
async def test_a_caller_who_speaks_before_the_goodbye_keeps_the_call() -> None:
    async def goodbye(model: Puppet) -> None:
        await asyncio.sleep(1.0)
        model.tell(base.ToolCall("1", "end_call", {}))
        await asyncio.sleep(6.0)
        model.say(tone(0.5))
        model.turn_ends()

    async with house(ScriptedModel(goodbye)) as service, service.call() as call:
        await call.passes(1.2)
        call.say(UTTERANCE)
        await call.said()
        await call.agent_speaks()
        await call.passes(2.0)
        assert call.end is None


@in_virtual_time
async def test_a_caller_who_hangs_up_frees_everything_within_a_second() -> None:
    model = ScriptedModel(long_reply)
    async with house(model) as service:
        async with service.call() as call:
            await call.agent_speaks()
            call.hang_up()
        await service.is_empty(within=1.0)
        assert model.puppet.closed.is_set()
        assert service.metric("calls_total", outcome="caller_hangup") == 1


@in_virtual_time
async def test_a_call_has_a_longest_duration() -> None:
    async with house(ScriptedModel(one_reply), limits=Limits(max_duration_s=5.0)) as service:
        async with service.call() as call:
            assert await call.ended() is End.FINISHED
            assert call.now == pytest.approx(5.0, abs=FRAME)
    assert service.metric("calls_total", outcome="max_duration") == 1


@in_virtual_time
async def test_a_model_that_cannot_be_had_gives_the_call_back() -> None:
    refused = ScriptedModel(refuses=ModelError("429", "quota", retryable=False))
    async with house(refused) as service, service.call() as call:
        assert await call.ended() is End.FINISHED
        await service.is_empty()
        assert service.metric("calls_total", outcome="model_failed") == 1
        assert service.metric("model_errors_total", code="429") == 1


@in_virtual_time
async def test_a_model_that_is_lost_is_heard_out() -> None:
    async def lost(model: Puppet) -> None:
        model.say(tone(1.0))
        model.fails("1011")

    async with house(ScriptedModel(lost)) as service, service.call() as call:
        assert await call.ended() is End.FINISHED
        assert audible_seconds(call) == pytest.approx(1.0, abs=2 * FRAME)
        await service.is_empty()
        assert service.metric("model_errors_total", code="1011") == 1


@in_virtual_time
async def test_a_full_house_gives_the_next_call_back_at_once() -> None:
    async with house(ScriptedModel(), max_calls=1) as service, service.call() as first:
        await first.passes(0.1)
        assert service.server.not_ready() == "full"
        async with service.call() as second:
            assert await second.ended() is End.FINISHED
            assert second.now < 0.1
        assert service.metric("calls_rejected_total", reason="full") == 1
        await first.passes(0.5)
        assert first.end is None


@in_virtual_time
async def test_a_drain_lets_calls_end_and_refuses_new_ones() -> None:
    hurry = asyncio.Event()
    async with house(ScriptedModel(long_reply)) as service, service.call() as call:
        await call.passes(0.5)
        drain = asyncio.create_task(service.server.drain(60.0, hurry))
        await call.passes(1.0)
        assert service.server.not_ready() == "draining"
        async with service.call() as refused:
            assert await refused.ended() is End.FINISHED
        assert call.end is None
        call.hang_up()
        await asyncio.wait_for(drain, 1.0)
        assert service.metric("calls_total", outcome="caller_hangup") == 1


@in_virtual_time
async def test_a_drain_in_a_hurry_ends_calls_politely() -> None:
    hurry = asyncio.Event()
    async with house(ScriptedModel(one_reply)) as service, service.call() as call:
        await call.passes(0.5)
        drain = asyncio.create_task(service.server.drain(60.0, hurry))
        await call.passes(0.1)
        hurry.set()
        assert await call.ended() is End.FINISHED
        assert audible_seconds(call) == pytest.approx(
            2.0, abs=2 * FRAME
        )  # the sentence is finished
        await drain
        assert service.metric("calls_total", outcome="drained") == 1


@in_virtual_time
async def test_a_fault_in_one_call_keeps_no_other_from_ending_at_a_drain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(outcome: Outcome) -> None:
        raise ZeroDivisionError

    hurry = asyncio.Event()
    hurry.set()
    async with house(ScriptedModel()) as service, service.call() as one, service.call() as other:
        await other.passes(0.5)
        first, second = service.server.sessions()
        assert {first.id, second.id} == {str(one.uuid), str(other.uuid)}
        monkeypatch.setattr(first, "end", fails)
        drain = asyncio.create_task(service.server.drain(60.0, hurry))
        assert await (other if second.id == str(other.uuid) else one).ended() is End.FINISHED
        one.hang_up()
        await drain


# -- tools ---------------------------------------------------------------------------------------


def tool(name: str, run: object) -> Tool:
    return Tool(ToolSpec(name, "For a test."), run, timeout_s=0.9)  # type: ignore[arg-type]


@in_virtual_time
async def test_whatever_a_tool_does_wrong_is_told_to_the_model_and_the_call_goes_on() -> None:
    async def breaks(call: object, arguments: object) -> dict[str, str]:
        raise ZeroDivisionError

    async def hangs(call: object, arguments: object) -> dict[str, str]:
        await asyncio.Event().wait()
        return {}

    def breaks_at_once(call: object, arguments: object) -> dict[str, str]:
        raise ZeroDivisionError

    async def use(model: Puppet) -> None:
        for number, name in enumerate(("breaks", "hangs", "no_such_tool", "hangs")):
            model.tell(base.ToolCall(str(number), name, {"of": number}))
        await asyncio.sleep(0.5)
        model.tell(base.ToolCancelled(("3",)), base.ToolCall("4", "breaks_at_once", {}))

    model = ScriptedModel(use)
    tools = [tool("breaks", breaks), tool("hangs", hangs), tool("breaks_at_once", breaks_at_once)]
    async with house(model, tools=tools) as service, service.call() as call:
        await call.passes(2.0)
        answers = {wanted.id: result for wanted, result in model.puppet.results}
        assert answers == {
            "0": {"error": "it failed"},
            "1": {"error": "it took too long"},
            "2": {"error": "there is no such tool"},
            "4": {"error": "it failed"},
        }  # nobody waits for the cancelled one
        assert service.metric("tool_calls_total", tool="breaks", outcome="error") == 1
        assert service.metric("tool_calls_total", tool="hangs", outcome="timeout") == 1
        assert service.metric("tool_calls_total", tool="hangs", outcome="cancelled") == 1
        assert service.metric("tool_calls_total", tool="unknown", outcome="unknown") == 1
        assert call.end is None


# -- one call and the others ---------------------------------------------------------------------


@in_virtual_time
async def test_a_fault_of_ours_ends_its_own_call_politely_and_no_other() -> None:
    class Faulty(ScriptedModel):
        def open(self, setup: base.SessionSetup, sink: base.AudioSink):  # type: ignore[no-untyped-def]
            if not self.puppets:
                return super().open(setup, sink)
            raise ZeroDivisionError

    async with house(Faulty()) as service, service.call() as good:
        await good.passes(0.5)
        with capture_logs() as logged:
            async with service.call() as bad:
                assert await bad.ended() is End.FINISHED
            await good.passes(0.5)
        assert good.end is None
        assert service.metric("calls_total", outcome=Outcome.ERROR) == 1
        assert service.metric("calls_active") == 1
        failed = [line["call"] for line in logged if line["event"] == "call failed"]
        assert failed == [str(bad.uuid)]


@in_virtual_time
async def test_usage_is_counted_turn_by_turn() -> None:
    async def use(model: Puppet) -> None:
        for _ in range(2):
            model.tell(base.Usage({("in", "audio"): 100, ("in", "text"): 20, ("out", "audio"): 30}))

    async with house(ScriptedModel(use)) as service, service.call() as call:
        await call.passes(0.5)
        assert service.metric("tokens_total", direction="in", modality="audio") == 200
        assert service.metric("tokens_total", direction="out", modality="audio") == 60


@in_virtual_time
async def test_a_port_check_is_no_call() -> None:
    async with house(ScriptedModel()) as service:
        _, writer = await asyncio.open_connection(HOST, service.port)
        await asyncio.sleep(0.5)
        writer.close()
        await asyncio.sleep(0.1)
        assert service.server.calls == 0
        assert all(
            sample.value == 0
            for metric in service.metrics.calls_rejected.collect()
            for sample in metric.samples
        )


@in_virtual_time
async def test_the_model_is_told_who_it_is_and_what_it_may_do() -> None:
    model = ScriptedModel()
    async with house(model) as service, service.call() as call:
        await call.passes(0.1)
        setup = model.puppet.setup
        assert setup.instructions.startswith("Be brief.\n\nIt is ")
        assert setup.greeting == "Greet the caller."
        assert [tool.name for tool in setup.tools] == ["end_call"]
