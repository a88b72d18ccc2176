"""What a call has cost, against a sum that was done by hand."""

from collections.abc import Mapping
from decimal import Decimal

from tests.evals import price
from tests.evals.suite import Judged
from tests.evals.twenty_turns import CALL, COUNTS, message

# The columns of COUNTS added up, times the price of a million.
BY_HAND = (
    Decimal("0.02007975")  # text in       26 773 x  0.75
    + Decimal("0.08697300")  # audio in    28 991 x  3.00
    + Decimal("0.00207300")  # rest in      2 764 x  0.75
    + Decimal("0.02785200")  # audio out    2 321 x 12.00
    + Decimal("0.00010800")  # text out        24 x  4.50
    + Decimal("0.00004050")  # rest out         9 x  4.50
    + Decimal("0.00408600")  # thoughts       908 x  4.50
)


def test_twenty_turns_cost_what_their_usage_messages_say(judged: Mapping[str, Judged]) -> None:
    held = judged[CALL.name].held
    assert held is not None
    assert Decimal("0.14121225") == BY_HAND
    assert held.record.call.cost_usd == BY_HAND
    assert sum(row.cost_usd for row in held.record.usage) == BY_HAND


def test_the_tokens_of_the_record_are_those_of_the_messages(judged: Mapping[str, Judged]) -> None:
    held = judged[CALL.name].held
    assert held is not None
    tokens: dict[tuple[str, str], int] = {}
    for row in held.record.usage:
        kind = row.direction, row.modality
        tokens[kind] = tokens.get(kind, 0) + row.tokens
    assert tokens == {
        ("in", "text"): 26_773,
        ("in", "audio"): 28_991,
        ("in", "other"): 2_764,
        ("out", "audio"): 2_321,
        ("out", "text"): 24,
        ("out", "other"): 9,
        ("out", "thinking"): 908,
    }
    assert held.session is not None
    assert len(held.session.usages) == len(COUNTS)


def test_the_second_reckoning_agrees_with_the_hand() -> None:
    assert price.usd(map(message, COUNTS)) == BY_HAND
