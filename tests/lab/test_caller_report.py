"""What is told and reported of a call, given what was heard and said when."""

import math

import numpy as np
import pytest

from audiosocket_agent.lab.ear import SILENT_DBFS, Ear, Span, level_dbfs, utterances
from audiosocket_agent.lab.report import (
    CallReport,
    End,
    Said,
    Turn,
    greeting,
    quantile,
    spacing,
    turns,
)
from audiosocket_agent.lab.story import Event, Story
from tests.lab.tiny_agent import tone


def pcm(*samples: float) -> bytes:
    return np.array(samples, "<i2").tobytes()


# -- the ear -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "dbfs"),
    [
        (pcm(*[32767, -32768] * 80), 0.0),
        (tone(0.02), -15.3),  # a sine of 8000: 20 lg(8000 / 32768) - 3
        (pcm(*[103, -103] * 80), -50.05),
        (pcm(*[1, -1] * 80), -90.3),
        (bytes(320), SILENT_DBFS),
        (b"\x00\x10\xff", -18.06),  # one sample and an odd byte
        (b"\xff", SILENT_DBFS),
        (b"", SILENT_DBFS),
    ],
)
def test_level(payload: bytes, dbfs: float) -> None:
    assert level_dbfs(payload) == pytest.approx(dbfs, abs=0.05)


def test_a_breath_belongs_to_an_utterance_and_a_pause_does_not() -> None:
    ear = Ear()
    began = [ear.hear(at, audible=True) for at in (1.0, 1.02, 1.6, 2.3, 2.32)]
    assert began == [True, False, False, True, False]
    assert not ear.hear(2.4, audible=False)
    assert ear.spans == [Span(1.0, 1.6), Span(2.3, 2.32)]
    assert ear.heard_within(0.06, 2.36)
    assert not ear.heard_within(0.06, 2.40)


