"""The tables. What a column means is said at its row, in `rows`; of a business's data, in `reference`.

No table refers to another by a foreign key. A turn may be written when its call is not: the call's
row was one too many for the queue, or is in the journal of a host that is down. A foreign key would
then refuse the turn, and with it the transaction and up to 200 rows of other calls. What belongs
together is deleted together by `erase`.

Ids are text on both databases: people see in `sqlite3` and `psql` what is in the log. Text has no
lengths: a name that is longer than expected is not worth a lost row.
"""

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

from audiosocket_agent.records.columns import Money, Usd, UtcTime

VERSION: Final = "0003"
"""The migration that makes what is described here. Versions sort as text."""
VERSION_TABLE: Final = "records_version"

metadata: Final = MetaData(
    naming_convention={  # a constraint without a name cannot be changed by a later migration
        "pk": "%(table_name)s_pk",
        "uq": "%(table_name)s_%(column_0_name)s_unique",
    }
)


def _text(name: str) -> Column[Any]:
    return Column(name, Text, nullable=False)


def _int(name: str) -> Column[Any]:
    return Column(name, BigInteger, nullable=False)


def _id() -> Column[Any]:
    return Column("id", Text, primary_key=True)


calls: Final = Table(
    "calls",
    metadata,
    _id(),
    _text("agent"),
    _text("instance"),
    _text("direction"),
    _text("caller"),
    _text("caller_name"),
    _text("extension"),
    Column("started_at", UtcTime, nullable=False),
    Column("answered_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("outcome", Text),
    _text("reason"),
    _text("transferred_to"),
    _text("language"),
    _text("model"),
    _int("turns"),
    _int("barge_ins"),
    Column("greeting_s", Float),
    Column("response_s", Float),
    Column("response_max_s", Float),
    _int("tokens_in"),
    _int("tokens_out"),
    Column("cost_usd", Usd, nullable=False),
    Index("calls_started", "started_at"),
    Index("calls_agent", "agent", "started_at"),
    Index("calls_caller", "caller", "started_at"),
    Index("calls_outcome", "outcome", "started_at"),
    Index("calls_instance", "instance", "outcome"),
)

turns: Final = Table(
    "turns",
    metadata,
    _id(),
    _text("call_id"),
    _int("n"),
    _text("speaker"),
    _text("text"),
    Column("start_s", Float, nullable=False),
    Column("heard_ms", BigInteger),
    Column("latency_ms", BigInteger),
    Column("interrupted", Boolean, nullable=False),
    Index("turns_call", "call_id", "n"),
)

tool_uses: Final = Table(
    "tool_uses",
    metadata,
    _id(),
    _text("call_id"),
    _int("turn"),
    _text("tool"),
    Column("arguments", JSON, nullable=False),
    _text("outcome"),
    Column("used_at", UtcTime, nullable=False),
    _int("took_ms"),
    _text("idempotency_key"),
    UniqueConstraint("idempotency_key"),
    Index("tool_uses_call", "call_id"),
)

usage: Final = Table(
    "usage",
    metadata,
    _id(),
    _text("call_id"),
    _int("turn"),
    _text("direction"),
    _text("modality"),
    _int("tokens"),
    Column("cost_usd", Usd, nullable=False),
    Column("used_at", UtcTime, nullable=False),
    Index("usage_call", "call_id"),
    Index("usage_used", "used_at"),
)

recordings: Final = Table(
    "recordings",
    metadata,
    _id(),
    _text("call_id"),
    _text("path"),
    Column("seconds", Float, nullable=False),
    _int("bytes"),
    _text("consent"),
    Index("recordings_call", "call_id"),
)

tickets: Final = Table(
    "tickets",
    metadata,
    _id(),
    _text("number"),
    _text("kind"),
    _text("call_id"),
    _text("caller"),
    _text("account"),
    _text("subject"),
    Column("details", JSON, nullable=False),
    _text("language"),
    _text("status"),
    Column("created_at", UtcTime, nullable=False),
    Column("closed_at", UtcTime),
    _text("idempotency_key"),
    UniqueConstraint("number"),
    UniqueConstraint("idempotency_key"),
    Index("tickets_status", "status", "created_at"),
    Index("tickets_caller", "caller"),
    Index("tickets_call", "call_id"),
)

callbacks: Final = Table(
    "callbacks",
    metadata,
    _id(),
    _text("call_id"),
    _text("number"),
    Column("due_at", UtcTime, nullable=False),
    _text("reason"),
    _text("status"),
    Column("created_at", UtcTime, nullable=False),
    _text("idempotency_key"),
    UniqueConstraint("idempotency_key"),
    Index("callbacks_status", "status", "due_at"),
    Index("callbacks_number", "number"),
    Index("callbacks_call", "call_id"),
)

# A call that is up, for whoever has to go on with it; there is no row of one that is over.
live: Final = Table(
    "live",
    metadata,
    Column("call_id", Text, primary_key=True),
    _text("instance"),
    _text("peer"),
    _text("caller"),
    _int("life"),
    Column("began_at", UtcTime, nullable=False),
    Column("written_at", UtcTime, nullable=False),
    _text("outcome"),
    _text("handle"),
    Column("handle_at", UtcTime),
    _text("said"),
    _text("notes"),
    Index("live_caller", "caller"),
    Index("live_written", "written_at"),
)

# -- a business's own data: no part of any call, and not forgotten with one -----------------------------

# What a caller may say for a row is in `keys`: its names, as `names.joined` has them.


def _key(name: str) -> Column[Any]:
    return Column(name, Text, primary_key=True)


def _tries() -> tuple[Column[Any], Column[Any]]:
    """Wrong answers of late, in whatever calls, and when the last one was."""
    return Column("failed", BigInteger, nullable=False), Column("failed_at", UtcTime)


orders: Final = Table(
    "orders",
    metadata,
    _key("number"),
    _text("phone"),
    _text("phone_end"),
    _text("items"),
    Column("amount", Money, nullable=False),
    _text("currency"),
    _text("status"),
    Column("ordered_at", UtcTime, nullable=False),
    Column("expected_at", UtcTime),
    _text("note"),
    *_tries(),
    Index("orders_phone", "phone_end"),
)

products: Final = Table(
    "products",
    metadata,
    _key("sku"),
    _text("name"),
    _text("also_called"),
    _text("keys"),
    Column("price", Money, nullable=False),
    _text("currency"),
    _int("stock"),
    _text("unit"),
    _text("note"),
)

accounts: Final = Table(
    "accounts",
    metadata,
    _key("number"),
    _text("name"),
    _text("phone"),
    _text("area"),
    _text("address"),
    _text("digits"),
    *_tries(),
)

bills: Final = Table(
    "bills",
    metadata,
    _text("account"),
    _text("period"),
    Column("amount", Money, nullable=False),
    _text("currency"),
    Column("due_on", Date, nullable=False),
    _text("status"),
    Column("units", Float),
    PrimaryKeyConstraint("account", "period"),
)

outages: Final = Table(
    "outages",
    metadata,
    _key("number"),
    _text("area"),
    _text("city"),
    _text("area_key"),
    _text("city_key"),
    _text("cause"),
    _text("status"),
    Column("started_at", UtcTime, nullable=False),
    Column("expected_at", UtcTime),
    Index("outages_area", "area_key"),
)

areas: Final = Table(
    "areas",
    metadata,
    _text("name"),
    _text("city"),
    _text("also_called"),
    _text("keys"),
    _text("pincode"),
    Column("supplied", Boolean, nullable=False),
    _text("office"),
    PrimaryKeyConstraint("name", "city"),
    Index("areas_pincode", "pincode"),
)

weather: Final = Table(
    "weather",
    metadata,
    _text("place"),
    Column("day", Date, nullable=False),
    _text("also_called"),
    _text("keys"),
    _text("text"),
    Column("min_c", Float),
    Column("max_c", Float),
    PrimaryKeyConstraint("place", "day"),
)

BUSINESS: Final = (orders, products, accounts, bills, outages, areas, weather)
