from audiosocket_agent.call.tool import ToolSpec


def test_a_tool_without_arguments_takes_an_empty_object() -> None:
    first, second = ToolSpec("end_call", "End it."), ToolSpec("wait", "Wait.")
    assert first.parameters == {"type": "object", "properties": {}}
    assert first.parameters is not second.parameters
