"""The sample that ships: a power utility in Noida, Greater Noida and Ghaziabad, and a small shop."""

from importlib.resources import files


def sample(kind: str) -> list[str]:
    """The lines of a kind's sample, as `records.reference.import_csv` takes them. Its days are counted
    from the import."""
    file = files(__package__) / "sample" / f"{kind}.csv"
    return file.read_text(encoding="utf-8").splitlines(keepends=True)
