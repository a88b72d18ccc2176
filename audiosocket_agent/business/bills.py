"""Bills, to who has proven the account."""

from typing import Annotated, Any, Final

from pydantic import Field

from audiosocket_agent.business import say
from audiosocket_agent.business.account import AccountCheck
from audiosocket_agent.business.office import Office, Rules
from audiosocket_agent.business.proof import account_of
from audiosocket_agent.records import lookup
from audiosocket_agent.records.lookup import Row
from audiosocket_agent.tools.function import tool
from audiosocket_agent.tools.registry import CallControl, Tool
from audiosocket_agent.tools.schema import SECRET

MONTHS: Final = 3
"""Told one by one."""
ALL_MONTHS: Final = 60
"""Looked at for what is unpaid."""
UNPAID: Final = "unpaid"


def get_bill(office: Office, check: AccountCheck, rules: Rules) -> Tool:
    @tool(timeout_s=5.0)
    async def get_bill(
        call: CallControl,
        account: Annotated[str, Field(max_length=40)] = "",
        digits: Annotated[str, Field(max_length=40), SECRET] = "",
    ) -> dict[str, Any]:
        """Tell the latest bills of an account and what is to be paid. Needs the account's number and
        the caller's secret digits; once an account is proven in this call, neither.

        Args:
            account: The account's number.
            digits: The name under which collect_digits kept the secret digits, as secret-1. Never
                the digits themselves.
        """
        number = await account_of(call, office, check, account, digits)
        found = await office.read(lookup.bills(office.store, number, ALL_MONTHS))
        unpaid: dict[str, Any] = {}
        for row in found:
            if row["status"] == UNPAID:
                unpaid[row["currency"]] = unpaid.get(row["currency"], 0) + row["amount"]
        return {
            "bills": [_told(row, office, rules) for row in found[:MONTHS]],
            "to_pay": [
                {"amount": say.money(amount), "currency": currency}
                for currency, amount in unpaid.items()
            ],
        }

    return get_bill


def _told(row: Row, office: Office, rules: Rules) -> dict[str, Any]:
    today = office.now().astimezone(rules.timezone).date()
    told = {
        "period": row["period"],
        "period_in_words": say.month(row["period"]),
        "amount": say.money(row["amount"]),
        "currency": row["currency"],
        "status": row["status"],
        "due_on": row["due_on"].isoformat(),
        "due_on_in_words": say.day(row["due_on"], today),
    }
    if row["status"] == UNPAID and row["due_on"] < today:
        told["overdue"] = True
    return told if row["units"] is None else told | {"units": row["units"]}
