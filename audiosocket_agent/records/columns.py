"""Two kinds of column that SQLite and PostgreSQL would otherwise see differently."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import DateTime, Dialect, Numeric
from sqlalchemy.types import TypeDecorator, TypeEngine

USD_PLACES: Final = 9
"""A cached token of text costs some 0.00000005 dollars."""
_NANO: Final = Decimal(1).scaleb(-USD_PLACES)


class UtcTime(TypeDecorator[datetime]):
    """A moment. SQLite keeps text without a zone: it is UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Usd(TypeDecorator[Decimal]):
    """Dollars, to the ninth place. SQLite keeps a double, whose 15 digits are exact here up to a
    million dollars; sums are rounded to the ninth place again."""

    impl = Numeric(18, USD_PLACES)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(Numeric(18, USD_PLACES, asdecimal=False))
        return dialect.type_descriptor(Numeric(18, USD_PLACES))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        return float(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(str(value)).quantize(_NANO)
