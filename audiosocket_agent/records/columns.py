"""Kinds of column that SQLite and PostgreSQL would otherwise see differently."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, Final

from sqlalchemy import DateTime, Dialect, Numeric
from sqlalchemy.types import TypeDecorator, TypeEngine

USD_PLACES: Final = 9
"""A cached token of text costs some 0.00000005 dollars."""


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


class _Exact(TypeDecorator[Decimal]):
    """A decimal. SQLite keeps a double, of whose 15 digits none is lost within the bounds below; sums
    are rounded again."""

    impl = Numeric
    cache_ok = True
    digits: ClassVar[int]
    places: ClassVar[int]

    def __init__(self) -> None:
        super().__init__(self.digits, self.places)

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(Numeric(self.digits, self.places, asdecimal=False))
        return dialect.type_descriptor(Numeric(self.digits, self.places))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        return float(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        least = Decimal(1).scaleb(-self.places)
        return None if value is None else Decimal(str(value)).quantize(least)


class Usd(_Exact):
    """Dollars, to the ninth place; up to a million."""

    cache_ok = True
    digits, places = 18, USD_PLACES


class Money(_Exact):
    """What something costs, to the second place; up to a million millions."""

    cache_ok = True
    digits, places = 14, 2
