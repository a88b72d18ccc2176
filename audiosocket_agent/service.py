"""`audiosocket-agent serve`: settings in, a running service out, and the story of its end.

start     model, ports 9092, 4573, 9100, the control socket, then READY to systemd
SIGHUP    the agents' files are read again, for calls to come
SIGTERM   no new calls; running ones get DRAIN_TIMEOUT
again     running calls end politely now
takeover  another one has asked for our ports: as with SIGTERM
exit 0    when the last call is over
"""

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from socket import socket as Socket
from typing import Final
from uuid import UUID

from audiosocket_agent import config, log
from audiosocket_agent.addresses import split
from audiosocket_agent.archive import Archive, archive
from audiosocket_agent.business import Office, SmsGateway
from audiosocket_agent.clock import monotonic
from audiosocket_agent.control.server import ControlServer
from audiosocket_agent.desk import Desk
from audiosocket_agent.drive import Driver
from audiosocket_agent.errors import ConfigError, StartError
from audiosocket_agent.handover import DECIDE_SECONDS, Handover, Predecessor, handover_path
from audiosocket_agent.heartbeat import notify_systemd, watch_loop
from audiosocket_agent.ledger import Book
from audiosocket_agent.memory import Sweep, begin_sweeping, return_big_buffers
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.model.base import VoiceModel
from audiosocket_agent.model.breaker import Breaker
from audiosocket_agent.model.echo import EchoModel
from audiosocket_agent.model.lasting import LastingModel, Rung
from audiosocket_agent.overload import Overload
from audiosocket_agent.pbx.agi import MAX_CONNECTIONS, FastAgiServer
from audiosocket_agent.pbx.gate import Gate
from audiosocket_agent.phrases import Phrasebook, spending
from audiosocket_agent.records.rows import Lost
from audiosocket_agent.roster import Means, agents, profiles
from audiosocket_agent.server import POLITE_SECONDS, Server
from audiosocket_agent.settings import Settings
from audiosocket_agent.tools.http_client import HttpClient
from audiosocket_agent.tools.mcp import McpTools

_STOP_SECONDS: Final = 28.0
"""Beyond the drain and the polite end: closing, a busy machine, the last records to a database that does
not answer."""

SWEEP_SECONDS: Final = 5.0
NEXT_SECONDS: Final = 1.0
"""The dialplan's question takes that long at most, on a busy machine."""

_log = log.get(__name__)


async def serve(settings: Settings, *, take_over: bool = False) -> None:
    """Take calls until SIGTERM or SIGINT; with `take_over`, on the ports of the service that is running
    now, which then drains. Raises StartError."""
    return_big_buffers()
    listener = log.start(settings.log.level, settings.log.file)
    try:
        await _serve(settings, take_over)
    finally:
        listener.stop()


async def _serve(settings: Settings, take_over: bool) -> None:
    profiles(settings)  # before anything is opened: every mistake in their files
    if settings.instance and config.database_url(settings).startswith("sqlite"):
        _log.warning("no other instance can go on with its calls", reason="no PostgreSQL in common")
    metrics = Metrics()
    before = None
    if take_over:
        before = await Predecessor.find(handover_path(config.control_socket(settings)))
    async with archive(settings, metrics) as records, HttpClient() as client, McpTools() as servers:
        phrases = phrasebook(settings, records.book, metrics)
        tools = means(settings, records, client, servers, phrases)
        await _take_calls(settings, metrics, records.book, tools, before)
    _log.info("stopped")


async def _take_calls(
    settings: Settings, metrics: Metrics, book: Book, tools: Means, before: Predecessor | None
) -> None:
    overload = Overload(settings.max_loop_lag, settings.max_memory * 2**20)
    server = _server(settings, metrics, book, tools, overload)
    stop, hurry = _signals()
    _on_hangup(partial(_reload, settings, server, tools))
    began_at = datetime.now(UTC)
    try:
        gc.collect()  # what the start has left behind, before anybody calls: 0.1 s
        async with _open(settings, server, before, stop) as ports:
            begin_sweeping()
            notify_systemd("READY=1")
            if settings.model == "echo":  # first: the log's thread writes to the same stream
                _say_that_it_is_an_echo(ports["audiosocket"])
            control = str(config.control_socket(settings))
            _log.info("ready", **ports, control=control, model=settings.model)
            async with asyncio.TaskGroup() as tasks:
                beat = partial(notify_systemd, "WATCHDOG=1")
                watch = tasks.create_task(watch_loop(metrics, overload, beat))
                sweep = tasks.create_task(_sweep(server))
                bury = tasks.create_task(_bury(book, before, began_at))
                spoken = tasks.create_task(tools.phrases.run(server.not_ready))
                await stop.wait()
                spoken.cancel()
                await _drain(server, settings, hurry, before)
                watch.cancel()
                sweep.cancel()
                bury.cancel()
    finally:
        await server.stop()
        if before is not None:
            before.close()


