"""Another's FastAGI server answers our pretend dialplan: it is not only what we imagine.

(pystrix has no client's side of AGI to set upon our own server.)
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pystrix.agi import FastAGIServer, core  # type: ignore[import-untyped,unused-ignore]

from tests.agi.dialplan import HOST, Line


@contextmanager
def serving(script: str, handler: Any) -> Iterator[int]:
    """pystrix, answering one script; its threads are gone afterwards."""
    with FastAGIServer(HOST, port=0, daemon_threads=False) as server:  # whose threads are joined
        server.register_script_handler(script, handler)
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def _no_sysctl(monkeypatch: pytest.MonkeyPatch) -> None:
    # it runs that program for the length of the backlog
    monkeypatch.setattr(FastAGIServer, "get_somaxconn", staticmethod(lambda: 5))


async def test_pystrix_is_asked_and_sets_variables() -> None:
    asked: list[Any] = []

    def answer(channel: Any, arguments: Any, query: Any, match: Any, path: str) -> None:
        asked.append((path, query, channel.get_environment()["agi_callerid"]))
        channel.execute(core.SetVariable("AGENT_STATUS", "OK"))
        channel.execute(core.SetVariable("AGENT_ADDRESS", "127.0.0.1:9092"))

    line = Line({})
    with serving("open", answer) as port:
        await line.run(port, "open?uuid=12&agent=front+desk")
    assert line.variables == {"AGENT_STATUS": "OK", "AGENT_ADDRESS": "127.0.0.1:9092"}
    assert asked == [("open", {"uuid": ["12"], "agent": ["front desk"]}, "5550100")]


async def test_pystrix_drives_a_call() -> None:
    seen: list[Any] = []

    def drive(channel: Any, arguments: Any, query: Any, match: Any, path: str) -> None:
        channel.execute(core.Answer())
        seen.append(channel.execute(core.GetVariable("AGENT_UUID")))
        seen.append(channel.execute(core.GetVariable("NOBODY")))
        channel.execute(core.SetVariable("AGENT_STATUS", "OK"))

    line = Line({}, variables={"AGENT_UUID": "12"})
    with serving("run", drive) as port:
        await line.run(port, "run?ring=2")
    assert seen == ["12", None]
    assert line.ran == ["ANSWER"]
    assert line.variables["AGENT_STATUS"] == "OK"
