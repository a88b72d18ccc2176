"""What the shipped tools do to a call."""

from collections.abc import Mapping
from typing import Any

import pytest

from audiosocket_agent.call.digits import DigitsWanted
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.tools.builtin import COLLECT_DIGITS, END_CALL, built_in, transfer_call
from audiosocket_agent.tools.registry import Tool
from tests.tools.control import Control


def used(tool: Tool, call: Control, arguments: dict[str, Any]) -> Mapping[str, Any]:
    """The result of a tool that answers at once."""
    result = tool.run(call, arguments)
    assert isinstance(result, Mapping)
    return result


async def collected(call: Control, arguments: dict[str, Any]) -> Mapping[str, Any]:
    result = COLLECT_DIGITS.run(call, arguments)
    assert not isinstance(result, Mapping)
    return await result


def test_end_call_ends_the_call_and_asks_for_a_goodbye() -> None:
    call = Control()
    result = used(END_CALL, call, {"whatever": "the model made up"})
    assert call.ended == 1
    assert "goodbye" in result["output"]


def test_end_call_is_known_by_the_name_the_instructions_use() -> None:
    assert END_CALL.spec.name == "end_call"
    assert END_CALL.spec.parameters == {"type": "object", "properties": {}}


SALES = Target("sales", "2001", "orders and prices")
TRANSFER = transfer_call([SALES, Target("faults", "2002", "what does not work")])


def test_a_caller_is_passed_on_by_name() -> None:
    call = Control()
    result = used(TRANSFER, call, {"target": "sales", "reason": "Asha wants a price"})
    assert call.transferred == [(SALES, "Asha wants a price")]
    assert "error" not in result


def test_no_digit_of_a_models_becomes_an_extension() -> None:
    call = Control()
    for wanted in ("2001", "+15550100", "sales&2002", "Sales", "", None, 2001):
        result = used(TRANSFER, call, {"target": wanted, "reason": "x"})
        assert result == {"error": "there is no such target; there are: sales, faults"}
    assert not call.transferred


def test_the_model_is_told_names_and_what_they_are_for_but_no_extension() -> None:
    told = f"{TRANSFER.spec.description} {TRANSFER.spec.parameters}"
    assert "orders and prices" in told
    assert "'enum': ['faults', 'sales']" in told
    assert "200" not in told


def test_a_caller_whose_call_is_ending_is_not_passed_on() -> None:
    result = used(TRANSFER, Control(ending=True), {"target": "sales", "reason": "x"})
    assert "error" in result


# -- digits --------------------------------------------------------------------------------------


async def test_digits_are_asked_for_with_sensible_limits_where_the_model_gives_none() -> None:
    call = Control("4711#")
    result = await collected(call, {"max": 10})
    assert result == {"digits": "4711", "count": 4, "complete": True}
    assert call.wanted == [DigitsWanted(10, "#", 8.0, secret=False)]


async def test_a_caller_who_presses_too_few_is_no_mystery_to_the_model() -> None:
    assert await collected(Control("47"), {"max": 4}) == {
        "digits": "47",
        "count": 2,
        "complete": False,
    }


async def test_of_a_secret_the_model_learns_its_length_and_where_it_is() -> None:
    call = Control("4711")
    result = await collected(call, {"max": 4, "secret": True})
    assert result == {"kept_as": "secret-1", "count": 4, "complete": True}
    assert call.secrets == ["4711"]
    nothing = await collected(Control(), {"max": 4, "secret": True})
    assert nothing == {"count": 0, "complete": False}


@pytest.mark.parametrize(
    "arguments",
    [
        {"max": 0},
        {"max": 33},
        {"max": 3.5},
        {"max": "4"},
        {"max": True},
        {"max": None},
        {"max": float("nan")},
        {"max": 4, "terminator": "##"},
        {"max": 4, "terminator": "x"},
        {"max": 4, "terminator": 1},
        {"max": 4, "timeout": 0.5},
        {"max": 4, "timeout": 31},
        {"max": 4, "timeout": "long"},
        {"max": 4, "secret": "yes"},
    ],
)
async def test_nonsense_of_a_models_is_said_to_be_that(arguments: dict[str, Any]) -> None:
    call = Control()
    assert "error" in await collected(call, arguments)
    assert not call.wanted


async def test_two_entries_at_once_are_refused() -> None:
    assert "error" in await collected(Control(None), {"max": 4})


def test_an_agent_has_the_tools_its_file_names_and_transfers_only_where_there_is_somebody() -> None:
    def names(*wanted: str, targets: tuple[Target, ...] = ()) -> list[str]:
        return [tool.spec.name for tool in built_in(wanted, targets)]

    assert names("end_call", "transfer_call", "collect_digits") == ["end_call", "collect_digits"]
    assert names("transfer_call", targets=(SALES,)) == ["transfer_call"]
    assert names() == []
