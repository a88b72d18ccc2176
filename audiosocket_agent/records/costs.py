"""What tokens cost, from a table of prices: exact decimals, and never a guess.

The table ships with the program (`prices.toml`) and can be added to by a file of the operator's. What
is not in it has no price: that is said once, counted, and shown as unknown; another model's price, or
another modality's, does not stand in for it.
"""

import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Self

from audiosocket_agent import log
from audiosocket_agent.errors import ConfigError

Kind = tuple[str, str]
"""Direction and modality of tokens: ("in", "audio"), ("out", "text") ..."""

Tokens = Mapping[Kind, int]

DIRECTIONS: Final = ("in", "out")
_SPOKEN: Final = tuple((way, modality) for way in DIRECTIONS for modality in ("audio", "text"))
_MILLION_PLACES: Final = -6
_DAYS_KEPT: Final = 3
"""At midnight, and where the clock was set, there are calls of more than one day."""

_log = log.get(__name__)


class Prices:
    """USD per million tokens, by model and kind."""

    def __init__(self, table: Mapping[str, Mapping[Kind, Decimal]]) -> None:
        self._table = table
        self._told: set[tuple[str, Kind | None]] = set()

    @classmethod
    def load(cls, file: Path | None = None) -> Self:
        """The shipped prices, and over them those of `file`, one by one. Raises ConfigError with a line
        for each mistake."""
        table = dict(_read("prices.toml", files(__package__).joinpath("prices.toml").read_text()))
        if file is not None:
            try:
                text = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"{file}: cannot be read: {error}") from None
            for model, prices in _read(str(file), text).items():
                table[model] = {**table.get(model, {}), **prices}
        return cls(table)

    def each(self, model: str, tokens: Tokens) -> dict[Kind, Decimal | None]:
        """The cost of each kind of tokens, in USD; None where it has no price. `model` may have a path
        before its name, as in `models/gemini-3.8-live`."""
        name = _name(model)
        prices = self._table.get(name)
        costs: dict[Kind, Decimal | None] = {}
        for kind, count in tokens.items():
            price = None if prices is None else prices.get(kind)
            if price is None and count:
                costs[kind] = None
                self._tell(name, None if prices is None else kind)
            else:
                costs[kind] = (count * (price or Decimal(0))).scaleb(_MILLION_PLACES)
        return costs

    def cost(self, model: str, tokens: Tokens) -> Decimal | None:
        """The cost of all of them together; None where any has no price."""
        total = Decimal(0)
        for cost in self.each(model, tokens).values():
            if cost is None:
                return None
            total += cost
        return total

    def cover(self, model: str) -> bool:
        """Whether audio and text have a price, both ways: else a bound on what it costs is none."""
        return self._table.get(_name(model), {}).keys() >= set(_SPOKEN)

    def _tell(self, model: str, kind: Kind | None) -> None:
        if (model, kind) not in self._told:
            self._told.add((model, kind))
            what = " ".join(kind) if kind else "all tokens"
            _log.warning("no price", model=model, tokens=what)


class Bill:
    """What one call has cost so far, with `model` where nothing else is said."""

    def __init__(self, prices: Prices, model: str) -> None:
        self._prices = prices
        self._model = model
        self.usd = Decimal(0)
        """Of all that has a price."""
        self.unpriced = 0
        """Tokens that have none; unless it is 0, the call has cost more than `usd`."""

    def add(self, tokens: Tokens, model: str = "") -> dict[Kind, Decimal | None]:
        """Count the tokens of a turn; returns what each kind costs, as `Prices.each` does."""
        costs = self._prices.each(model or self._model, tokens)
        for kind, cost in costs.items():
            if cost is None:
                self.unpriced += tokens[kind]
            else:
                self.usd += cost
        return costs


class Budget:
    """What all calls of a day may cost together, in USD; 0 is no bound. A day is one of the clock's
    zone, and begins with nothing spent."""

    def __init__(self, usd_per_day: Decimal = Decimal(0)) -> None:
        self._usd_per_day = usd_per_day
        self._spent: dict[date, Decimal] = {}

    def spend(self, usd: Decimal, now: datetime) -> None:
        """Count what a turn has cost."""
        self.known(self.today(now) + usd, now)

    def known(self, usd: Decimal, now: datetime) -> None:
        """So much was spent today, by all who share the budget."""
        self._spent[now.date()] = usd
        while len(self._spent) > _DAYS_KEPT:
            del self._spent[next(iter(self._spent))]

    def today(self, now: datetime) -> Decimal:
        """What was spent today."""
        return self._spent.get(now.date(), Decimal(0))

    def is_spent(self, now: datetime) -> bool:
        """Whether no further call is to begin today."""
        return 0 < self._usd_per_day <= self.today(now)


def _name(model: str) -> str:
    return model.rpartition("/")[2]


# ---- reading -----------------------------------------------------------------------------------------


def _read(name: str, text: str) -> dict[str, dict[Kind, Decimal]]:
    """The prices in a file. Raises ConfigError with a line for each mistake."""
    try:
        tree = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: {error}") from None
    mistakes: list[str] = []
    table = {model: dict(_prices(model, entry, mistakes)) for model, entry in tree.items()}
    if mistakes:
        raise ConfigError("\n".join(f"{name}: {mistake}" for mistake in mistakes))
    return table


def _prices(model: str, entry: Any, mistakes: list[str]) -> Iterator[tuple[Kind, Decimal]]:
    if not isinstance(entry, dict):
        mistakes.append(f'{model} must be a table: ["{model}"]')
        return
    for direction, prices in entry.items():
        if direction not in DIRECTIONS or not isinstance(prices, dict):
            hint = "; a model's name is to be in quotes" if isinstance(prices, dict) else ""
            mistakes.append(f'["{model}"] has tables `in` and `out`, not {direction}{hint}')
            continue
        for modality, price in prices.items():
            if _is_price(price):
                yield (direction, modality), Decimal(price)
            else:
                where = f'["{model}"] {direction}.{modality}'
                mistakes.append(f"{where} must be dollars per million tokens, not {price!s:.40}")


def _is_price(price: Any) -> bool:
    if isinstance(price, Decimal):
        return price.is_finite() and price >= 0
    return type(price) is int and price >= 0  # True is an int, and no price
