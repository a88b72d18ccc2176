"""The tables of the README and of deploy/capacity.md: `python -m tests.docs --write`. They are made
from the code, and from what `make bench-quick WRITE=1` and `make bench WRITE=1` measured; the suite
checks them."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from audiosocket_agent import config
from audiosocket_agent.metrics import Metrics
from tests.bench.capacity import file

README: Final = Path(__file__).parent.parent / "README.md"
CAPACITY: Final = Path(__file__).parent.parent / "deploy" / "capacity.md"
MEASURED: Final = Path(__file__).parent / "bench"
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


def tables(page: Path) -> Mapping[str, str]:
    """What stands on a page, each between two comments that name it."""
    if page == CAPACITY:
        return {"capacity": file.as_markdown(MEASURED / "bench.json")}
    return {
        "bench": file.as_markdown(MEASURED / "quick.json"),
        "settings": config.as_markdown(),
        "metrics": metrics_table(),
    }


def with_tables(page: Path) -> str:
    """A page with its tables renewed."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables(page).items():
        before, opening, rest = text.partition(f"<!-- {name} -->\n")
        _, closing, after = rest.partition(f"<!-- /{name} -->")
        if not closing:
            raise SystemExit(f"{page.name} has no place for the table of {name}")
        text = before + opening + table + closing + after
    return text


def main() -> None:
    """Exit 1 where a page is not up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    for page in (README, CAPACITY):
        fresh = with_tables(page)
        if write:
            page.write_text(fresh, encoding="utf-8")
        elif fresh != page.read_text(encoding="utf-8"):
            sys.exit(f"the tables of {page.name} are not what the code says: run `make docs`")


if __name__ == "__main__":
    main()
