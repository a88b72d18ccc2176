"""What remains of calls: the database, whether or not a service runs."""

import asyncio
import sys
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiosocket_agent import config
from audiosocket_agent.cli import record_text
from audiosocket_agent.cli.database import NothingThere, as_json, here, records
from audiosocket_agent.cli.options import AsJson, ConfigFile
from audiosocket_agent.cli.text import printable
from audiosocket_agent.control.client import ControlError, ask
from audiosocket_agent.settings import Settings

if TYPE_CHECKING:
    from audiosocket_agent.records.erase import Erased
    from audiosocket_agent.records.listing import CallRecord, Which
    from audiosocket_agent.records.rows import Call
    from audiosocket_agent.records.store import Store

Moment = Annotated[datetime | None, typer.Option(help="Calls that began then or later.")]


def export(
    file: ConfigFile = None,
    csv: Annotated[bool, typer.Option("--csv", help="One line per call, for a table.")] = False,
    since: Moment = None,
    agent: Annotated[str | None, typer.Option(help="Calls of this agent.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Calls that ended so.")] = None,
) -> None:
    """Print calls, the newest first: each with what was said as a line of JSON, or as CSV."""
    asyncio.run(_export(file, which(since, None, agent, outcome, None), csv))


async def _export(file: Path | None, which: "Which", csv: bool) -> None:
    from audiosocket_agent.records import export

    async with records(file) as store:
        lines = export.csv_lines if csv else export.json_lines
        async for line in lines(store, which):
            typer.echo(line, nl=False)


def upgrade(file: ConfigFile = None) -> None:
    """Bring the database to this version; the service does it by itself when it starts."""
    from audiosocket_agent.records import migrations
    from audiosocket_agent.records.place import Place

    url = config.database_url(config.load_beside_the_service(file).settings)
    before, after = migrations.upgrade(Place.of(url))
    typer.echo(f"{after}: nothing to do" if before == after else f"{before or 'empty'} -> {after}")


# ---- calls that are over -----------------------------------------------------------------------------


def which(
    since: datetime | None,
    until: datetime | None,
    agent: str | None,
    outcome: str | None,
    caller: str | None,
) -> "Which":
    """Which calls are meant; times without a zone are the host's."""
    from audiosocket_agent.records.listing import Which

    return Which(since=here(since), until=here(until), agent=agent, outcome=outcome, caller=caller)


def list_past(file: Path | None, which: "Which", limit: int, json: bool) -> None:
    """Print calls of the records, the newest first."""
    from audiosocket_agent.records import listing

    async def found() -> "list[Call]":
        async with records(file) as store:
            return await listing.calls(store, which, limit)

    calls = asyncio.run(found())
    typer.echo(as_json([asdict(call) for call in calls]) if json else record_text.calls(calls))


def show_past(file: Path | None, call: str, json: bool, why_not_up: ControlError) -> None:
    """Print one call of the records. Raises AgentError, which says too that it is not up."""
    from audiosocket_agent.records.errors import StoreError

    try:
        found = asyncio.run(_record(file, call))
    except (NothingThere, StoreError) as nothing:
        raise NothingThere(f"{why_not_up}; {nothing}") from None
    typer.echo(as_json(asdict(found)) if json else record_text.record(found))


async def _record(file: Path | None, call: str) -> "CallRecord":
    from audiosocket_agent.records import listing, prefix, schema

    async with records(file) as store:
        call_id = await prefix.find(store, schema.calls, call)
        found = await listing.call(store, call_id) if call_id else None
    if found is None:
        raise NothingThere(f"there is no call {call!r} in the records")
    return found


# ---- deletion ----------------------------------------------------------------------------------------


def forget(
    call: Annotated[
        str | None, typer.Argument(metavar="[CALL]", help="Its UUID, or how it begins.")
    ] = None,
    caller: Annotated[str | None, typer.Option(help="All calls of this number instead.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    file: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Delete all that is known of a call or a caller: turns, recordings, tickets, callbacks.

    A number is found however it is written: with its country, with a zero, or without. Exit 1 where a
    call is up, which goes on to be written, or a file cannot be deleted: forget it again then.
    """
    if bool(call) == bool(caller):
        raise typer.BadParameter("name a call, or a number by --caller", param_hint="CALL")
    erased = asyncio.run(_forget(file, call, caller, ask_first=sys.stdin.isatty() and not yes))
    typer.echo(as_json(asdict(erased)) if json else record_text.erased(erased))
    if erased.numbers not in ([], [caller]) and not json:
        typer.echo(printable(f"of {', '.join(erased.numbers)}"))
    for path, why in erased.stuck.items():
        typer.echo(f"not deleted: the recording {path}: {why}", err=True)
    for path in erased.missing:
        typer.echo(f"not here: the recording {path}", err=True)
    for call_id in erased.up:
        typer.echo(f"{call_id} is up: forget it again when it is over", err=True)
    raise typer.Exit(1 if erased.up or erased.stuck else 0)


async def _forget(
    file: Path | None, call: str | None, caller: str | None, *, ask_first: bool
) -> "Erased":
    from audiosocket_agent.records import erase
    from audiosocket_agent.records.sweep import sweep

    settings = config.load_beside_the_service(file).settings
    journal, *others = config.journal_directories(settings)
    async with records(file) as store, AsyncExitStack() as replayed:
        for each in (journal, *others):
            await erase.replay(store, each)
        call_id = await _call_id(store, call) if call else ""
        if ask_first:
            numbers = await erase.spellings(store, caller) if caller else []
            whose = f"call {call_id}" if call_id else f"all calls of {', '.join(numbers) or caller}"
            typer.confirm(
                f"Delete {whose}, with recordings, tickets and callbacks?", abort=True, err=True
            )
        up = [
            each["id"]
            for each in await _calls_up(settings)
            if call_id == each["id"] or (caller is not None and _same(caller, each["caller"]))
        ]
        for each in others:
            await replayed.enter_async_context(erase.replayed(store, each))
        if call_id:
            erased = await erase.forget_call(store, journal, call_id)
        else:
            erased = await erase.forget_caller(store, journal, caller or "")
    for recordings in config.recordings_directories(settings):
        swept, stuck = await asyncio.to_thread(sweep, recordings, set(erased.ids))
        erased.recordings += swept
        erased.stuck |= stuck
    erased.up[:] = dict.fromkeys([*erased.up, *up])
    deleted = erased.calls + erased.tickets + erased.callbacks + erased.recordings
    if not (deleted or erased.stuck or erased.up):
        raise NothingThere(f"nothing is known of {call_id or caller}")
    return erased


def _same(number: str, other: str) -> bool:
    from audiosocket_agent.records.lookup import same_phone

    return number == other or same_phone(number, other)


async def _call_id(store: "Store", call: str) -> str:
    """The UUID that is given, in full or by its beginning. Raises NothingThere."""
    from audiosocket_agent.records import prefix, schema

    try:
        return str(uuid.UUID(call))  # there may be a ticket of it where its own row was lost
    except ValueError:
        pass
    if found := await prefix.find(store, schema.calls, call):
        return found
    raise NothingThere(f"there is no call {call!r} in the records")


async def _calls_up(settings: Settings) -> Sequence[dict[str, str]]:
    """Calls of the services that run here: those that ring are in no record yet."""
    calls: list[dict[str, str]] = []
    sockets = config.control_sockets(settings).values()
    for socket in dict.fromkeys([config.control_socket(settings), *sockets]):
        with suppress(ControlError):  # it does not run
            calls += (await ask(socket, {"do": "list"}))["calls"]
    return calls
