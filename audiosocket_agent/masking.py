"""Numbers and keys that nobody is to read: in a log, and in what was said.

    +91 98765 43210                    ***10
    4111-1111-1111-1111                ***11
    ९८७६५४३२१०                         ***१०
    nine eight triple seven six five   ***
    Bearer 3f9c…, AIza…, sk-…          ***

A number is hidden from seven digits on, in whatever script, and whatever separates its digits as
people write or say them; up to six stay, so an amount, a house and a code of that length do. The last
two digits are left: somebody who looks for a caller can tell two numbers apart, and who does not know
the number cannot guess it. Of digits that were said as words, and of keys, nothing is left. Dates stay,
and sums with their cents.

What this does not see: a number that is split by other words ("ninety, then I think eight …") or told
in several turns; Hindi and Bengali words above nine; a key that is spelled. What it hides besides: a
sum of seven digits without cents, and the number of a ticket, which is in the ticket.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

HIDDEN: Final = "***"
MIN_DIGITS: Final = 7
"""The shortest telephone numbers that people have at home."""
KEPT_DIGITS: Final = 2
MAX_CHARS: Final = 16 * 1024
"""Of a text in a log, from its beginning; a traceback of ours has 3000."""
MAX_DEPTH: Final = 8
MAX_ITEMS: Final = 200
"""Of a list or a mapping in a log."""

Mask = Callable[[str], str]


def spoken(text: str) -> str:
    """What was said, or a tool was given, without numbers and keys. Hides nothing a second time."""
    return _numbers(_KEYS.sub(HIDDEN, text), _STAYING)


def logged(text: str) -> str:
    """A text for a log: as `spoken`, without passwords and long tokens too, and not too long. UUIDs,
    IPv4 addresses and times stay."""
    if len(text) > MAX_CHARS:
        text = f"{text[:MAX_CHARS]}…"
    text = _LOGGED_KEYS.sub(_beginning, _KEYS.sub(HIDDEN, text))
    return _numbers(text, _OURS, tokens=True)


def piece(text: str) -> str:
    """A piece of what is being said, whose number may have begun in another: without any digit."""
    return _RUN.sub(HIDDEN, _KEYS.sub(HIDDEN, text))


def longest(text: str) -> int:
    """How many digits the longest number of a text has, as it is written or said."""
    return max((_count(_ONE.findall(run[0])) for run in _RUN.finditer(text)), default=0)


def within(value: Any, mask: Mask, *, numbers: bool = False, depth: int = MAX_DEPTH) -> Any:
    """JSON, or what is nearly that, with its texts masked; `numbers` too, which become texts then."""
    match value:
        case str():
            return mask(value)
        case None | bool():
            return value
        case int() | float():
            shown = mask(text := str(value)) if numbers else ""
            return shown if numbers and shown != text else value
        case Mapping() | list() | tuple() | set() | frozenset() if not depth:
            return "…"
        case Mapping():
            return {
                mask(key) if isinstance(key, str) else key: (
                    HIDDEN
                    if isinstance(key, str) and _SECRET_NAME.fullmatch(key) and its
                    else within(its, mask, numbers=numbers, depth=depth - 1)
                )
                for key, its in list(value.items())[:MAX_ITEMS]
            }
        case list() | tuple() | set() | frozenset():
            items = list(value)[:MAX_ITEMS]
            return [within(item, mask, numbers=numbers, depth=depth - 1) for item in items]
    return mask(str(value))


# ---- digits ----------------------------------------------------------------------------------------

_COUNTED: Final[Mapping[int, str]] = {
    1: (
        "zero oh o nought naught nil one two three four five six seven eight nine "
        "twenty thirty forty fifty sixty seventy eighty ninety double dabal "
        "shunya shoonya sunya ek do teen tin char chaar paanch panch chhah chhe cheh che saat sat "
        "aath ath nau dui chhoy choy shat aat noy "
        "शून्य ज़ीरो जीरो एक दो तीन चार पाँच पांच छह छः छे छै छ सात आठ नौ "
        "ओ वन टू थ्री फ़ोर फोर फ़ाइव फाइव फाईव सिक्स सेवन एट नाइन डबल "
        "শূন্য জিরো এক দুই তিন চার পাঁচ ছয় সাত আট নয় ডবল ডাবল"
    ),
    2: (
        "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen "
        "triple treble tripal ट्रिपल ট্রিপল"
    ),
}
"""Words by how many digits each is; "ninety" is one, as "eight" follows it, and "double" one more than
what it doubles."""


_DOTTED: Final = {"ज़": "\u095b", "फ़": "\u095e", "য়": "\u09df"}
"""Letters with a dot below, as two characters and as one; NFC is the former."""


def _spellings(word: str) -> set[str]:
    two = one = unicodedata.normalize("NFC", word)
    for decomposed, composed in _DOTTED.items():
        one = one.replace(unicodedata.normalize("NFC", decomposed), composed)
    return {two, one}


_DIGITS_OF: Final = {
    spelling: digits
    for digits, words in _COUNTED.items()
    for word in words.split()
    for spelling in _spellings(word)
}

_MARKS: Final = r"[\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963\u0981-\u0983\u09bc-\u09d7]"
"""Vowel signs of Devanagari and Bengali, which Python counts to no word."""
_WORDS: Final = "|".join(
    rf"{first}(?:{'|'.join(re.escape(word[1:]) for word in words)})"
    for first, words in groupby(sorted(_DIGITS_OF), key=itemgetter(0))
)
"""By their first letter: most words of a text are none of them, and that is found out twice as fast."""
_ITEM: Final = rf"(?:\d|(?<![^\W\d_])(?<!{_MARKS})(?:{_WORDS})(?![^\W\d_])(?!{_MARKS}))"
_BETWEEN: Final = r"[\s.,;()\[\]/_+\-‐-―·•~|#'’\xad\u200b-\u200f\u2060\ufeff]{0,4}"
"""What may stand between two digits of one number. No colon: a port is none of its host's."""
_RUN: Final = re.compile(rf"\+?{_ITEM}(?:{_BETWEEN}{_ITEM})*", re.IGNORECASE)
_ONE: Final = re.compile(_ITEM, re.IGNORECASE)


