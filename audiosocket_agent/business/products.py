"""What there is in the shop."""

from typing import Annotated, Any, Final

from pydantic import Field

from audiosocket_agent.business import say
from audiosocket_agent.business.office import Office, Rules
from audiosocket_agent.business.places import LIKELY
from audiosocket_agent.records import lookup
from audiosocket_agent.records.lookup import Row
from audiosocket_agent.records.names import CONTAINED
from audiosocket_agent.tools.function import tool
from audiosocket_agent.tools.registry import Tool, ToolError

SHOWN: Final = 5
"""Nobody remembers more that is read to them."""

NOT_FOUND: Final = (
    "No product of such a name is known. Say so; do not say that it is sold, or out of stock. Ask "
    "for another name of it."
)


def check_product_availability(office: Office, rules: Rules) -> Tool:
    @tool(timeout_s=5.0)
    async def check_product_availability(
        product: Annotated[str, Field(max_length=80)],
    ) -> dict[str, Any]:
        """Find out whether a product is in stock, and its price. Where several are like it, name them
        and let the caller choose.

        Args:
            product: What the caller calls it, with brand and size if they say so.
        """
        found = await office.read(lookup.alike(office.store, lookup.PRODUCTS, product, SHOWN))
        exact = bool(found) and found[0].likeness == 1
        least = CONTAINED if exact else LIKELY  # the size beside it is offered, too
        shown = [_told(each.row) for each in found if each.likeness >= least]
        if not shown:
            raise ToolError(NOT_FOUND)
        return {"products": shown, "exact": exact}

    return check_product_availability


def _told(row: Row) -> dict[str, Any]:
    told = {
        "name": row["name"],
        "in_stock": row["stock"] > 0,
        "stock": row["stock"],
        "unit": row["unit"],
        "price": say.money(row["price"]),
        "currency": row["currency"],
    }
    return told | {"note": row["note"]} if row["note"] else told
