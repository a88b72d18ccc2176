"""What goes wrong with the records."""

from audiosocket_agent.errors import AgentError


class StoreError(AgentError):
    """The database could not be used. The text names it without user and password, and holds nothing
    of any row.

    `retryable` says whether the same may succeed when it is tried again: a database that is down
    comes back, one of a newer version does not get older.
    """

    def __init__(self, text: str, *, retryable: bool = True) -> None:
        super().__init__(text)
        self.retryable = retryable


class RowError(StoreError):
    """A row that no database takes. The text names the field, not the value."""

    def __init__(self, text: str) -> None:
        super().__init__(text, retryable=False)


class JournalError(StoreError):
    """The journal's files cannot be used. The text says why."""
