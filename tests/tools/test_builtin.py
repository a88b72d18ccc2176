"""What the shipped tools do to a call."""

from audiosocket_agent.call.next_step import Target
from audiosocket_agent.tools.builtin import END_CALL, transfer_call


class Control:
    """A call, as a tool sees it."""

    def __init__(self) -> None:
        self.ended = 0
        self.transferred: list[tuple[Target, str]] = []

    def transfer(self, target: Target, reason: str) -> None:
        self.transferred.append((target, reason))

    def end(self) -> None:
        self.ended += 1


async def test_end_call_ends_the_call_and_asks_for_a_goodbye() -> None:
    call = Control()
    result = await END_CALL.run(call, {"whatever": "the model made up"})
    assert call.ended == 1
    assert "goodbye" in result["output"]


def test_end_call_is_known_by_the_name_the_instructions_use() -> None:
    assert END_CALL.spec.name == "end_call"
    assert END_CALL.spec.parameters == {"type": "object", "properties": {}}


SALES = Target("sales", "2001", "orders and prices")
TRANSFER = transfer_call([SALES, Target("faults", "2002", "what does not work")])


async def test_a_caller_is_passed_on_by_name() -> None:
    call = Control()
    result = await TRANSFER.run(call, {"target": "sales", "reason": "Asha wants a price"})
    assert call.transferred == [(SALES, "Asha wants a price")]
    assert "error" not in result


async def test_no_digit_of_a_models_becomes_an_extension() -> None:
    call = Control()
    for wanted in ("2001", "+15550100", "sales&2002", "Sales", "", None, 2001):
        result = await TRANSFER.run(call, {"target": wanted, "reason": "x"})
        assert result == {"error": "there is no such target; there are: sales, faults"}
    assert not call.transferred


def test_the_model_is_told_names_and_what_they_are_for_but_no_extension() -> None:
    told = f"{TRANSFER.spec.description} {TRANSFER.spec.parameters}"
    assert "orders and prices" in told
    assert "'enum': ['faults', 'sales']" in told
    assert "200" not in told
