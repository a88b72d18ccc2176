"""Which place a caller means."""

from collections.abc import Sequence
from typing import Final

from audiosocket_agent.business.office import Office
from audiosocket_agent.records import lookup
from audiosocket_agent.records.lookup import Alike, Row

OFFERED: Final = 4
"""As many as can be read to a caller to choose from."""
SURE: Final = 0.75
"""Alike enough to go on with, as it is told what was understood; a name with one letter wrong is."""
CLEARLY: Final = 0.1
"""So much nearer than the next."""
LIKELY: Final = 0.45
"""Alike enough to be asked about."""


def decide(found: Sequence[Alike]) -> tuple[Row | None, list[Alike]]:
    """The row that is meant; or None, and those that may be. `found` has the nearest first."""
    same = [each for each in found if each.likeness == 1]
    if len(same) == 1:
        return same[0].row, []
    if same:
        return None, same[:OFFERED]
    likely = [each for each in found if each.likeness >= LIKELY]
    first, next_one = (*(each.likeness for each in likely), 0.0, 0.0)[:2]
    if first >= SURE and first - next_one >= CLEARLY:
        return likely[0].row, []
    return None, likely[:OFFERED]


async def area(office: Office, heard: str) -> tuple[Row | None, list[str]]:
    """The area that is meant; or None, and the names of those that may be. Raises ToolFailed."""
    found = await office.read(lookup.alike(office.store, lookup.AREAS, heard, 2 * OFFERED))
    row, likely = decide(found)
    return row, [named(each.row) for each in likely]


def named(row: Row) -> str:
    """An area with its city: `Sector 62, Noida`."""
    return f"{row['name']}, {row['city']}"
