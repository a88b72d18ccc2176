"""What callers call things, and how near that comes to what the things are called.

A name is compared by its key: lower case, digits as 0-9 whatever the script, neither spaces nor signs;
the vowel signs of Devanagari and Bengali stay. Keys are alike by the pairs of characters they share,
so that a model may spell what it heard in its own way. Numbers are never alike: Sector 62 is not
Sector 63, however much the two have in common.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Final

MAX_KEY_CHARS: Final = 60
"""Of what is heard; nothing has a longer name."""
BETWEEN: Final = "|"
"""Stands before, between and after the keys of a row; in none of them."""
CONTAINED: Final = 0.7
"""Likeness of a name and a part of it: worth offering, not worth deciding."""

_NUMBERS: Final = re.compile(r"[0-9]+")
_CANDRABINDU: Final = {0x0901: 0x0902, 0x0981: 0x0982}
"""Written in print, left out in haste."""
_MIN_CONTAINED: Final = 3


def key(name: str) -> str:
    """What a name is compared by; "" where nothing of it can be."""
    plain = unicodedata.normalize("NFKC", name).casefold().translate(_CANDRABINDU)
    return unicodedata.normalize("NFKC", "".join(map(_kept, plain)))


def code(text: str) -> str:
    """A number that was given to something, from however it is written or said: BZ-10 42 is BZ1042."""
    return key(text).upper()


def joined(names: Iterable[str]) -> str:
    """The keys of a row's names, as they are kept in one column."""
    keys = dict.fromkeys(filter(None, map(key, names)))
    return BETWEEN + "".join(each + BETWEEN for each in keys)


def pairs(of: str) -> list[str]:
    """Every two neighbours in a key."""
    return [of[at : at + 2] for at in range(len(of) - 1)]


def likeness(heard: str, keys: str) -> float:
    """How near a key comes to the nearest of those in a row: 1 for the same, 0 for another."""
    return max((_likeness(heard, each) for each in keys.strip(BETWEEN).split(BETWEEN)), default=0.0)


def _kept(char: str) -> str:
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    return char if unicodedata.category(char)[0] in "LM" else ""


def _likeness(heard: str, name: str) -> float:
    if heard == name:
        return 1.0
    numbers, others = set(_NUMBERS.findall(heard)), set(_NUMBERS.findall(name))
    if not numbers <= others and not others <= numbers:
        return 0.0
    shorter, longer = sorted((heard, name), key=len)
    if len(shorter) >= _MIN_CONTAINED and _is_part(shorter, longer):
        return CONTAINED
    if numbers != others:
        return 0.0
    mine, theirs = Counter(pairs(f" {heard} ")), Counter(pairs(f" {name} "))
    return 2 * (mine & theirs).total() / (mine.total() + theirs.total())


def _is_part(shorter: str, longer: str) -> bool:
    """Whether it is in there, and not with half a number: sector1 is no part of sector12."""
    before = r"(?<![0-9])" if shorter[0].isdecimal() else ""
    after = r"(?![0-9])" if shorter[-1].isdecimal() else ""
    return re.search(before + re.escape(shorter) + after, longer) is not None
