"""The running service and its calls, by its control socket; calls that are over, by the records."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from audiosocket_agent import config
from audiosocket_agent.cli import records, text
from audiosocket_agent.cli.options import AsJson, ConfigFile, Limit
from audiosocket_agent.control.client import ControlError, ask
from audiosocket_agent.settings import Settings

CallId = Annotated[
    str, typer.Argument(metavar="CALL", help="Its UUID, or how it begins: 4 characters or more.")
]


def status(
    file: ConfigFile = None,
    as_json: AsJson = False,
    every: Annotated[
        bool, typer.Option("--all", help="All services of this host (audiosocket-agent@N).")
    ] = False,
) -> None:
    """Show whether the service runs and takes calls; with --all it fails unless every one answers."""
    if every:
        _status_of_all(file, as_json)
        return
    answer = _ask(_socket(file), do="status")
    typer.echo(_json(answer) if as_json else text.status(answer))


def _status_of_all(file: Path | None, as_json: bool) -> None:
    settings = config.load_beside_the_service(file).settings
    sockets = config.control_sockets(settings)
    if not sockets:
        raise ControlError(f"no service is running here: {config.control_socket(settings)}")
    answers = asyncio.run(_status_of_each(sockets))
    typer.echo(_json(answers) if as_json else text.status_of_all(answers))
    raise typer.Exit(any("error" in answer for answer in answers.values()))


async def _status_of_each(sockets: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """By instance; of one that does not answer: its error."""

    async def one(path: Path) -> dict[str, Any]:
        try:
            return await ask(path, {"do": "status"})
        except ControlError as error:
            return {"error": str(error)}

    answers = await asyncio.gather(*map(one, sockets.values()))
    return dict(zip(sockets, answers, strict=True))


def list_calls(
    file: ConfigFile = None,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
    past: Annotated[
        bool, typer.Option("--past", help="Of the records instead; see below.")
    ] = False,
    since: Annotated[datetime | None, typer.Option(help="Begun then or later.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Begun before.")] = None,
    agent: Annotated[str | None, typer.Option(help="Of this agent.")] = None,
    outcome: Annotated[
        str | None, typer.Option(help="Ended so, as caller_hangup; up: not at all.")
    ] = None,
    caller: Annotated[str | None, typer.Option(help="Of this number.")] = None,
    limit: Limit = 50,
) -> None:
    """List the calls that are up, the oldest first; by --past those in the records, the newest first,
    as far as they are meant by the options after it."""
    if past and watch:
        raise typer.BadParameter("what is past does not change", param_hint="--watch")
    if past:
        which = records.which(since, until, agent, outcome, caller)
        records.list_past(file, which, limit, as_json)
        return
    given = {"since": since, "until": until, "agent": agent, "outcome": outcome, "caller": caller}
    for name, value in given.items():
        if value is not None:
            raise typer.BadParameter("is for calls of the records: --past", param_hint=f"--{name}")
    path = _socket(file)
    if watch:
        _watch(path, interval, _json_line if as_json else text.calls)
        return
    answer = _ask(path, do="list")
    typer.echo(_json(answer["calls"]) if as_json else text.calls(answer))


def show(call: CallId, file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show all that is known of a call: as it is while it is up, else what remains of it."""
    try:
        answer = _ask(_socket(file), do="show", id=call)["call"]
    except ControlError as error:
        records.show_past(file, call, as_json, error)
        return
    typer.echo(_json(answer) if as_json else text.call(answer))


def hangup(call: CallId, file: ConfigFile = None, as_json: AsJson = False) -> None:
    """End a call politely: the agent may finish its sentence."""
    answer = _ask(_socket(file), do="hangup", id=call)
    typer.echo(_json(answer) if as_json else f"ending {answer['id']}")


def transfer(
    call: CallId,
    target: Annotated[str, typer.Argument(help="Who takes over: a target of the call's agent.")],
    file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Pass a caller on, as soon as the agent has finished its sentence."""
    answer = _ask(_socket(file), do="transfer", id=call, target=target)
    typer.echo(_json(answer) if as_json else f"passing {answer['id']} on to {answer['target']}")


def _socket(file: Path | None) -> Path:
    return socket_of(config.load_beside_the_service(file).settings)


def socket_of(settings: Settings) -> Path:
    """Where the service is asked that is meant. Raises ControlError where none is, among several."""
    own, there = config.control_socket(settings), config.control_sockets(settings)
    if there and own not in there.values():
        raise ControlError(
            f"no service is running here: there is no {own}, but of instances {', '.join(there)}; "
            f"INSTANCE={min(there, key=int)} audiosocket-agent ... asks one, status --all every one"
        )
    return own


def _ask(path: Path, **request: Any) -> dict[str, Any]:
    return asyncio.run(ask(path, request))


def _json(value: object) -> str:
    return json.dumps(value, indent=2)


def _json_line(answer: dict[str, Any]) -> str:
    return json.dumps(answer["calls"])


def _watch(path: Path, interval_s: float, shown: Callable[[dict[str, Any]], str]) -> None:
    """Look again and again: in place on a terminal, one look after the other elsewhere."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    answer = _ask(path, do="list")
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                if console.is_terminal:
                    look = Text(shown(answer), no_wrap=True, overflow="ellipsis")
                    live.update(look, refresh=True)
                else:
                    typer.echo(shown(answer))
                time.sleep(interval_s)
                answer = _ask(path, do="list")
    except ControlError as error:
        raise ControlError(f"the service has gone: {error}") from None
    except KeyboardInterrupt:
        pass
