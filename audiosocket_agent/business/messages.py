"""A text message to the telephone that is calling, and to no other.

Whoever calls may show a number that is not theirs, and the message comes from us: it carries no link, no
address and no telephone number that a stranger might be led by.
"""

import re
import unicodedata
from typing import Annotated, Any, Final

from pydantic import Field

from audiosocket_agent import log
from audiosocket_agent.business.sms import SmsGateway
from audiosocket_agent.tools.function import tool
from audiosocket_agent.tools.http_client import HttpError, Unanswered
from audiosocket_agent.tools.registry import CallControl, Tool, ToolError, ToolFailed

MAX_CHARS: Final = 320
"""Two messages of GSM letters, five of Devanagari."""
MAX_SENT: Final = 2
"""In one call."""
MAX_DIGITS: Final = 8
"""In a row: a ticket's number. A telephone number has more."""

NO_LINKS: Final = (
    "A message may have no link, no e-mail address and no number of more than 8 digits. Write it "
    "without."
)
NOWHERE: Final = (
    "This caller's telephone cannot be sent a message: there is no number to send it to."
)
REFUSED: Final = "The message was refused by the gateway; it was not sent."
UNCERTAIN: Final = (
    "Whether the message was sent is not known. Say so; do not send it again, and tell the caller by "
    "voice what stands in it."
)
_SENT: Final = "sms_keys"

_LINK: Final = re.compile(r"://|www\.|@|[^\W_]\.[^\W\d_]{2,}", re.IGNORECASE)
_DAY: Final = re.compile(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b")
_DIGITS: Final = re.compile(r"\d(?:[ ()-]*\d)*")

_log = log.get(__name__)


def send_sms(gateway: SmsGateway) -> Tool:
    @tool(timeout_s=8.0, max_uses=MAX_SENT)
    async def send_sms(
        call: CallControl, text: Annotated[str, Field(min_length=1, max_length=MAX_CHARS)]
    ) -> dict[str, Any]:
        """Send the caller a text message on the telephone they are calling from: a ticket's number, an
        order's status. Only where the caller wants it. No other number can be sent one.

        Args:
            text: The message, short, in the caller's language. No links and no telephone numbers.
        """
        if not is_harmless(text):
            raise ToolError(NO_LINKS)
        to = gateway.address(call.facts.get("caller", ""))
        if to is None:
            raise ToolError(NOWHERE)
        tried = call.notes.setdefault(_SENT, set())
        if call.key in tried:  # it is tried again, since nobody knows what became of it
            raise ToolError(UNCERTAIN)
        tried.add(call.key)
        try:
            await gateway.send(to, text)
        except HttpError as error:
            _log.warning("message not sent", reason=str(error))
            raise ToolFailed(UNCERTAIN if isinstance(error, Unanswered) else REFUSED) from None
        return {"output": "The message was sent to the telephone that is calling."}

    return send_sms


def is_harmless(text: str) -> bool:
    """Whether nobody is led anywhere by it."""
    plain = unicodedata.normalize("NFKC", text)  # wide letters are a link, too
    if _LINK.search(plain):
        return False
    numbers = _DIGITS.findall(_DAY.sub("", plain))
    return all(sum(char.isdecimal() for char in number) <= MAX_DIGITS for number in numbers)
