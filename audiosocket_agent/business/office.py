"""What the tools of a business work with, and how they read and write while a caller waits."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Final, TypeVar

from audiosocket_agent import log
from audiosocket_agent.business.account import AccountCheck
from audiosocket_agent.business.sms import SmsGateway
from audiosocket_agent.records.errors import StoreError
from audiosocket_agent.records.rows import Promise
from audiosocket_agent.records.store import Store
from audiosocket_agent.tools.registry import ToolFailed

READ_SECONDS: Final = 2.0
"""What a caller is kept waiting for something that is looked up."""

CANNOT_LOOK: Final = (
    "The records cannot be reached now. Say so, apologise, and ask the caller to try again later; "
    "do not guess what stands in them."
)
CANNOT_WRITE: Final = (
    "I cannot write that down now; nothing was noted and there is no number. Say so, apologise, and "
    "offer to try once more or to transfer."
)

_Found = TypeVar("_Found")

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Office:
    """What the tools of one process share."""

    store: Store
    commit: Callable[[Promise], Awaitable[Promise]]
    """On the disk before the caller is told (Writer.commit)."""
    now: Callable[[], datetime]
    """With a zone."""
    sms: SmsGateway | None = None
    """None: there is no send_sms."""

    async def read(self, work: Coroutine[Any, Any, _Found]) -> _Found:
        """What `records.lookup` finds, in time. Raises ToolFailed."""
        try:
            return await self.store.within(READ_SECONDS, work)
        except StoreError as error:
            _log.warning("records not read", reason=str(error))
            raise ToolFailed(CANNOT_LOOK) from None

    async def promise(self, row: Promise) -> Promise:
        """What is on the disk now. Raises ToolFailed: then nothing may be told."""
        try:
            return await self.commit(row)
        except StoreError as error:
            _log.warning("promise not written", reason=str(error))
            raise ToolFailed(CANNOT_WRITE) from None


@dataclass(frozen=True, slots=True)
class Rules:
    """What an agent's file says of its tools."""

    timezone: tzinfo
    """In which the caller says times, and is told them."""
    account: AccountCheck | None = None
    """What proves an account; None: none can be."""
