"""A business's own data, for the tools that look it up: CSV files into the database."""

import asyncio
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audiosocket_agent.cli.database import as_json, records
from audiosocket_agent.cli.options import AsJson, ConfigFile
from audiosocket_agent.cli.text import columns

if TYPE_CHECKING:
    from audiosocket_agent.records.reference import Imported


def import_file(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="As `data kinds` lists them.")],
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV, UTF-8, its columns named first.")
    ],
    file: ConfigFile = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete the rows that are not in the file.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Take a file into the database: all of it, or, where it has a mistake, nothing."""
    from audiosocket_agent.records.reference import KINDS

    if kind not in KINDS:
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(KINDS)}", param_hint="KIND")
    try:
        lines = path.open(encoding="utf-8", newline="")
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="FILE") from None
    with lines:
        done = asyncio.run(_import(file, kind, lines, str(path), replace))
    typer.echo(as_json(asdict(done)) if json else _told(done))


async def _import(
    file: Path | None, kind: str, lines: Iterable[str], name: str, replace: bool
) -> "Imported":
    from audiosocket_agent.records.reference import import_csv

    async with records(file) as store:
        return await import_csv(store, kind, lines, file=name, replace=replace)


def sample(file: ConfigFile = None, json: AsJson = False) -> None:
    """Load data to try the shipped agents with; its days are counted from today."""
    done = asyncio.run(_sample(file))
    if json:
        typer.echo(as_json([asdict(each) for each in done]))
    else:
        typer.echo("\n".join(map(_told, done)))


async def _sample(file: Path | None) -> "list[Imported]":
    from audiosocket_agent.business.samples import sample
    from audiosocket_agent.records.reference import KINDS, import_csv

    async with records(file) as store:
        return [await import_csv(store, kind, sample(kind)) for kind in KINDS]


def kinds(json: AsJson = False) -> None:
    """List what can be imported, and the columns of its file; those in brackets may be missing."""
    from audiosocket_agent.records.reference import KINDS

    if json:
        shown = [
            {
                "name": kind.name,
                "about": kind.about,
                "key": list(kind.key),
                "columns": [
                    {"name": cell.name, "what": cell.what, "required": cell.required}
                    for cell in kind.cells
                ],
            }
            for kind in KINDS.values()
        ]
        typer.echo(as_json(shown))
        return
    for kind in KINDS.values():
        typer.echo(f"{kind.name}: {kind.about}")
        rows = [
            ("", cell.name if cell.required else f"[{cell.name}]", cell.what) for cell in kind.cells
        ]
        typer.echo(columns(rows))


def _told(done: "Imported") -> str:
    removed = f", {done.removed} removed" if done.removed else ""
    return f"{done.kind}: {done.rows} rows, {done.added} of them new{removed}"
