"""What a call was like: the numbers of its last log line."""

from array import array
from collections import Counter
from collections.abc import Mapping
from statistics import median
from typing import Any, Final, Self

MAX_RESPONSES: Final = 200
"""Of the latencies so many are kept, the last ones: of a quarter of an hour. The median is theirs."""
WRITTEN_RESPONSES: Final = 50
"""Of them, for another process that goes on with the call."""


class Summary:
    """Collects the facts of one call. Seconds throughout."""

    def __init__(self) -> None:
        self.turns = 0
        self.greeting_s: float | None = None
        self._responses_s = array("d")
        self._slowest_s: float | None = None
        self.barge_ins: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()

    def answered(self, seconds: float) -> None:
        """A reply began so long after the caller's last word."""
        self._slowest_s = max(seconds, self._slowest_s or 0.0)
        self._responses_s.append(seconds)
        del self._responses_s[:-MAX_RESPONSES]

    def kept(self) -> dict[str, Any]:
        """As JSON, for `restored`; of the latencies, the last ones."""
        return {
            "turns": self.turns,
            "greeting_s": _round(self.greeting_s),
            "responses_s": [round(each, 3) for each in self._responses_s[-WRITTEN_RESPONSES:]],
            "response_max_s": _round(self._slowest_s),
            "barge_ins": dict(self.barge_ins),
            "tokens": dict(self.tokens),
        }

    @classmethod
    def restored(cls, kept: Mapping[str, Any]) -> Self:
        """A summary that goes on. Raises KeyError, TypeError."""
        summary = cls()
        summary.turns = kept["turns"]
        summary.greeting_s = kept["greeting_s"]
        for seconds in kept["responses_s"]:
            summary.answered(seconds)
        slowest_s = kept.get("response_max_s")  # not in what an older version has written
        if slowest_s is not None:
            summary._slowest_s = max(slowest_s, summary._slowest_s or 0.0)
        summary.barge_ins.update(kept["barge_ins"])
        summary.tokens.update(kept["tokens"])
        return summary

    def fields(self) -> dict[str, float | int | None]:
        """The summary as flat log fields; latencies rounded to the millisecond."""
        responses = self._responses_s
        return {
            "turns": self.turns,
            "greeting_s": _round(self.greeting_s),
            "response_s": _round(median(responses) if responses else None),
            "response_max_s": _round(self._slowest_s),
            "barge_ins": sum(self.barge_ins.values()) - self.barge_ins["resumed"],
            "resumed": self.barge_ins["resumed"],
            "tokens_in": self.tokens["in"],
            "tokens_out": self.tokens["out"],
        }


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
