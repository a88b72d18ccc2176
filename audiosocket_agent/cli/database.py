"""The database beside the service, for a command that asks it once. A service need not run."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from audiosocket_agent import config
from audiosocket_agent.errors import AgentError

if TYPE_CHECKING:
    from audiosocket_agent.records.store import Store


class NothingThere(AgentError):
    """What was asked for is not in the database; the text says so in one line."""


@asynccontextmanager
async def records(file: Path | None) -> AsyncIterator["Store"]:
    """The database that the settings name. Raises ConfigError, StoreError."""
    from audiosocket_agent.records.store import Store

    settings = config.load_beside_the_service(file).settings
    async with Store(config.database_url(settings)) as store:
        if store.place.file is not None and not store.place.file.exists():
            if not config.shares_database(settings) and config.is_installed_for_others():
                raise NothingThere(
                    f"{config.INSTALLED_STATE}: permission denied; run this as root or as the "
                    "service's user"
                )
            raise NothingThere(
                f"there are no records yet, at {store.place.name}: the service makes them when it "
                "starts, or `audiosocket-agent db upgrade` does"
            )
        await store.open()
        yield store


def as_json(value: object) -> str:
    """For a program, as `calls export` writes times and sums."""
    return json.dumps(value, indent=2, default=_plain)


def here(at: datetime | None) -> datetime | None:
    """A time as people type it, in the host's zone."""
    return at.astimezone() if at else None


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
