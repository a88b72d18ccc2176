"""The built-in tools of a business: they look things up for a caller, and write things down.

What a caller may have is decided here, in code, from what the call has proven; a model that is talked
into asking for more gets an answer that it can speak about, and nothing else. Arguments come from a
caller's words: none of them is a number to be dialled, an address to be written to, or a proof. Nor is
the number that a caller shows, which can be forged: nothing is told on that alone.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from audiosocket_agent.business import messages, orders, products, promises, supply
from audiosocket_agent.business.account import AccountCheck
from audiosocket_agent.business.bills import get_bill
from audiosocket_agent.business.office import Office, Rules
from audiosocket_agent.business.samples import sample
from audiosocket_agent.business.sms import SmsGateway
from audiosocket_agent.tools.registry import Tool

__all__ = [
    "ACCOUNT_TOOLS",
    "NAMES",
    "AccountCheck",
    "Office",
    "Rules",
    "SmsGateway",
    "sample",
    "tools",
]

ACCOUNT_TOOLS: Final = ("get_bill",)
"""Those that tell something of an account, and need `Rules.account`."""
_SEND_SMS: Final = "send_sms"

_MAKE: Final[Mapping[str, Callable[[Office, Rules], Tool]]] = {
    "create_ticket": promises.create_ticket,
    "schedule_callback": promises.schedule_callback,
    "lookup_order": orders.lookup_order,
    "check_product_availability": products.check_product_availability,
    "report_outage": promises.report_outage,
    "outage_status": supply.outage_status,
    "request_connection": promises.request_connection,
    "register_complaint": promises.register_complaint,
    "complaint_status": promises.complaint_status,
    "service_area": supply.service_area,
    "weather": supply.weather,
}

NAMES: Final = (*_MAKE, *ACCOUNT_TOOLS, _SEND_SMS)
"""Of all that there are."""


def tools(names: Iterable[str], office: Office, rules: Rules) -> list[Tool]:
    """The tools of these names, in their order; send_sms only where there is a gateway, and what is
    not in NAMES is somebody else's. Raises ValueError for one of ACCOUNT_TOOLS where nothing can prove
    an account."""
    made = []
    for name in names:
        if name in ACCOUNT_TOOLS:
            if rules.account is None:
                raise ValueError(f"{name} needs a check of the account")
            made.append(get_bill(office, rules.account, rules))
        elif name == _SEND_SMS and office.sms is not None:
            made.append(messages.send_sms(office, office.sms))
        elif name in _MAKE:
            made.append(_MAKE[name](office, rules))
    return made