def _numbers(text: str, stays: re.Pattern[str], *, tokens: bool = False) -> str:
    """A text without long runs of digits, but for what `stays`."""
    parts, done = [], 0
    for own in stays.finditer(text):
        parts += [_without(text[done : own.start()], tokens), own[0]]
        done = own.end()
    return "".join((*parts, _without(text[done:], tokens)))


def _without(text: str, tokens: bool) -> str:
    if tokens:
        text = _TOKEN.sub(HIDDEN, text)
    return _RUN.sub(_hidden, text)


def _count(items: Iterable[str]) -> int:
    return sum(_DIGITS_OF.get(item.lower(), 1) for item in items)


def _hidden(run: re.Match[str]) -> str:
    """What is left of a run of digits."""
    items = _ONE.findall(run[0])
    if _count(items) < MIN_DIGITS:
        return run[0]
    if all(item.isdecimal() for item in items):
        return HIDDEN + "".join(items[-KEPT_DIGITS:])
    return HIDDEN


# ---- what is no number of anybody's ----------------------------------------------------------------

_STAYING_TEXT: Final = (
    r"(?<![\d+])(?<!\d[-.,/ ])(?:"
    r"(?:19|20)\d\d-(?:0\d|1[0-2])-(?:[0-2]\d|3[01])"
    r"(?:[T ][0-2]\d:[0-5]\d(?::[0-6]\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?|"
    r"(?:[0-2]?\d|3[01])(?P<by>[-./])(?:[0-2]?\d|3[01])(?P=by)(?:19|20)\d\d|"
    r"(?:\d{1,3}(?:,\d{2,3}){1,3}|\d{1,6})\.\d\d"
    r")(?![-.,/ ]?\d)"
)
_STAYING: Final = re.compile(rf"(?=\d){_STAYING_TEXT}", re.ASCII)
"""Dates, times, and sums with their cents. They are looked for in all that is said: what they begin with
comes first, as with `_KEYS`, which makes it seven times as fast."""
_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_DURATION: Final = r"(?<==)-?\d{1,2}\.\d{9,}(?!\d)"
"""As `repr` writes it."""
_OURS: Final = re.compile(
    r"(?<![0-9a-zA-Z])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9a-zA-Z])|"
    rf"(?<![\d.+])(?:{_OCTET}\.){{3}}{_OCTET}(?!\.?\d)|{_DURATION}|{_STAYING_TEXT}",
    re.ASCII,
)
"""UUIDs, IPv4 addresses, times and dates: what a log is read by. A number that somebody writes as one
of them stays with them."""

# ---- keys ------------------------------------------------------------------------------------------

_KEYS: Final = re.compile(
    r"(?=[AsgxeBb])(?:AIza[\w-]{8,}|\b(?:"
    r"sk-[\w-]{8,}|gh[opsu]_\w{16,}|xox[abprs]-[\w-]{8,}|AKIA[0-9A-Z]{12,}|"
    r"eyJ[\w-]{8,}(?:\.[\w-]*){1,2}|"
    r"(?i:bearer)\s+(?=\S*\d)[\w.~+/=-]{8,}))"
)
_LOGGED_KEYS: Final = re.compile(
    r"(\b(?i:bearer|basic)\s+)(?=\S*[A-Z0-9])[\w.~+/=-]{4,}|"
    r"(://)[^\s/@:]*:[^\s/@]+(?=@)|"
    r"(\b(?i:(?:[a-z]+_)*(?:api[_-]?key|token|secret|password|passwd))[\"']?\s*[=:]\s*[\"']?)"
    r"[^\s\"'&,;)}\]]{4,}|"
    r"((?i:[?&]key=))[^\s\"'&]+"
)
"""What comes before the secret is the group that matched."""
_TOKEN: Final = re.compile(
    r"\b[0-9a-f]{32,}\b|"
    r"(?<![\w+-])(?=[\w+-]*[a-z])(?=[\w+-]*[A-Z])(?=[\w+-]*\d[\w+-]*\d)[\w+-]{24,}=*",
    re.ASCII,
)
_SECRET_NAME: Final = re.compile(
    r"(?:[a-z]+[_-])*(?:api[_-]?key|authorization|token|secret|password|passwd|cookie)",
    re.IGNORECASE,
)


def _beginning(secret: re.Match[str]) -> str:
    return f"{secret[secret.lastindex or 0]}{HIDDEN}"
