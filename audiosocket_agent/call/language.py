"""Which language a call begins in, and what the model is told of those its agent speaks.

A language is a tag of BCP 47, as it is usually written: hi-IN, bho-IN, zh-Hant-TW.
"""

import re
from collections.abc import Sequence
from typing import Final

TAG: Final = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")
"""Language, script, region: what matters to a voice."""

_NAMES: Final = {
    "en": "English",
    "hi": "Hindi",
    "bn": "Bengali",
    "bho": "Bhojpuri",
    "mai": "Maithili",
    "pa": "Punjabi",
    "ur": "Urdu",
    "mr": "Marathi",
    "gu": "Gujarati",
    "ta": "Tamil",
    "te": "Telugu",
    "kn": "Kannada",
    "ml": "Malayalam",
    "or": "Odia",
    "as": "Assamese",
    "ne": "Nepali",
    "ar": "Arabic",
    "de": "German",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ru": "Russian",
    "tr": "Turkish",
    "ja": "Japanese",
    "ko": "Korean",
    "zh": "Chinese",
}

_BEGIN: Final = "Begin in {}, and follow the caller into any other that you speak."
_ONE: Final = (
    "You speak {}. To a caller who speaks another language, say so in one short sentence, in theirs "
    "if you can."
)
_SEVERAL: Final = (
    "You speak {all}. Begin in {first}. When the caller speaks another of these, or asks for it, go "
    "on in that one without a word about it, and stay with it until they change again; one borrowed "
    "word is no change. Where they mix two of them, mix as they do. To a caller who speaks none of "
    "these, say in one short sentence which you speak."
)
_ALWAYS: Final = (
    " In every language, names, addresses, numbers, amounts and dates stay what they are: never "
    "translate, convert or round one. What you hand to a tool has the digits 0 to 9, and references in "
    "Latin letters, whatever is being spoken."
)


def as_written(text: str) -> str:
    """A tag in the usual spelling, from any other: en_gb is en-GB."""
    language, *rest = text.replace("_", "-").split("-")
    return "-".join([language.lower(), *(_subtag(part) for part in rest)])


def _subtag(text: str) -> str:
    return text.title() if len(text) == 4 else text.upper()


def start(languages: Sequence[str], asked: str) -> str:
    """The language to begin in: the one that is asked for (hi, en_GB), one that differs from it in
    nothing but region or script, or the first. An agent that has none begins in any; empty where none
    is asked for either."""
    wanted = as_written(asked)
    if not languages:
        return wanted if TAG.fullmatch(wanted) else ""
    near = [tag for tag in languages if _language(tag) == _language(wanted)]
    return wanted if wanted in near else [*near, *languages][0]


def told(languages: Sequence[str], start: str) -> str:
    """What the model is told after its instructions. `start` is one of them; an agent that has none
    speaks whatever the caller does, and is only told where to begin."""
    if not languages:
        return _BEGIN.format(_name(start)) if start else ""
    names = [_name(tag) for tag in languages]
    if len(names) == 1:
        return _ONE.format(names[0]) + _ALWAYS
    all_names = f"{', '.join(names[:-1])} and {names[-1]}"
    return _SEVERAL.format(all=all_names, first=_name(start)) + _ALWAYS


def _name(tag: str) -> str:
    name = _NAMES.get(_language(tag))
    return f"{name} ({tag})" if name else tag


def _language(tag: str) -> str:
    return tag.partition("-")[0]
