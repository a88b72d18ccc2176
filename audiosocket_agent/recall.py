"""What earlier calls have left: of a caller, and of the day's budget."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from audiosocket_agent import log
from audiosocket_agent.ledger import Recall
from audiosocket_agent.localtime import HERE
from audiosocket_agent.records import listing
from audiosocket_agent.records.costs import Budget
from audiosocket_agent.records.errors import StoreError
from audiosocket_agent.records.listing import Which
from audiosocket_agent.records.rows import OPEN, Call, Ticket
from audiosocket_agent.records.store import Store

RECALL_SECONDS: Final = 0.3
"""Somebody waits: an agent that remembers late is worse than one that asks."""
CALLS: Final = 3
TICKETS: Final = 3
SUBJECT_CHARS: Final = 120
REASON_CHARS: Final = 240
BUDGET_SECONDS: Final = 30.0

_log = log.get(__name__)


def recall(store: Store) -> Recall:
    """Looks callers up. What it finds is data for a model: the last call that has ended, how and why,
    and the open tickets of that number."""
    return partial(_recall, store)


async def _recall(store: Store, caller: str, days: int) -> Mapping[str, Any]:
    since = datetime.now(UTC) - timedelta(days=days)
    try:
        calls, tickets = await store.within(RECALL_SECONDS, _left(store, caller, since))
    except StoreError as error:
        _log.warning("caller not looked up", reason=str(error))
        return {}
    ended = [call for call in calls if call.ended_at is not None]
    if not ended:
        return {}
    last = ended[0]
    return {
        "last_call": last.started_at.date().isoformat(),
        "it_ended_with": last.transferred_to or last.outcome,
        **({"reason": last.reason[:REASON_CHARS]} if last.reason else {}),
        "tickets": [
            {
                "number": ticket.number,
                "kind": ticket.kind,
                "subject": ticket.subject[:SUBJECT_CHARS],
                "status": ticket.status,
                "date": ticket.created_at.date().isoformat(),
            }
            for ticket in tickets
            if ticket.created_at >= since
        ],
    }


async def _left(store: Store, caller: str, since: datetime) -> tuple[list[Call], list[Ticket]]:
    calls = await listing.calls(store, Which(since=since, caller=caller), limit=CALLS)
    tickets = await listing.tickets(store, status=OPEN, caller=caller, limit=TICKETS)
    return calls, tickets


async def keep_budget(store: Store, budget: Budget) -> None:
    """What was spent today, also by those who share the database and by a process before this one."""
    while True:
        now = datetime.now(HERE)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        try:
            spent = await listing.spent(store, midnight)
            budget.known(max(spent, budget.today(now)), now)
        except StoreError as error:
            _log.warning("what was spent today is not known", reason=str(error))
        await asyncio.sleep(BUDGET_SECONDS)
