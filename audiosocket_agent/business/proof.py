"""Whose account or order it is: decided here, whatever a model believes.

The secret digits of an account are entered by keys and never pass the model: a tool gets the name that
they are kept under. A wrong answer counts twice: in this call, before anything is compared, and at the
account, where those of all calls together are counted. No such account, wrong digits and an account
that nobody may try any more are the same answer, so that nobody learns which accounts there are.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from audiosocket_agent.business.account import AccountCheck
from audiosocket_agent.business.office import Office
from audiosocket_agent.records import lookup
from audiosocket_agent.records.lookup import Row
from audiosocket_agent.records.names import code
from audiosocket_agent.tools.registry import CallControl, ToolError, ToolFailed

PROVEN: Final = "account"
"""Where the call's notes have the number of the account that its caller has proven last."""
ORDER_ATTEMPTS: Final = 3
"""In one call, for all orders together."""
PHONE_DIGITS: Final = 4

BY_KEYS: Final = (
    "The secret digits are entered by keys: use collect_digits with secret, then give this tool the "
    "name it kept them under. Never take them by voice and never repeat them."
)
ACCOUNT_FIRST: Final = "No account is proven in this call: ask for the account's number first."
WRONG_ACCOUNT: Final = (
    "The account number and the digits do not match, or the account is locked for a day after too "
    "many wrong tries. Nothing can be told about it."
)
WRONG_ORDER: Final = (
    "There is no order of that number with such a telephone number, or it is locked for a day after "
    "too many wrong tries. Nothing can be told about it."
)
NO_MORE: Final = (
    "There were too many wrong tries in this call: no further one is possible. Offer to transfer, or "
    "to write a ticket."
)


async def account_of(
    call: CallControl, office: Office, check: AccountCheck, number: str, kept_as: str
) -> str:
    """The number of an account that the caller has proven: with these digits, or earlier in this
    call; then `number` may be "". Raises ToolError."""
    proven = call.notes.get(PROVEN)
    wanted = code(number) or proven
    if wanted is None:
        raise ToolError(ACCOUNT_FIRST)
    if wanted == proven:
        return str(wanted)
    digits = call.secret(kept_as)
    if digits is None:
        raise ToolError(BY_KEYS)
    if len(digits) != check.digits:
        raise ToolError(f"Exactly {check.digits} digits are needed: collect them again.")

    def is_right(row: Row) -> bool:
        return hmac.compare_digest(row["digits"].encode(), digits.encode())

    await _try(call, office, _ACCOUNTS, check.attempts, wanted, is_right)
    call.notes[PROVEN] = wanted
    return str(wanted)


async def order_of(call: CallControl, office: Office, number: str, phone_digits: str) -> Row:
    """An order, to a caller who knows its number and the last digits of its telephone number. Raises
    ToolError."""

    def is_right(row: Row) -> bool:
        return hmac.compare_digest(row["phone"][-PHONE_DIGITS:].encode(), phone_digits.encode())

    return await _try(call, office, _ORDERS, ORDER_ATTEMPTS, number, is_right)


@dataclass(frozen=True, slots=True)
class _Proof:
    """What is proven, and how wrong tries are counted and answered."""

    of: lookup.Provable
    note: str
    wrong: str


_ACCOUNTS: Final = _Proof(lookup.ACCOUNTS, "account_tries", WRONG_ACCOUNT)
_ORDERS: Final = _Proof(lookup.ORDERS, "order_tries", WRONG_ORDER)


async def _try(
    call: CallControl,
    office: Office,
    proof: _Proof,
    attempts: int,
    number: str,
    is_right: Callable[[Row], bool],
) -> Row:
    tries = call.notes.get(proof.note, 0) + 1
    if tries > attempts:
        raise ToolError(NO_MORE)
    call.notes[proof.note] = tries  # counted before it is known: several may be under way
    now = office.now()
    try:
        found = await office.read(lookup.prove(office.store, proof.of, number, is_right, now))
    except ToolFailed:
        call.notes[proof.note] -= 1  # nothing was told
        raise
    if found is None:
        raise ToolError(proof.wrong if tries < attempts else f"{proof.wrong} {NO_MORE}")
    call.notes[proof.note] -= 1
    return found
