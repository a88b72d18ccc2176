"""What a conversation with gemini-3.8-live costs, computed a second time: from the usage messages as the
model sent them, with the prices written out here. Nothing of the program is called."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

MILLION: Final = Decimal("1000000")

TEXT_IN: Final = Decimal("0.75")
AUDIO_IN: Final = Decimal("3.00")
REST_IN: Final = Decimal("0.75")
TEXT_OUT: Final = Decimal("4.50")
AUDIO_OUT: Final = Decimal("12.00")
REST_OUT: Final = Decimal("4.50")
THOUGHTS: Final = Decimal("4.50")


def usd(messages: Iterable[Mapping[str, Any]]) -> Decimal:
    """The sum over usageMetadata messages; each bills its whole context again."""
    return sum((_message(each) for each in messages), Decimal(0))


def _message(usage: Mapping[str, Any]) -> Decimal:
    text_in, audio_in = _details(usage.get("promptTokensDetails", []))
    text_out, audio_out = _details(usage.get("responseTokensDetails", []))
    rest_in = max(0, usage.get("promptTokenCount", 0) - text_in - audio_in)
    rest_out = max(0, usage.get("responseTokenCount", 0) - text_out - audio_out)
    usd: Decimal = (
        text_in * TEXT_IN
        + audio_in * AUDIO_IN
        + rest_in * REST_IN
        + text_out * TEXT_OUT
        + audio_out * AUDIO_OUT
        + rest_out * REST_OUT
        + usage.get("thoughtsTokenCount", 0) * THOUGHTS
    )
    return usd / MILLION


def _details(details: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    by = {"TEXT": 0, "AUDIO": 0}
    for each in details:
        by[each["modality"]] += each["tokenCount"]
    return by["TEXT"], by["AUDIO"]
