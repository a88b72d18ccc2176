"""What can be done to a call while it lasts: acts, and what makes them."""

import asyncio
import os
import resource
import shutil
import signal
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final
from uuid import uuid4

from audiosocket_agent import wire
from tests.agi.dialplan import HOST
from tests.chaos.house import Process, World
from tests.chaos.proxy import Pipe
from tests.chaos.talk import Act, Caller

Once = Callable[[World], Awaitable[None]]

_ANOTHER_HOST: Final = "127.0.0.66"
_SILENCE: Final = wire.audio(wire.KIND_OF_RATE[8_000], bytes(320))


async def nothing(caller: Caller) -> None:
    """The call is left alone."""


def both(*acts: Act) -> Act:
    """One after the other."""

    async def act(caller: Caller) -> None:
        for each in acts:
            await each(caller)

    return act


# -- the model -------------------------------------------------------------------------------------


def gemini(fault: str) -> Act:
    """The session has one of the simulator's faults that happen once."""

    async def act(caller: Caller) -> None:
        caller.world.simulator.inject(fault, caller.world.live(caller.number).number)

    return act


# -- the network before it -------------------------------------------------------------------------


def connection(do: Callable[[Pipe], None], *, after_s: float = 0.0) -> Act:
    """Something is done to the connection of the session."""

    async def act(caller: Caller) -> None:
        await asyncio.sleep(after_s)
        do(caller.world.pipe(caller.number))

    return act


def leg(do: Callable[[Pipe], None]) -> Act:
    """Something is done to the connection between the PBX and us; the call's `line` is there."""

    async def act(caller: Caller) -> None:
        assert caller.line is not None
        do(caller.line.pipes[-1])

    return act


def frozen_and_reset(pipe_s: float) -> Act:
    """What is sent for a while gets nowhere; then the connection is reset."""

    async def act(caller: Caller) -> None:
        pipe = caller.world.pipe(caller.number)
        pipe.freeze()
        await asyncio.sleep(pipe_s)
        pipe.cut(reset=True)

    return act


def corrupted(pipe: Pipe) -> None:
    """From now on bytes are not what they were; TLS finds it out, and gives the connection up."""
    pipe.weather = replace(pipe.weather, corrupt_every=500)


def again_and_again(every_s: float, times: int) -> Act:
    """One connection after the other is reset."""

    async def act(caller: Caller) -> None:
        for _ in range(times):
            with suppress(LookupError):  # the next is not there yet
                caller.world.pipe(caller.number).cut(reset=True)
            await asyncio.sleep(every_s)

    return act


def unreachable(seconds: float) -> Act:
    """All connections are reset, and so is every new one for a while."""

    async def once(world: World) -> None:
        world.network.refusing = True
        for pipe in tuple(world.network.pipes):
            pipe.cut(reset=True)
        await asyncio.sleep(seconds)
        world.network.refusing = False

    return for_all(once)


# -- ourselves and our host ------------------------------------------------------------------------


def for_all(once: Once) -> Act:
    """What happens to the world happens once, with whichever call comes first to it."""

    async def act(caller: Caller) -> None:
        if not caller.world.hit:
            caller.world.hit = True
            await once(caller.world)

    return act


def signalled(number: signal.Signals) -> Act:
    async def once(world: World) -> None:
        world.service.signal(number)

    return for_all(once)


def stopped(seconds: float) -> Act:
    """The process gets no CPU for a while, as on a host that swaps."""

    async def once(world: World) -> None:
        world.service.signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        world.service.signal(signal.SIGCONT)

    return for_all(once)


def limited(kind: int, most: int) -> Act:
    """The kernel gives the process no more of something (setrlimit(2))."""

    async def once(world: World) -> None:
        _, hard = resource.prlimit(world.service.pid, kind)
        resource.prlimit(world.service.pid, kind, (most, hard))

    return for_all(once)


def clock_is_set(*, times: int, then: signal.Signals | None = None) -> Act:
    """The host's clock is an hour ahead, then an hour behind, with time to write rows in between; and
    that happens, too."""

    async def once(world: World) -> None:
        for _ in range(times):
            world.service.signal(signal.SIGUSR2)
            await asyncio.sleep(1.2)
        if then is not None:
            world.service.signal(then)

    return for_all(once)


async def _no_directory(world: World) -> None:
    for path in world.service.directory.iterdir():
        if path.name != "agents":
            shutil.rmtree(path) if path.is_dir() else os.unlink(path)


