"""What callers were promised: tickets and callbacks."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiosocket_agent.cli import record_text
from audiosocket_agent.cli.database import NothingThere, as_json, records
from audiosocket_agent.cli.options import AsJson, ConfigFile, Limit

if TYPE_CHECKING:
    from audiosocket_agent.records.rows import Callback, Ticket

Number = Annotated[str, typer.Argument(metavar="NUMBER", help="As the caller was told it.")]


# ---- tickets ---------------------------------------------------------------------------------------


def tickets_list(
    file: ConfigFile = None,
    status: Annotated[str | None, typer.Option(help="open or closed.")] = None,
    kind: Annotated[str | None, typer.Option(help="As complaint.")] = None,
    caller: Annotated[str | None, typer.Option(help="Of this number.")] = None,
    limit: Limit = 50,
    json: AsJson = False,
) -> None:
    """List tickets, the newest first."""
    from audiosocket_agent.records import listing

    async def ask() -> "list[Ticket]":
        async with records(file) as store:
            return await listing.tickets(
                store, status=status, kind=kind, caller=caller, limit=limit
            )

    found = asyncio.run(ask())
    typer.echo(as_json([asdict(each) for each in found]) if json else record_text.tickets(found))


def tickets_show(number: Number, file: ConfigFile = None, json: AsJson = False) -> None:
    """Show a ticket."""
    found = asyncio.run(_ticket(file, number))
    typer.echo(as_json(asdict(found)) if json else record_text.ticket(found))


def tickets_close(number: Number, file: ConfigFile = None, json: AsJson = False) -> None:
    """Close a ticket: what it is about is done."""
    now = datetime.now(UTC)
    found = asyncio.run(_ticket(file, number, close_at=now))
    if json:
        typer.echo(as_json(asdict(found)))
    elif found.closed_at == now:
        typer.echo(f"closed {record_text.grouped(found.number)}")
    else:
        was = record_text.when(found.closed_at)
        typer.echo(f"{record_text.grouped(found.number)} is closed since {was}")


async def _ticket(file: Path | None, heard: str, close_at: datetime | None = None) -> "Ticket":
    from audiosocket_agent.records import listing
    from audiosocket_agent.records.ids import read_ticket_number

    number = read_ticket_number(heard)
    if number is None:
        raise NothingThere(
            f"{heard!r} is no ticket's number: it has eight digits, one may be wrong"
        )
    async with records(file) as store:
        if close_at is None:
            found = await listing.ticket(store, number)
        else:
            found = await listing.close_ticket(store, number, close_at)
    if found is None:
        raise NothingThere(f"there is no ticket {record_text.grouped(number)}")
    return found


# ---- callbacks -------------------------------------------------------------------------------------


def callbacks_list(
    file: ConfigFile = None,
    everything: Annotated[bool, typer.Option("--all", help="Those that are done, too.")] = False,
    limit: Limit = 50,
    json: AsJson = False,
) -> None:
    """List callbacks that are open, the one that is due first being the first."""
    from audiosocket_agent.records import callbacks
    from audiosocket_agent.records.rows import OPEN

    async def ask() -> "list[Callback]":
        async with records(file) as store:
            return await callbacks.due(store, status=None if everything else OPEN, limit=limit)

    found = asyncio.run(ask())
    typer.echo(as_json([asdict(each) for each in found]) if json else record_text.callbacks(found))


def callbacks_done(
    callback: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="Its id, or how it begins, as far as it is the only one."
        ),
    ],
    file: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Say that somebody has called."""
    from audiosocket_agent.records import callbacks, prefix, schema

    async def change() -> tuple[str, bool]:
        async with records(file) as store:
            found = await prefix.find(store, schema.callbacks, callback)
            if found is None:
                raise NothingThere(f"there is no callback {callback!r}")
            return found, await callbacks.done(store, found)

    callback_id, changed = asyncio.run(change())
    if json:
        typer.echo(as_json({"id": callback_id, "changed": changed}))
    else:
        typer.echo(f"done {callback_id}" if changed else f"{callback_id} was done before")
