"""Every test of a business's tools, on SQLite and on a real PostgreSQL."""

import pytest

from audiosocket_agent.business import sample
from audiosocket_agent.records import reference
from audiosocket_agent.records.store import Store
from tests.business.talk import LOCAL_NOON, Desk
from tests.records.conftest import cluster, database, store

__all__ = ["cluster", "database", "store"]


@pytest.fixture
async def desk(store: Store) -> Desk:
    """A business that has the sample's data, at a noon."""
    for kind in reference.KINDS:
        await reference.import_csv(store, kind, sample(kind), now=LOCAL_NOON)
    return Desk(store)
