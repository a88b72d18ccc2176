"""Names: of rows, and of tickets that are spoken over the telephone.

A row's id is a UUID of version 7 (RFC 9562): its first 60 bits are the time, to a quarter of a
microsecond, so ids sort as rows were made, and a row that is written twice is the same row.

A ticket's number is heard in noise, repeated by a caller and typed by somebody else:

- eight digits, said as two groups of four; no letters, which sound alike (B, D, P);
- never the same digit twice in a row, so nobody has to say or to understand "double four";
- the last is a check digit by Damm's scheme, which catches every single wrong digit and every two
  neighbours that changed places;
- drawn at random: the next caller's number cannot be guessed from one's own.

Four million numbers are left by that. One that is taken is noticed on writing and drawn again.
"""

import itertools
import secrets
import time
import unicodedata
from datetime import datetime
from typing import Final

TICKET_DIGITS: Final = 8

# A totally anti-symmetric quasigroup of order 10: what makes Damm's check digit work. That it has the
# property is tested, not believed.
_QUASIGROUP: Final = (
    "0317598642",
    "7092154863",
    "4206871359",
    "1750983426",
    "6123045978",
    "3674209581",
    "5869720134",
    "8945362017",
    "9438617205",
    "2581436790",
)


def uuid7() -> str:
    """A new id. Ids of one process sort as they were made, unless the clock is set back."""
    milliseconds, rest_ns = divmod(time.time_ns(), 1_000_000)
    fraction = (rest_ns << 12) // 1_000_000
    # of the system, not of `random`: a forked process would draw the same
    return _text(milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | secrets.randbits(62))


def first_id(at: datetime) -> str:
    """The least id that could have been made at a time; those made before are less."""
    return _text(int(at.timestamp() * 1000) << 80)


def _text(value: int) -> str:
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def ticket_number() -> str:
    """Eight digits to read aloud; most likely not given to anybody yet."""
    while True:
        digits = str(10 ** (TICKET_DIGITS - 2) + secrets.randbelow(9 * 10 ** (TICKET_DIGITS - 2)))
        digits += _check(digits)
        if all(one != other for one, other in itertools.pairwise(digits)):
            return digits


def read_ticket_number(heard: str) -> str | None:
    """The number that was meant, from whatever script and grouping it came in; None where it cannot
    be one that we gave."""
    digits = "".join(str(unicodedata.decimal(char)) for char in heard if char.isdecimal())
    if len(digits) != TICKET_DIGITS or _check(digits) != "0":
        return None
    return digits


def _check(digits: str) -> str:
    """The digit that makes `digits` a number; "0" where they are one already."""
    check = "0"
    for digit in digits:
        check = _QUASIGROUP[int(check)][int(digit)]
    return check
