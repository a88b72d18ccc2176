"""Work in a thread, which cannot be stopped there."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

_Result = TypeVar("_Result")


def apart(work: Callable[[], _Result]) -> asyncio.Future[_Result]:
    """Have something done that may take for ever: in a thread of its own, which keeps none of those busy
    that all share, and is not waited for when the process ends."""
    loop = asyncio.get_running_loop()
    doing: asyncio.Future[_Result] = loop.create_future()
    doing.add_done_callback(asyncio.Future.exception)  # whoever waited may be gone

    def done() -> None:
        tell: Callable[[], None]
        try:
            tell = partial(doing.set_result, work())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for whoever waits
            tell = partial(doing.set_exception, error)
        with suppress(RuntimeError):  # the loop is over
            loop.call_soon_threadsafe(tell)

    threading.Thread(target=done, name="apart", daemon=True).start()
    return doing


async def to_the_end(doing: asyncio.Future[_Result]) -> _Result:
    """Its result. Who is cancelled waits for its end, too."""
    try:
        await asyncio.wait({doing})
    except asyncio.CancelledError:
        await asyncio.wait({doing})
        doing.exception()
        raise
    return doing.result()