async def _sweep(server: Server) -> None:
    sweep = Sweep(monotonic())
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        if sweep.is_due(monotonic(), calls=server.calls, ended=server.calls_ended):
            gc.collect()


async def _bury(book: Book, before: Predecessor | None, began_at: datetime) -> None:
    """Calls of the process before us are lost, once it is gone and its ports are ours: those that it has
    not ended, and that nobody has taken up."""
    if before is not None:
        await before.gone.wait()
        if book.lives is not None:
            book.lives.writer.look_again()  # what it wrote last comes before
    book.put(Lost(of=book.instance, before=began_at))


def _server(
    settings: Settings, metrics: Metrics, book: Book, tools: Means, overload: Overload
) -> Server:
    return Server(
        voice_model(settings),
        agents(settings, tools),
        metrics,
        book=book,
        default=settings.default_agent,
        max_calls=settings.max_calls,
        downlink_rate_hz=settings.audiosocket.downlink_rate,
        registered_only=settings.audiosocket.uuid_mode == "registered",
        allow=settings.allowed[0],
        connects_per_second=settings.audiosocket.connects,
        overload=overload,
    )


@asynccontextmanager
async def _open(
    settings: Settings, server: Server, before: Predecessor | None, stop: asyncio.Event
) -> AsyncIterator[Mapping[str, int]]:
    """All that the world can connect to; gives the ports. Raises StartError."""
    inherited = await _take_over(settings, server, before)
    host = settings.audiosocket.host
    port = await server.listen(host, settings.audiosocket.port, inherited["audiosocket"])
    agi = _fastagi(settings, server, port, before)
    ports = {
        "audiosocket": port,
        "fastagi": await agi.start(
            settings.fastagi.host, settings.fastagi.port, inherited["fastagi"]
        ),
        "metrics": await server.health.start(
            settings.metrics.host, settings.metrics.port, inherited["metrics"]
        ),
    }
    facts = {"model": settings.model, "ports": ports}
    control = ControlServer(server, facts, host=host, port=port)
    socket = config.control_socket(settings)
    await control.start(socket)
    handover = _offer(server, agi, control, before, stop)
    handover.start(handover_path(socket))
    if settings.drain_move and config.shares_database(settings):  # else nobody could take them
        server.let_go = partial(_let_go, agi, handover)
    yield ports
    await handover.stop()
    await agi.stop()
    await control.stop()


def _fastagi(
    settings: Settings, server: Server, port: int, before: Predecessor | None
) -> FastAgiServer:
    """What the dialplan asks; `port` is AudioSocket's."""
    desk = Desk(server, *_advertised(settings, port))
    driver = Driver(server, desk, settings.transfer.ring)
    agi = FastAgiServer(
        {"open": desk.open, "next": desk.next, "run": driver.run},
        max_connections=MAX_CONNECTIONS + settings.max_calls,
        gate=Gate(settings.allowed[1], per_second=settings.audiosocket.connects),
        turned_away=server.turned_away,
    )
    agi.elsewhere = before.take_request if before else None
    return agi


def _advertised(settings: Settings, port: int) -> tuple[str, int]:
    """Where the dialplan is to connect to; an empty host is the address it has reached us at."""
    host, advertised = split(settings.audiosocket.advertise)
    return host or settings.audiosocket.host, advertised or port


def _let_go(agi: FastAgiServer, handover: Handover) -> bool:
    """Hear no dialplan any more, so that a balancer has others answer; not where another process is
    about to have our ports."""
    if handover.taken:
        return False
    agi.stop_listening()
    return True


