"""Who may come in, how often, and who has to go. Times are seconds; connections are numbers."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosocket_agent.addresses import LOOPBACK, is_in, networks
from audiosocket_agent.errors import PeerError
from audiosocket_agent.pbx.gate import AUDIO_SECONDS, SOURCES_KEPT, Gate, Haste, Seldom

PBX = "192.0.2.7"
OFFICE = networks("192.0.2.0/24, 2001:db8::/32")


@pytest.mark.parametrize(
    ("source", "may"),
    [
        ("192.0.2.7", True),
        ("192.0.3.7", False),
        ("::ffff:192.0.2.7", True),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("127.0.0.1", False),
        ("", False),
        ("pbx.example", False),
    ],
)
def test_who_is_allowed(source: str, may: bool) -> None:
    assert Gate[int](OFFICE).refusal(source, 0.0) == ("" if may else "not_allowed")


@pytest.mark.parametrize(("source", "may"), [("127.0.0.1", True), ("::1", True), (PBX, False)])
def test_where_nobody_is_named_it_is_this_host(source: str, may: bool) -> None:
    assert is_in(source, LOOPBACK) is may
    assert Gate[int]().refusal(source, 0.0) == ("" if may else "not_allowed")


@pytest.mark.parametrize("text", ["10.0.0.0/33", "pbx.example", "10.0.0.1/24", "10.0.0.1;::1"])
def test_what_is_no_network_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is no address or network"):
        networks(f"192.0.2.1 {text}")


def test_no_networks() -> None:
    assert networks(" ") == ()
    assert networks("192.0.2.1") == (ipaddress.ip_network("192.0.2.1/32"),)


def test_a_burst_then_the_rate() -> None:
    gate = Gate[int](OFFICE, per_second=10.0)
    assert [gate.refusal(PBX, 0.0) for _ in range(6)] == [""] * 5 + ["too_often"]
    assert gate.refusal("192.0.2.8", 0.0) == ""  # who has a bucket of their own
    assert gate.refusal(PBX, 0.05) == "too_often"
    assert gate.refusal(PBX, 0.11) == ""
    assert [gate.refusal(PBX, 60.0) for _ in range(6)].count("") == 5


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=300), st.floats(1, 50))
def test_never_more_than_the_burst_and_the_rate(pauses: list[float], rate: float) -> None:
    gate = Gate[int](OFFICE, per_second=rate)
    now = taken = 0.0
    for pause in pauses:
        now += pause
        taken += not gate.refusal(PBX, now)
    assert taken <= max(1.0, rate / 2) + rate * now + 1e-6


def test_whoever_waits_longest_goes_for_the_next_of_that_source() -> None:
    gate = Gate[int](OFFICE, half_open=10, half_open_per_source=3)
    assert [gate.enter(number, PBX) for number in range(5)] == [None, None, None, 0, 1]
    gate.leave(3)
    gate.leave(3)
    assert gate.enter(5, PBX) is None
    assert gate.enter(6, PBX) == 2
    assert gate.half_open == 3


def test_of_all_sources_together_it_is_the_one_that_waits_longest() -> None:
    gate = Gate[int](OFFICE, half_open=4, half_open_per_source=3)
    for number in range(4):
        assert gate.enter(number, f"192.0.2.{number}") is None
    assert gate.enter(4, PBX) == 0
    assert gate.half_open == 4


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30)), max_size=200))
def test_the_bounds_hold_whoever_comes_and_goes(steps: list[tuple[int, int]]) -> None:
    gate = Gate[int](OFFICE, half_open=6, half_open_per_source=3)
    inside: dict[int, int] = {}
    for number, (source, leaves) in enumerate(steps):
        inside[number] = source
        pushed = gate.enter(number, str(source))
        if pushed is not None:
            assert pushed != number
            del inside[pushed]
        gate.leave(leaves)
        inside.pop(leaves, None)
        assert gate.half_open == len(inside) <= 6
        assert all(list(inside.values()).count(of) <= 3 for of in range(6))


def test_sources_without_end_are_forgotten() -> None:
    gate = Gate[int](networks("10.0.0.0/8"))
    for number in range(SOURCES_KEPT + 100):
        gate.refusal(str(ipaddress.ip_address("10.0.0.0") + number), 0.0)
    assert len(gate._buckets) == SOURCES_KEPT


def test_what_comes_by_the_thousand_is_told_once_a_minute() -> None:
    seldom = Seldom(60.0)
    told = [second for second in range(180) if seldom.is_time(PBX, float(second))]
    assert told == [0, 60, 120]
    assert seldom.is_time("192.0.2.8", 0.5)
    for number in range(SOURCES_KEPT + 100):
        seldom.is_time(number, 0.0)
    assert len(seldom._told) == SOURCES_KEPT


@pytest.mark.parametrize(("least_s", "messages"), [(0.005, 6_000), (0.04, 750)])
def test_messages_may_be_half_a_minute_ahead(least_s: float, messages: int) -> None:
    haste = Haste()
    for _ in range(messages - 1):
        haste.came(100.0, least_s)
    for _ in range(round(1.0 / least_s)):
        haste.came(101.0, least_s)  # of which a second has passed
    with pytest.raises(PeerError) as refused:
        haste.came(101.0, 3 * least_s)
    assert refused.value.code == "too_fast"


def test_a_caller_of_ten_milliseconds_is_never_in_haste() -> None:
    haste = Haste()
    for number in range(100_000):
        haste.came(number / 100, AUDIO_SECONDS)
