"""The README's tables, made from the code: `python -m tests.docs --write`; the suite checks them."""

import argparse
import sys
from pathlib import Path
from typing import Final

from audiosocket_agent import config
from audiosocket_agent.metrics import Metrics

README: Final = Path(__file__).parent.parent / "README.md"
_COUNTED_AS: Final = {"counter": "_total", "histogram": "", "gauge": ""}


def metrics_table() -> str:
    """Every metric: name, labels and what it says."""
    rows = ["| metric | labels | what it says |", "| --- | --- | --- |"]
    metrics = vars(Metrics())
    for collector in metrics.values():
        if not hasattr(collector, "describe"):
            continue
        for family in collector.describe():
            name = family.name + _COUNTED_AS[family.type]
            labels = ", ".join(f"`{label}`" for label in collector._labelnames)
            rows.append(f"| `{name}` | {labels} | {family.documentation} |")
    return "\n".join(rows) + "\n"


def with_tables(text: str) -> str:
    """The README with its tables renewed; each stands between two comments that name it."""
    for name, table in (("settings", config.as_markdown()), ("metrics", metrics_table())):
        before, opening, rest = text.partition(f"<!-- {name} -->\n")
        _, closing, after = rest.partition(f"<!-- /{name} -->")
        if not closing:
            raise SystemExit(f"README.md has no place for the table of {name}")
        text = before + opening + table + closing + after
    return text


def main() -> None:
    """Exit 1 where the README is not up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    text = README.read_text(encoding="utf-8")
    fresh = with_tables(text)
    if parser.parse_args().write:
        README.write_text(fresh, encoding="utf-8")
    elif fresh != text:
        sys.exit("the tables of README.md are not what the code says: run `make docs`")


if __name__ == "__main__":
    main()
