"""What remains of calls: the database, whether or not a service runs."""

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from audiosocket_agent import config
from audiosocket_agent.cli.options import ConfigFile

if TYPE_CHECKING:
    from audiosocket_agent.records.listing import Which

Moment = Annotated[datetime | None, typer.Option(help="Calls that began then or later.")]


def export(
    file: ConfigFile = None,
    csv: Annotated[bool, typer.Option("--csv", help="One line per call, for a table.")] = False,
    since: Moment = None,
    agent: Annotated[str | None, typer.Option(help="Calls of this agent.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Calls that ended so.")] = None,
) -> None:
    """Print calls, the newest first: each with what was said as a line of JSON, or as CSV."""
    from audiosocket_agent.records.listing import Which

    url = config.database_url(config.load_beside_the_service(file).settings)
    when = since.astimezone() if since else None
    asyncio.run(_export(url, Which(since=when, agent=agent, outcome=outcome), csv))


async def _export(url: str, which: "Which", csv: bool) -> None:
    from audiosocket_agent.records import export
    from audiosocket_agent.records.store import Store

    async with Store(url) as store:
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