state_deleted: Final = for_all(_no_directory)


def reloads(agent: str) -> Act:
    """The file of a new agent, and SIGHUP."""

    async def once(world: World) -> None:
        (world.service.directory / "agents" / "new.toml").write_text(agent, encoding="utf-8")
        world.service.signal(signal.SIGHUP)

    return for_all(once)


# -- beside the calls: peers that do not behave ----------------------------------------------------


def beside(*peers: Callable[[Process], Awaitable[None]], times: int = 5) -> Act:
    """Others come while the calls are up."""

    async def once(world: World) -> None:
        async with asyncio.TaskGroup() as group:
            for peer in peers * times:
                group.create_task(_peer(peer, world.service))

    return for_all(once)


async def _peer(peer: Callable[[Process], Awaitable[None]], service: Process) -> None:
    try:
        async with asyncio.timeout(30.0):
            await peer(service)
    except (OSError, TimeoutError):  # the service has had enough of it
        pass


async def resets(service: Process) -> None:
    """A caller like any other, whose connection is reset."""
    reader, writer = await asyncio.open_connection(HOST, service.port)
    try:
        writer.write(wire.identity(uuid4()))
        for _ in range(50):
            writer.write(_SILENCE)
            await reader.read(4096)
            await asyncio.sleep(0.02)
        plain = writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    finally:
        writer.transport.abort()


async def does_not_read(service: Process) -> None:
    """A caller whose PBX sends and does not read."""
    with socket.socket() as plain:
        plain.setblocking(False)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(plain, (HOST, service.port))
        await loop.sock_sendall(plain, wire.identity(uuid4()))
        for _ in range(500):
            await loop.sock_sendall(plain, _SILENCE)
            await asyncio.sleep(0.02)


async def says_nothing(service: Process) -> None:
    """A connection without a word."""
    reader, writer = await asyncio.open_connection(HOST, service.port)
    try:
        while await reader.read(4096):
            pass
    finally:
        writer.transport.abort()


async def says_nonsense(service: Process) -> None:
    """Bytes that are no AudioSocket."""
    reader, writer = await asyncio.open_connection(HOST, service.port)
    try:
        writer.write(b"GET / HTTP/1.1\r\n\r\n" + bytes(range(256)))
        while await reader.read(4096):
            pass
    finally:
        writer.transport.abort()


async def hurries(service: Process) -> None:
    """A caller whose PBX sends audio at four times its speed, until that is noticed."""
    reader, writer = await asyncio.open_connection(HOST, service.port)
    try:
        writer.write(wire.identity(uuid4()))
        for _ in range(600):  # 30 s ahead after 500
            writer.write(_SILENCE * 4)
            if not await reader.read(4096):
                return
            await asyncio.sleep(0.02)
        raise AssertionError("nobody minds")
    except ConnectionResetError:  # closed on what was still to be read
        pass
    finally:
        writer.transport.abort()


async def connects_all_the_time(service: Process) -> None:
    """A host that connects 400 times a second, which is twice what it may."""
    for _ in range(3 * 400):
        plain = socket.socket()
        with plain:
            plain.setblocking(False)
            plain.bind((_ANOTHER_HOST, 0))
            with suppress(OSError):
                await asyncio.get_running_loop().sock_connect(plain, (HOST, service.port))
        await asyncio.sleep(1 / 400)


async def one_byte_at_a_time(service: Process) -> None:
    """A caller whose bytes come one by one."""
    reader, writer = await asyncio.open_connection(HOST, service.port)
    plain = writer.get_extra_info("socket")
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        for byte in wire.identity(uuid4()) + _SILENCE * 3:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.005)
        await reader.read(4096)
    finally:
        writer.transport.abort()


async def scrapes_and_hangs(service: Process) -> None:
    """A Prometheus that asks and does not read, and one that does not finish its question."""
    writers = []
    for request in (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50, b"GET /metr"):
        _, writer = await asyncio.open_connection(HOST, service.ports["metrics"], limit=1024)
        writer.write(request)
        writers.append(writer)
    try:
        await asyncio.sleep(8.0)
    finally:
        for writer in writers:
            writer.transport.abort()


async def asks_and_hangs(service: Process) -> None:
    """A dialplan that begins to ask, and does not finish."""
    _, writer = await asyncio.open_connection(HOST, service.ports["fastagi"])
    try:
        writer.write(b"agi_network: yes\nagi_network_sc")
        await asyncio.sleep(8.0)
    finally:
        writer.transport.abort()
