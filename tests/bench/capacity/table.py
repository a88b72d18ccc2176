"""Figures for people: a line per result in a terminal, a table in Markdown for the README."""

from collections.abc import Sequence

from tests.bench.capacity.judge import Result, ratio

HEADER = (
    f"{'':8}{'path':10}{'calls':>6}{'CPU':>7}{'greet':>6}{'up':>10}{'down':>11}{'stop':>5}"
    f"{'spacing':>11}{'gaps':>6}{'replies':>12}{'lost':>5}{'RSS':>5}{'kB/call':>8}"
    f"{'talk':>6}{'out':>6}{'late':>6}"
)
LEGEND = """\
CPU: ms per second of a call. greet, up, down, stop: ms, p50/p99. spacing: ms off 20, p99/p99.9.
talk: % of the time the agent is heard. out: % of intervals that touch a pause of the machine, left out.
late: % of our own frames that left late. * a run that was disturbed, and could not be repeated."""


def line(result: Result, disturbed: bool = False) -> str:
    r = result
    return (
        f"{r.who + '*' * disturbed:8}{r.path:10}{r.calls:6}{r.cpu_ms:7.2f}{_one(r.greeting_p50):>6}"
        f"{_pair(r.up_p50, r.up_p99):>10}{_pair(r.down_p50, r.down_p99):>11}{_one(r.stop_p50):>5}"
        f"{_pair(r.spacing_p99, r.spacing_p999):>11}{r.gaps:6}"
        f"{f'{r.replies - r.broken}/{r.replies}':>12}{r.lost:5}{r.rss_mb:5.0f}{r.kb_per_call:8.0f}"
        f"{r.talk:5.0f}%{r.left_out:5.1f}%{r.late:5.1f}%"
    )


def _one(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _pair(one: float | None, other: float | None) -> str:
    return "-" if one is None or other is None else f"{one:.1f}/{other:.1f}"


def markdown(results: Sequence[Result]) -> str:
    """A column for each result."""
    rows = [
        ("", [f"{r.who}, {r.calls} calls" for r in results]),
        ("the agent is heard, of the time", [f"{r.talk:.0f} %" for r in results]),
        ("CPU, ms per second of a call", [f"{r.cpu_ms:.2f}" for r in results]),
        ("… beside the floor", [_beside(r, results) for r in results]),
        ("greeting after the connection, p50 / p99, ms", _pairs(results, "greeting")),
        ("added latency to the model, p50 / p99, ms", _pairs(results, "up")),
        ("added latency to the caller, p50 / p99, ms", _pairs(results, "down")),
        ("frames off their 20 ms, p99 / p99.9, ms", _pairs(results, "spacing", "p99", "p999")),
        ("gaps above 40 ms while the agent talks", [str(r.gaps) for r in results]),
        ("replies intact", [f"{r.replies - r.broken} of {r.replies}" for r in results]),
        ("calls lost", [str(r.lost) for r in results]),
        ("memory (RSS), MB", [f"{r.rss_mb:.0f}" for r in results]),
        ("… per call (PSS), kB", [f"{r.kb_per_call:.0f}" for r in results]),
    ]
    lines = [f"| {name} | {' | '.join(cells)} |" for name, cells in rows]
    return "\n".join([lines[0], "| --- |" + " ---: |" * len(results), *lines[1:]]) + "\n"


def _beside(result: Result, results: Sequence[Result]) -> str:
    floors = [r for r in results if r.who == "floor" and r.calls == result.calls]
    times = ratio([result], [r for r in floors if r.path == result.path])
    return "" if result.who == "floor" or times is None else f"{times:.2f} x"


def _pairs(results: Sequence[Result], name: str, low: str = "p50", high: str = "p99") -> list[str]:
    pairs = [(getattr(r, f"{name}_{low}"), getattr(r, f"{name}_{high}")) for r in results]
    return ["" if None in pair else f"{pair[0]:.1f} / {pair[1]:.1f}" for pair in pairs]
