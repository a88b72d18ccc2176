"""Options that commands have in common."""

from pathlib import Path
from typing import Annotated

import typer

from audiosocket_agent import config

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help=f"Settings file; else {config.DEFAULT_FILE} where it exists."),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
Limit = Annotated[int, typer.Option(min=1, help="So many at most.")]
