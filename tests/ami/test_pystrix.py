"""Another's client talks to our pretend Asterisk: it is not only what we imagine.

pystrix reads in a thread; it gives a connection up that is silent for its timeout, and cannot bear one
that is closed, so it is the one to close.
"""

import asyncio
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pystrix.ami import Manager as Client  # type: ignore[import-untyped,unused-ignore]
from pystrix.ami import core

from tests.ami.manager import HOST, SECRET, USERNAME, Manager

SILENCE_S = 1.0


@contextmanager
def client(port: int) -> Iterator[Any]:
    """Connected, not logged in; its threads are gone afterwards."""
    before = set(threading.enumerate())
    manager = Client()
    try:
        manager.connect(HOST, port, timeout=SILENCE_S)
        yield manager
    finally:
        manager.close()
        for thread in set(threading.enumerate()) - before:
            if thread.name == "pystrix-ami-message-reader":
                thread.join()


def conversation(port: int) -> dict[str, Any]:
    """What pystrix makes of it all."""
    events: queue.Queue[Any] = queue.Queue()
    with client(port) as manager:
        manager.register_callback("OriginateResponse", lambda event, _: events.put(event))
        said = {"version": manager.get_asterisk_info()}
        challenge = manager.send_action(core.Challenge()).result["Challenge"]
        login = core.Login(USERNAME, SECRET, challenge=challenge)
        said["login"] = manager.send_action(login).result["Message"]
        said["ping"] = manager.send_action(core.Ping()).result["Ping"]
        order = core.Originate_Context(
            "PJSIP/102@trunk", "agent", "dialled", "1", timeout=1000, variables={"A": "1", "B": "2"}
        )
        said["order"] = manager.send_action(order, action_id="u", ChannelId="u").success
        said["fate"] = events.get(timeout=2).process()[0]
        listing = core.CoreShowChannels()
        listing.synchronous = True
        said["channels"] = manager.send_action(listing).events["CoreShowChannel"]
        said["hangup"] = manager.send_action(core.Hangup("u")).result["Message"]
        said["no such"] = manager.send_action(core.Hangup("u")).result["Message"]
    return said


async def test_pystrix_logs_in_and_places_a_call() -> None:
    async with Manager().running() as manager:
        said = await asyncio.to_thread(conversation, manager.port)
    (order,) = manager.originates
    assert order.every("Variable") == ["A=1", "B=2"]
    assert said["version"] == ("Asterisk Call Manager", "11.0.0")
    assert (said["login"], said["ping"]) == ("Authentication accepted", "Pong")
    assert (said["order"], said["fate"]["ActionID"], said["fate"]["Result"]) == (
        True,
        "u",
        "ANSWERED",
    )
    (channel,) = said["channels"]
    assert channel.process()[0] | {"ChannelState": 6, "Uniqueid": "u"} == channel.process()[0]
    assert (said["hangup"], said["no such"]) == ("Channel Hungup", "No such channel")
