"""Places: whether they are supplied, where the supply is off, what the weather will be. Anybody may
know."""

from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from audiosocket_agent.business import places, say
from audiosocket_agent.business.office import Office, Rules
from audiosocket_agent.records import lookup
from audiosocket_agent.records.lookup import Row
from audiosocket_agent.records.names import key
from audiosocket_agent.tools.function import tool
from audiosocket_agent.tools.registry import Tool

Area = Annotated[
    str,
    Field(max_length=80),
    "The area as the caller says it, with its city if they say so; digits for numbers: Sector 62.",
]

SHOWN: Final = 4
PINCODE_CHARS: Final = 6
NOT_KNOWN: Final = "No area of that name is known. Ask for its name again, or for its PIN code."
WHICH: Final = "Ask the caller which of these it is, or for a more exact name."
NO_OUTAGE: Final = (
    "No outage is known there. If the caller has no power, it may be their own line: offer to report "
    "it."
)
NO_WEATHER: Final = "The weather there is not known. Say so; do not guess it."


def outage_status(office: Office, rules: Rules) -> Tool:
    @tool(timeout_s=5.0)
    async def outage_status(area: Area) -> dict[str, Any]:
        """Find out whether the power is off in an area, or will be, why, and until when."""
        row, likely = await places.area(office, area)
        if row is None:
            return _unclear(likely)
        known = await known_outages(office, rules, row)
        told = {"area": places.named(row), "outages": known}
        return told if known else told | {"hint": NO_OUTAGE}

    return outage_status


async def known_outages(office: Office, rules: Rules, area: Row) -> list[dict[str, Any]]:
    """Those of an area that are not over. Raises ToolFailed."""
    found = await office.read(lookup.outages(office.store, area["name"], area["city"], SHOWN))
    return [_outage(row, office, rules) for row in found]


def _outage(row: Row, office: Office, rules: Rules) -> dict[str, Any]:
    now, zone = office.now(), rules.timezone
    told = {
        "status": row["status"],
        "cause": row["cause"],
        **say.when("started_at", row["started_at"], now, zone),
        **say.when("expected_at", row["expected_at"], now, zone),
    }
    if row["expected_at"] is not None and row["expected_at"] < now:
        told["overdue"] = True
    return told


def service_area(office: Office, rules: Rules) -> Tool:
    @tool(timeout_s=5.0)
    async def service_area(area: Area) -> dict[str, Any]:
        """Find out whether an area is supplied by us, and which office looks after it. Takes a PIN
        code too."""
        pincode = key(area)
        if len(pincode) == PINCODE_CHARS and pincode.isdecimal():
            found = await office.read(lookup.areas_of_pincode(office.store, pincode, SHOWN))
            return {"areas": [_area(row) for row in found]} if found else _unclear([])
        row, likely = await places.area(office, area)
        return _unclear(likely) if row is None else {"areas": [_area(row)]}

    return service_area


def _area(row: Row) -> dict[str, Any]:
    told = {"area": places.named(row), "pincode": row["pincode"], "supplied": row["supplied"]}
    return told | {"office": row["office"]} if row["office"] else told


def _unclear(likely: list[str]) -> dict[str, Any]:
    """What a model is told where it is not clear which area is meant."""
    return {"did_you_mean": likely, "hint": WHICH} if likely else {"error": NOT_KNOWN}


def weather(office: Office, rules: Rules) -> Tool:
    @tool(timeout_s=5.0)
    async def weather(
        place: Annotated[str, Field(max_length=80), "The city, or an area of it."],
        day: Literal["today", "tomorrow"] = "today",
    ) -> dict[str, Any]:
        """Tell what the weather is like today, or will be tomorrow."""
        today = office.now().astimezone(rules.timezone).date()
        of = today + timedelta(days=day == "tomorrow")
        row, _ = places.decide(await office.read(lookup.weather(office.store, place, of, SHOWN)))
        if row is None:
            area, _ = await places.area(office, place)
            city = area["city"] if area else ""
            row, _ = places.decide(await office.read(lookup.weather(office.store, city, of, 1)))
        if row is None:
            return {"error": NO_WEATHER}
        told = {"place": row["place"], "day": of.isoformat(), "weather": row["text"]}
        told |= {"day_in_words": say.day(of, today)}
        degrees = {"min_celsius": row["min_c"], "max_celsius": row["max_c"]}
        return told | {name: value for name, value in degrees.items() if value is not None}

    return weather
