"""A call of twenty turns whose usage messages are as varied as the service's: details that do not add
up, none at all, thoughts or no thoughts, text beside audio, a context that was compressed, nothing."""

from collections.abc import Mapping
from typing import Any, Final

from tests.evals.cases import Conversation, Turn

# fmt: off
COUNTS: Final = (
    # in: text, audio, not detailed; out: audio, text, not detailed; thoughts
    (1240,   90,   25,  40, 0, 0,  18),  # the greeting
    (1257,  217,   32,  93, 0, 0,  29),
    (1274,  381,   39, 146, 0, 0,   0),
    (1291,  582,   46, 199, 6, 0,  51),
    (1308,  700,   26,  92, 0, 3,  62),
    (1325,  855,   33, 145, 0, 0,  73),
    (   0,    0, 2075,  61, 0, 0,   0),  # a total without any details
    (1359, 1156,   47,  91, 0, 0,  95),
    (1376, 1302,   27, 144, 6, 0, 106),
    (1393, 1321,   32,   0, 0, 0,   0),  # no answer
    (1410, 1585,   41,  90, 0, 0,   0),
    (1427, 1722,   48, 143, 0, 3,  19),
    (1444, 1800,   28, 196, 0, 0,  30),
    (1461, 1891,   35,  89, 6, 0,  41),
    (1478, 2019,   42, 142, 0, 0,   0),
    (   0,    0,    0,   0, 0, 0,   0),  # an empty message
    (1512, 2386,   29,  88, 0, 0,  74),
    (1529, 2505,   36, 141, 0, 0,  85),
    (1546, 2661,   43, 194, 6, 3,   0),
    (1563, 2854,   50,  87, 0, 0, 107),
    (1580, 2964,   30, 140, 0, 0, 118),
)
# fmt: on


def message(counts: tuple[int, ...]) -> Mapping[str, Any]:
    """usageMetadata, without what is 0."""
    text_in, audio_in, rest_in, audio_out, text_out, rest_out, thoughts = counts
    total_in, total_out = text_in + audio_in + rest_in, audio_out + text_out + rest_out
    usage = {
        "promptTokenCount": total_in,
        "promptTokensDetails": _details(TEXT=text_in, AUDIO=audio_in),
        "responseTokenCount": total_out,
        "responseTokensDetails": _details(TEXT=text_out, AUDIO=audio_out),
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": total_in + total_out,
    }
    return {name: value for name, value in usage.items() if value}


def _details(**counts: int) -> list[Mapping[str, Any]]:
    return [{"modality": name, "tokenCount": count} for name, count in counts.items() if count]


CALL: Final = Conversation(
    agent="receptionist",
    name="twenty turns, counted by hand",
    live=False,
    cost_below="0.2",
    greeting_usage=(message(COUNTS[0]),),
    turns=tuple(
        Turn(caller=f"Question {n}.", model=(f"Answer {n}.",), usage=(message(counts),))
        for n, counts in enumerate(COUNTS[1:], 1)
    ),
)
