"""What the shipped tools do to a call."""

from audiosocket_agent.tools.builtin import END_CALL


class Control:
    """A call, as a tool sees it."""

    def __init__(self) -> None:
        self.ended = 0

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
