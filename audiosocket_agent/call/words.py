"""Whether two transcripts are of the same words, in whatever script and spelling they were written down.

Words are compared by their consonants, in Latin letters where Unicode has names for those of others:
"एक मिनट", "এক মিনিট" and "ek minute" are kmnt, all three.
"""

import unicodedata
from difflib import SequenceMatcher
from typing import Final

ALIKE: Final = 0.75
"""Of all consonants: a "sure!" before a short phrase passes, an answer to it does not."""

_VOWELS: Final = str.maketrans(
    "", "", "aeiouhwy"
)  # and what one speller writes, and the next does not


def same_words(said: str, wanted: str) -> bool:
    """Whether what was said is, by and large, what was to be said."""
    return SequenceMatcher(None, skeleton(said), skeleton(wanted), autojunk=False).ratio() >= ALIKE


def skeleton(text: str) -> str:
    """What is left of a text without vowels, spaces and doubled letters."""
    letters = "".join(map(_in_latin, unicodedata.normalize("NFKD", text.casefold())))
    bare = letters.translate(_VOWELS)
    return "".join(char for at, char in enumerate(bare) if char != bare[at - 1 : at])


def _in_latin(char: str) -> str:
    name = unicodedata.name(char, "")
    if char.isascii() or " LETTER " not in name:
        return char if char.isalnum() else ""
    return name.rpartition(" ")[2].lower()
