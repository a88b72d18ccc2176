"""The languages of an agent, and texts that it has in each of them."""

from collections.abc import Sequence
from typing import Final

from audiosocket_agent.call.language import TAG, as_written
from audiosocket_agent.tables.table import Table, quoted

MAX_LANGUAGES: Final = 24
ALL: Final = ""
"""Stands for every language."""


def read_languages(top: Table) -> tuple[str, ...]:
    """Tags of BCP 47; the first is the one to begin in."""
    languages = top.texts("languages") or ()
    for tag in languages:
        if not TAG.fullmatch(tag):
            written = as_written(tag)
            hint = f"; did you mean {written}?" if TAG.fullmatch(written) else ""
            top.wrong("languages", f"{quoted(tag)} is no language, as en-IN and hi are{hint}")
    if len(languages) > MAX_LANGUAGES:
        top.wrong("languages", f"are {len(languages)}; {MAX_LANGUAGES} are the most")
    return languages


def read_texts(table: Table, key: str, languages: Sequence[str]) -> dict[str, str] | None:
    """A text, or a table of them by language; None where there is neither.

    What stands under ALL is for every language that has none of its own: the text, or the one of the
    first language, which must be there.
    """
    if not isinstance(table.values.get(key), dict):
        text = table.get(key, str)
        return None if text is None else {ALL: text}
    if not languages:
        table.wrong(key, "by language needs languages: which they are, the first to begin in")
        return None
    within = table.table(key)
    for language in within.values:
        if language not in languages:
            within.wrong(language, f"is none of languages: {', '.join(languages)}")
    if languages[0] not in within.values:
        within.wrong(languages[0], "missing; it is the language to begin in")
    texts = {language: within.get(language, str) or "" for language in within.values}
    return {ALL: texts.get(languages[0], ""), **texts}