async def _drain(
    server: Server, settings: Settings, hurry: asyncio.Event, before: Predecessor | None
) -> None:
    """No new calls; what is up may end by itself, for as long as the settings let it."""
    timeout_s, notice_s = settings.drain_timeout, settings.drain_notice
    notify_systemd(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={_stop_us(notice_s + timeout_s)}")
    busy = server.calls > 0
    await server.drain(timeout_s, hurry, notice_s=notice_s)
    if busy:
        await asyncio.sleep(NEXT_SECONDS)  # the last caller's dialplan asks what is next
    if before is not None:
        await _first_of(before.gone, hurry)  # its last calls come through our ports


async def _take_over(
    settings: Settings, server: Server, before: Predecessor | None
) -> Mapping[str, Sequence[Socket]]:
    """The sockets of the service that ran before, which from now on are ours."""
    ports = {
        "audiosocket": settings.audiosocket.port,
        "fastagi": settings.fastagi.port,
        "metrics": settings.metrics.port,
    }
    if before is None:
        return dict.fromkeys(ports, ())
    await before.take_over()
    server.elsewhere = before
    return {name: before.sockets(name, port) for name, port in ports.items()}


def _offer(
    server: Server,
    agi: FastAgiServer,
    control: ControlServer,
    before: Predecessor | None,
    stop: asyncio.Event,
) -> Handover:
    """Our ports, to a service that takes them over; we then drain."""

    def listening() -> dict[str, list[int]]:
        return {
            "audiosocket": server.listening(),
            "fastagi": agi.listening(),
            "metrics": server.health.listening(),
        }

    async def leave() -> None:
        server.let_go = None  # dialplans ask the other one, which would send their questions back
        notify_systemd("STOPPING=1")  # before the other one is ready: our unit can be started again
        server.stop_listening()
        agi.stop_listening()
        await server.health.stop()
        await control.stop()
        asyncio.get_running_loop().call_later(DECIDE_SECONDS, stop.set)

    def calls() -> list[UUID]:
        return server.call_ids() + list(before.calls if before else ())

    return Handover(server, agi, listening, calls, leave)


async def _first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def _signals() -> tuple[asyncio.Event, asyncio.Event]:
    """The first SIGTERM or SIGINT sets the one event, the second the other."""
    stop, hurry = asyncio.Event(), asyncio.Event()

    def signalled() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled)
    return stop, hurry


def _on_hangup(reload: Callable[[], None]) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)


def _reload(settings: Settings, server: Server, tools: Means) -> None:
    """Read the agents' files again, for calls to come; those that are up keep what they began with, but
    for MCP servers that no file has any more. A mistake in any file keeps all as they were."""
    try:
        server.plans = agents(settings, tools)
    except ConfigError as error:
        for mistake in str(error).splitlines():
            _log.error("agents not reloaded", reason=mistake)
    else:
        _log.info("agents reloaded", agents=sorted(server.plans))


def means(
    settings: Settings,
    records: Archive,
    client: HttpClient,
    servers: McpTools,
    phrases: Phrasebook,
) -> Means:
    """What the agents work with. Raises ConfigError for a gateway that cannot be used."""
    sms, gateway = settings.sms, None
    if sms.url:
        password = sms.password.get_secret_value() if sms.password else ""
        gateway = SmsGateway(
            client,
            sms.url,
            sms.sender,
            sms.username,
            password,
            country=sms.country,
            others=sms.other_countries.split(","),
        )
    office = Office(records.store, records.writer.commit, partial(datetime.now, UTC), gateway)
    return Means(office, client, servers, phrases)


def phrasebook(settings: Settings, book: Book, metrics: Metrics) -> Phrasebook:
    """What the agents say while their model is not heard; only Gemini has a voice for it. Raises
    StartError."""
    if settings.model != "gemini" or not settings.phrases:
        return Phrasebook()
    transcribed = settings.gemini.model_copy(update={"transcription": True})  # of no caller's words
    return Phrasebook(
        bare_model(settings.model_copy(update={"gemini": transcribed})),
        settings.gemini.voice,
        config.phrases_directory(settings),
        spending(book, metrics),
    )


def voice_model(settings: Settings) -> VoiceModel:
    """The model that the settings name, for calls: its conversations outlive their connections."""
    first = bare_model(settings)
    if settings.model == "echo":
        return first
    breaker = Breaker()  # of the project's key, whichever of its models is asked
    rungs = [Rung(first, breaker)]
    if settings.gemini.second_model:
        rungs.append(Rung(bare_model(settings, settings.gemini.second_model), breaker))
    return LastingModel(rungs)


def bare_model(settings: Settings, name: str = "") -> VoiceModel:
    """The model, without anything that would hide its failures. Raises StartError."""
    if settings.model == "echo":
        return EchoModel()
    from audiosocket_agent.model.gemini import GeminiModel  # 0.4 s, 50 MB: not for an echo

    gemini = settings.gemini.model_copy(update={"live_model": name} if name else {})
    try:
        return GeminiModel(gemini, interruptions=settings.enable_interruption_handling)
    except (OSError, ValueError) as error:
        raise StartError(
            f"the Gemini client cannot be made: {error}; SSL_CERT_FILE, if it is set, must name a "
            "file of certificates"
        ) from None


def _stop_us(drain_s: float) -> int:
    """What stopping may take, so that a DRAIN_TIMEOUT above the unit's own limit is kept too."""
    return int((drain_s + POLITE_SECONDS + _STOP_SECONDS) * 1e6)


def _say_that_it_is_an_echo(port: int) -> None:
    program = Path(sys.executable).with_name("audiosocket-agent")
    print(
        "no GEMINI_API_KEY is set: callers talk to the embedded echo (set it for Gemini). Try it "
        f"from a second terminal: {program} call --to 127.0.0.1:{port}",
        file=sys.stderr,
    )
