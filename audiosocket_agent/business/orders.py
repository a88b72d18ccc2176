"""Orders: each told by its number, to the telephone it was placed from or to who knows its last digits.

The number that a caller shows may be another's: it is never enough by itself.
"""

from typing import Annotated, Any, Final

from pydantic import Field

from audiosocket_agent.business import say
from audiosocket_agent.business.office import Office, Rules
from audiosocket_agent.business.proof import order_of
from audiosocket_agent.records import lookup
from audiosocket_agent.records.lookup import Row
from audiosocket_agent.records.names import code
from audiosocket_agent.tools.function import tool
from audiosocket_agent.tools.registry import CallControl, Tool, ToolError

DIGITS_FIRST: Final = (
    "Ask for the last four digits of the telephone number the order was placed with, then look again "
    "with both."
)
NO_NUMBER: Final = "That is no order's number: ask for it again."


def lookup_order(office: Office, rules: Rules) -> Tool:
    @tool(timeout_s=5.0, max_uses=6)
    async def lookup_order(
        call: CallControl,
        order: Annotated[str, Field(max_length=40)],
        phone_last_digits: Annotated[str, Field(pattern=r"^[0-9]{4}$")] = "",
    ) -> dict[str, Any]:
        """Find out what became of an order, by its number: ask for it first. No order can be found
        without one.

        Args:
            order: The order's number, as the caller says it.
            phone_last_digits: Last four digits of the telephone number it was placed with. Only
                needed where the caller calls from another telephone: ask when you are told to.
        """
        number = code(order)
        if not number:
            raise ToolError(NO_NUMBER)
        row = await office.read(lookup.order(office.store, number))
        if row is None or not lookup.same_phone(row["phone"], call.facts.get("caller", "")):
            if not phone_last_digits:
                raise ToolError(DIGITS_FIRST)  # the same where there is none of that number
            row = await order_of(call, office, number, phone_last_digits)
        return _told(row, office, rules)

    return lookup_order


def _told(row: Row, office: Office, rules: Rules) -> dict[str, Any]:
    now, zone = office.now(), rules.timezone
    told = {
        "number": row["number"],
        "items": row["items"],
        "amount": say.money(row["amount"]),
        "currency": row["currency"],
        "status": row["status"],
        **say.when("ordered_at", row["ordered_at"], now, zone),
        **say.when("expected_at", row["expected_at"], now, zone),
    }
    return told | {"note": row["note"]} if row["note"] else told
