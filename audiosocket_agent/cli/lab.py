"""Both ends without the real ones: a caller without Asterisk, a model without Google."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from audiosocket_agent import config
from audiosocket_agent.errors import StartError
from audiosocket_agent.wire import KIND_OF_RATE

if TYPE_CHECKING:
    from audiosocket_agent.lab.simulator import Exchange

CERTIFICATES: Final = config.state_directory() / "simulator"


def call(
    to: Annotated[str, typer.Option(help="HOST:PORT of the service.")] = "127.0.0.1:9092",
    wav: Annotated[Path | None, typer.Option(help="What the caller says.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write what was heard.")] = None,
    rate: Annotated[int, typer.Option(help="Rate of the caller's audio, Hz.")] = 8000,
    calls: Annotated[int, typer.Option(min=1, help="Calls at once.")] = 1,
    seconds: Annotated[float, typer.Option(min=1, help="Longest call.")] = 60.0,
    dtmf: Annotated[str, typer.Option(help="Digits to press at the end.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Call the service as Asterisk would; exit 0 if both sides were heard and it ended cleanly."""
    from audiosocket_agent.lab.load import CallPlan, place_calls
    from audiosocket_agent.lab.sound import SHIPPED_CALLER
    from audiosocket_agent.lab.story import nobody
    from audiosocket_agent.lab.timeline import Timeline

    host, port = _address(to)
    if rate not in KIND_OF_RATE:
        raise typer.BadParameter(f"{rate} is none of {', '.join(map(str, KIND_OF_RATE))}")
    plan = CallPlan(
        host=host,
        port=port,
        wav=wav or SHIPPED_CALLER,
        heard=out,
        rate_hz=rate,
        calls=calls,
        seconds=seconds,
        digits=dtmf,
    )
    timeline = Timeline()
    # not on uvloop: its clock has steps of a millisecond, too coarse for a ruler
    reports = asyncio.run(place_calls(plan, nobody if as_json else timeline.show))
    if as_json:
        shown = [report.to_json() for report in reports]
        typer.echo(json.dumps(shown[0] if calls == 1 else shown, indent=2))
    else:
        timeline.close(reports)
    raise typer.Exit(0 if all(report.ok for report in reports) else 1)


def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 9443,
    certificates: Annotated[
        Path, typer.Option(help="Where to keep the simulator's own CA and certificate.")
    ] = CERTIFICATES,
    think: Annotated[float, typer.Option(help="Seconds from a turn to its answer.")] = 0.3,
    silence_ms: Annotated[int, typer.Option(help="Silence that ends a caller's turn.")] = 500,
    speed: Annotated[float, typer.Option(help="Times real time; 0 sends all at once.")] = 4.0,
    use: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOOL[={…}]",
            help="A tool to use, with arguments as JSON, in answer to the caller's first turn, and to "
            "the next; repeatable.",
        ),
    ] = None,
    fault: Annotated[list[str] | None, typer.Option(help="What goes wrong; repeatable.")] = None,
    faults: Annotated[bool, typer.Option("--faults", help="List the faults.")] = False,
) -> None:
    """Pretend to be the Gemini Live API, on TLS, for an unmodified SDK."""
    import uvloop

    from audiosocket_agent.lab import simulator

    if faults:
        for name, sentence in simulator.FAULTS.items():
            typer.echo(f"{name:22}{sentence}")
        return
    try:
        behaviour = simulator.Behaviour(
            think_seconds=think,
            silence_ms=silence_ms,
            speed=speed,
            faults=frozenset(fault or ()),
            script=tuple(used(text) for text in use or ()),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None

    def ready(service: simulator.Simulator) -> None:
        typer.echo(f"GOOGLE_GEMINI_BASE_URL={service.base_url}")
        typer.echo(f"SSL_CERT_FILE={service.ca_file}")
        typer.echo("GEMINI_API_KEY=anything")

    try:
        uvloop.run(simulator.serve(behaviour, host, port, certificates, ready))
    except OSError as error:
        where = error.filename or f"{host}:{port}"
        raise StartError(f"{where} cannot be used ({error.strerror or error})") from None


def used(text: str) -> "Exchange":
    """A turn in which the model uses a tool, and says what came of it. Raises BadParameter."""
    from audiosocket_agent.lab.simulator import Behaviour, Exchange, Line, Use

    name, is_given, given = text.partition("=")
    try:
        arguments = json.loads(given) if is_given else {}
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise typer.BadParameter(f"--use {text!r} is not TOOL={{JSON}}")
    return Exchange(steps=(Use(name, arguments), Line(Behaviour().reply, f"{{{name}.output}}")))


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not (host and port.isdigit() and int(port) <= 65535):
        raise typer.BadParameter(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)