def test_a_recording_is_cut_at_its_silences_with_a_margin() -> None:
    rate, size = 8_000, 160
    sound, silence = np.frombuffer(tone(1.0), "<i2"), np.zeros(rate, np.int16)
    recording = np.concatenate([silence, sound, silence[: rate // 2], sound, silence, sound[:800]])
    first, second = utterances(recording, rate)
    assert len(first) == 2.5 * rate + 2 * 5 * size  # half a second is a breath
    assert np.array_equal(first[5 * size :][:rate], sound)
    assert len(second) == 5 * size + 800  # it ends with the recording
    assert utterances(silence, rate) == []


# -- the report ----------------------------------------------------------------------------------


def said(begins: float, ends: float, *, over_agent: bool = False) -> Said:
    return Said(ends - begins, 0, over_agent, begins, ends)


def test_each_utterance_has_its_answer() -> None:
    spoken = [said(3.0, 5.0), said(9.0, 10.0)]
    agent = [Span(0.4, 2.0), Span(5.5, 7.0), Span(7.9, 8.1), Span(10.75, 11.0)]
    assert greeting(spoken, agent) == 0.4
    assert turns(spoken, agent) == (Turn(3.0, 5.0, 0.5, None), Turn(9.0, 10.0, 0.75, None))


def test_an_agent_that_is_spoken_over_stops_and_answers_then() -> None:
    # It has spoken since 5.5, is interrupted at 7.0, stops at 7.125 and answers at 9.5.
    spoken = [said(3.0, 5.0), said(7.0, 9.0, over_agent=True)]
    agent = [Span(5.5, 7.125), Span(9.5, 12.0)]
    assert turns(spoken, agent)[1] == Turn(7.0, 9.0, 0.5, 0.125)


def test_an_agent_that_does_not_stop_has_not_answered() -> None:
    spoken, agent = [said(7.0, 9.0, over_agent=True)], [Span(5.6, 15.0)]
    assert turns(spoken, agent) == (Turn(7.0, 9.0, None, 8.0),)


def test_an_agent_that_cuts_in_answers_before_the_end() -> None:
    assert turns([said(3.0, 5.0)], [Span(4.2, 8.0)])[0].response_seconds == pytest.approx(-0.8)


def test_an_agent_that_was_spoken_to_first_has_not_greeted() -> None:
    assert greeting([said(1.0, 2.0)], [Span(2.5, 3.0)]) is None
    assert greeting([], [Span(2.5, 3.0)]) == 2.5
    assert greeting([], []) is None
    assert turns([said(1.0, 2.0)], []) == (Turn(1.0, 2.0, None, None),)
    assert turns([], [Span(2.5, 3.0)]) == ()


def test_spacing_is_made_of_intervals_that_were_measured() -> None:
    times = [0.0] + [0.02 * n for n in range(1, 100)] + [2.08]  # the last one after 100 ms
    measured = spacing(times)
    assert measured is not None
    assert measured.frames == 101
    assert measured.p50_seconds == measured.p99_seconds == pytest.approx(0.02)
    assert measured.p999_seconds == measured.max_seconds == pytest.approx(0.10)
    assert measured.late == 1
    assert spacing([1.0]) is None
    assert spacing([]) is None
    assert [quantile([1.0, 2.0, 3.0, 4.0], q) for q in (0.0, 0.5, 0.51, 1.0)] == [1, 2, 3, 4]


ANSWERED = Turn(1.0, 2.0, 0.5, None)
UNANSWERED = Turn(1.0, 2.0, None, None)


@pytest.mark.parametrize(
    ("end", "answers", "violations", "ok"),
    [
        (End.HUNG_UP, (ANSWERED, UNANSWERED), (), True),
        (End.FINISHED, (ANSWERED,), (), True),
        (End.CLOSED, (ANSWERED,), (), False),
        (End.RESET, (ANSWERED,), (), False),
        (End.BROKEN, (ANSWERED,), ("audio of length 0",), False),
        (End.HUNG_UP, (ANSWERED,), ("nothing was received for 2 s",), False),
        (End.HUNG_UP, (UNANSWERED,), (), False),
        (End.HUNG_UP, (), (), False),
        (End.UNREACHED, (), (), False),
    ],
)
def test_a_call_is_ok_if_both_were_heard_and_it_ended_cleanly(
    end: End, answers: tuple[Turn, ...], violations: tuple[str, ...], ok: bool
) -> None:
    report = CallReport(
        uuid="u",
        rate_hz=8_000,
        end=end,
        duration_seconds=9.0,
        turns=answers,
        violations=violations,
    )
    assert report.ok is ok
    assert report.to_json()["ok"] is ok
    assert report.to_json()["end"] == end.value


# -- the story -----------------------------------------------------------------------------------


class Told:
    """A story fed with 20 ms frames, and what it told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.story = Story(self.events.append)

    def passes(
        self, begin: float, end: float, *, agent: bool = False, words: Said | None = None
    ) -> None:
        for n in range(round(begin * 50), round(end * 50)):
            at = n / 50
            self.story.frame(at, audible=agent)
            if words is not None:
                self.story.spoken(words, at)
            self.story.passes(at)

    def lines(self) -> list[str]:
        return [f"{event.at:.2f} {event.text}" for event in self.events]


def words(seconds: float) -> Said:
    return Said(voiced_seconds=seconds, frames_left=round(seconds * 50))


def test_a_call_is_told_as_it_happens() -> None:
    told = Told()
    told.passes(0.0, 0.4)
    told.passes(0.4, 2.0, agent=True)
    told.passes(2.0, 3.0)
    told.passes(3.0, 5.0, words=words(2.0))
    told.passes(5.0, 5.6)
    told.passes(5.6, 7.0, agent=True)
    told.passes(7.0, 7.16, agent=True, words=(over := words(1.16)))
    told.passes(7.16, 8.16, words=over)
    told.passes(8.16, 8.5)
    told.passes(8.5, 9.0, agent=True)
    told.passes(9.0, 10.0)
    told.passes(10.0, 10.5, agent=True)
    told.story.pressed("5", 11.0)
    told.story.over(End.FINISHED, 11.2)
    assert told.lines() == [
        "0.00 first frame",
        "0.40 agent speaks (greeting, 0.40 s after connect)",
        "1.98 agent is done (1.6 s)",
        "3.00 caller: utterance 1 (2.0 s)",
        "5.60 agent answers after 0.62 s",
        "7.00 caller speaks over the agent (1.2 s)",
        "7.14 agent stops, 0.14 s later",
        "8.50 agent answers after 0.36 s",
        "8.98 agent is done (0.5 s)",
        "10.00 agent speaks again",
        "11.00 caller presses 5",
        "11.20 the service ends the call",
    ]
    # The report is made of the same facts.
    assert greeting(told.story.said, told.story.agent.spans) == 0.4
    first, second = turns(told.story.said, told.story.agent.spans)
    assert first.response_seconds == pytest.approx(0.62)
    assert first.barge_in_stop_seconds is None
    assert second.response_seconds == pytest.approx(0.36)
    assert second.barge_in_stop_seconds == pytest.approx(0.14)


def test_an_agent_that_cuts_in_is_told_to() -> None:
    told = Told()
    told.passes(1.0, 2.0, words=(long := words(3.0)))
    told.passes(2.0, 3.0, agent=True, words=long)
    assert told.lines()[1:] == [
        "1.00 caller: utterance 1 (3.0 s)",
        "2.00 agent speaks while the caller does",
    ]
    assert long.frames_left == 50
    assert not math.isnan(long.ends)


def test_an_agent_that_speaks_unasked_speaks_again() -> None:
    told = Told()
    told.passes(0.0, 0.1, agent=True)
    told.passes(0.1, 5.0)
    told.passes(5.0, 5.1, agent=True)
    assert told.lines()[-1] == "5.00 agent speaks again"
