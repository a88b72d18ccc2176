"""The host's zone follows the host's rules."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from audiosocket_agent.business import say
from audiosocket_agent.localtime import HERE
from audiosocket_agent.records.cells import moment


@pytest.fixture(params=["Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3", "Asia/Kolkata", "UTC"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ZoneInfo]:
    """What the host is set to; TZ may be a rule without a name."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield ZoneInfo("Europe/Berlin" if "," in request.param else request.param)
    time.tzset()


def test_it_is_the_hosts_at_every_hour_of_a_year(zone: ZoneInfo) -> None:
    at = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
    for hours in range(365 * 24):
        there = (at + timedelta(hours=hours)).astimezone(zone)
        here = there.astimezone(HERE)
        assert (here.isoformat(), here.fold) == (there.isoformat(), there.fold)
        assert here.astimezone(UTC) == at + timedelta(hours=hours)


def test_a_time_is_said_and_taken_on_either_side_of_a_change(zone: ZoneInfo) -> None:
    winter, summer = datetime(2026, 1, 15, 12, tzinfo=UTC), datetime(2026, 7, 15, 12, tzinfo=UTC)
    for now in (winter, summer):
        for at in (winter, summer):
            assert say.moment(at, now, HERE) == say.moment(at, now, zone)
            written = at.astimezone(zone).strftime("%Y-%m-%d %H:%M")
            assert moment("at").read(written, now.astimezone(HERE)) == at


@pytest.mark.parametrize("zone", ["Europe/Berlin"], indirect=True)
def test_the_beginning_of_the_calendar_is_as_in_any_zone(zone: ZoneInfo) -> None:
    for of in (zone, HERE):
        with pytest.raises(OverflowError):
            datetime.min.replace(tzinfo=of).astimezone(UTC)
