"""Places and things by what callers call them, in whatever script."""

from typing import Any

from audiosocket_agent.business.products import NOT_FOUND
from audiosocket_agent.business.supply import NO_WEATHER, NOT_KNOWN
from tests.business.talk import Desk, error_of

AREAS = [
    ("Sector 62, Noida", "Sector 62, Noida"),
    ("sec-62", "Sector 62, Noida"),
    ("सेक्टर ६२", "Sector 62, Noida"),
    ("নয়ডা সেক্টর ৬২", "Sector 62, Noida"),
    ("Noida extension", "Greater Noida West, Greater Noida"),
    ("गौर सिटी", "Greater Noida West, Greater Noida"),
    ("Indira Puram", "Indirapuram, Ghaziabad"),
    ("Wasundhara", "Vasundhara, Ghaziabad"),
    ("crossing republik", "Crossings Republik, Ghaziabad"),
    ("Greater Noida Sector 1", "Sector 1, Greater Noida"),
]


async def test_an_area_is_found_as_it_is_said(desk: Desk) -> None:
    async with desk.call() as call:
        for said, meant in AREAS:
            told = await call.use("service_area", area=said)
            assert [area["area"] for area in told["areas"]] == [meant]
    async with desk.call() as call:
        for said, meant in AREAS:
            assert (await call.use("outage_status", area=said))["area"] == meant


async def test_an_outage_is_told_with_its_cause_and_its_times(desk: Desk) -> None:
    async with desk.call() as call:
        told = await call.use("outage_status", area="Sector 62")
        assert told == {
            "area": "Sector 62, Noida",
            "outages": [
                {
                    "status": "ongoing",
                    "cause": "a cable fault at the 33 kV substation",
                    "started_at": "2026-11-20T10:00+05:30",
                    "started_at_in_words": "today, Friday 20 November 2026, 10:00 am",
                    "expected_at": "2026-11-20T15:00+05:30",
                    "expected_at_in_words": "today, Friday 20 November 2026, 3:00 pm",
                }
            ],
        }
        desk.later(hours=4)
        late = (await call.use("outage_status", area="Sector 62"))["outages"][0]
        assert late["overdue"] is True
        unknown_end = await call.use("outage_status", area="Gaur City")
        assert "expected_at" not in unknown_end["outages"][0]
        over = await call.use("outage_status", area="Vaishali")
        assert over["outages"] == []
        assert "report" in over["hint"]


async def test_a_sector_is_never_taken_for_its_neighbour(desk: Desk) -> None:
    async with desk.call() as call:
        for said in ("Sector 64", "सेक्टर 6", "Sector 620", "xyz", "|", "%"):
            assert error_of(await call.use("outage_status", area=said)) == NOT_KNOWN, said


async def test_what_may_be_meant_is_asked_for(desk: Desk) -> None:
    async with desk.call() as call:
        both = {"Sector 1, Noida", "Sector 1, Greater Noida"}
        for tool in ("outage_status", "service_area"):
            assert set((await call.use(tool, area="Sector 1"))["did_you_mean"]) == both
        told = await call.use("outage_status", area="Knowledge Park")
        assert told["did_you_mean"] == ["Knowledge Park 2, Greater Noida"]
        assert len((await call.use("service_area", area="Noida"))["did_you_mean"]) == 4


async def test_where_there_is_no_supply_that_is_said(desk: Desk) -> None:
    async with desk.call() as call:
        told = await call.use("service_area", area="दादरी")
        assert told["areas"] == [
            {"area": "Dadri, Greater Noida", "pincode": "203207", "supplied": False}
        ]
        by_code = await call.use("service_area", area="201 309")
        assert by_code["areas"][0]["office"] == "Sector 62 office, Noida"
        assert error_of(await call.use("service_area", area="999999")) == NOT_KNOWN


async def test_the_weather_of_today_and_tomorrow(desk: Desk) -> None:
    async with desk.call() as call:
        told = await call.use("weather", place="नोएडा")
        assert told == {
            "place": "Noida",
            "day": "2026-11-20",
            "weather": "hazy sunshine, poor air in the evening",
            "day_in_words": "today, Friday 20 November 2026",
            "min_celsius": 11.0,
            "max_celsius": 24.0,
        }
        of_area = await call.use("weather", place="Indirapuram", day="tomorrow")
        assert (of_area["place"], of_area["day"]) == ("Ghaziabad", "2026-11-21")
        assert error_of(await call.use("weather", place="Mumbai")) == NO_WEATHER
        desk.later(days=30)
        assert error_of(await call.use("weather", place="Noida")) == NO_WEATHER
        told = await call.use("weather", place="Noida", day="2026-11-22")
        assert error_of(told).startswith("day should be 'today' or 'tomorrow'")


PRODUCTS: list[tuple[str, dict[str, Any], bool]] = [
    ("Maggi", {"name": "Maggi Noodles, pack of 12", "stock": 55, "price": 168}, True),
    ("basmati", {"name": "India Gate Basmati Rice 5 kg", "price": 649}, False),
    ("atta 10 kg", {"in_stock": False, "note": "new stock tomorrow evening"}, False),
    ("दूध", {"name": "Mother Dairy Milk 1 l", "unit": "packet"}, True),
    ("GR-103", {"name": "India Gate Basmati Rice 5 kg"}, True),
]


async def test_a_product_is_found_as_it_is_called(desk: Desk) -> None:
    async with desk.call() as call:
        for said, first, exact in PRODUCTS:
            told = await call.use("check_product_availability", product=said)
            assert first.items() <= told["products"][0].items()
            assert told["exact"] is exact


async def test_sizes_of_one_product_are_offered_together(desk: Desk) -> None:
    async with desk.call() as call:
        told = await call.use("check_product_availability", product="आटा")
        names = [product["name"] for product in told["products"]]
        assert names == ["Aashirvaad Atta 5 kg", "Aashirvaad Atta 10 kg"]


async def test_what_is_not_sold_is_not_guessed(desk: Desk) -> None:
    async with desk.call() as call:
        for said in ("laptop", "'; DROP TABLE products; --", "%", "_"):
            told = await call.use("check_product_availability", product=said)
            assert error_of(told) == NOT_FOUND, said
        told = await call.use("check_product_availability", product="x" * 81)
        assert error_of(told) == "product should have at most 80 characters"
        told = await call.use("check_product_availability")
        assert error_of(told) == "product is missing"
