"""What remains of calls: who called, what was said, what was done, what it cost.

    session ──put──▶ Writer ──batches──▶ Store ──▶ SQLite or PostgreSQL
                        └─ the database is down ─▶ Journal ──replay──▶ Store
    tool ──commit──▶ Writer ──one row──▶ Store          (a ticket: durable, or refused in time)

The media path only ever calls `Writer.put`, which appends to a queue and returns. What a caller is
told (a ticket's number) has been committed before they hear it.
"""
