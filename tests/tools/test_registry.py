"""The tools of an agent, by the names a model calls them."""

from collections.abc import Mapping
from typing import Any

import pytest

from audiosocket_agent.call.tool import ToolSpec
from audiosocket_agent.tools.registry import CallControl, Registry, Tool


async def _run(call: CallControl, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"output": arguments}


WEATHER = Tool(ToolSpec("weather", "The weather."), _run)
TIME = Tool(ToolSpec("time", "The time.", {"type": "object", "properties": {"zone": {}}}), _run)


def test_a_tool_is_found_by_its_name() -> None:
    registry = Registry([WEATHER, TIME])
    assert registry.find("weather") is WEATHER
    assert registry.find("time") is TIME


def test_a_model_may_ask_for_what_there_is_not() -> None:
    registry = Registry([WEATHER])
    for name in ("", "Weather", "weather ", "__class__", "os.system"):
        assert registry.find(name) is None
    assert Registry().find("weather") is None


def test_the_model_is_told_of_each_in_order() -> None:
    assert Registry([WEATHER, TIME]).specs == (WEATHER.spec, TIME.spec)
    assert Registry().specs == ()


def test_a_tool_without_arguments_has_the_schema_of_none() -> None:
    assert WEATHER.spec.parameters == {"type": "object", "properties": {}}


def test_two_tools_of_one_name_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two tools are called weather"):
        Registry([WEATHER, WEATHER])
