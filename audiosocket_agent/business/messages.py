"""A text message to the telephone that is calling, and to no other.

Whoever calls may show a number that is not theirs, and the message comes from us: it carries no link, no
address and no telephone number that a stranger might be led by.
"""

import re
import string
import unicodedata
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import Field

from audiosocket_agent import log, masking
from audiosocket_agent.business.office import Office
from audiosocket_agent.business.sms import SmsGateway
from audiosocket_agent.records import lookup
from audiosocket_agent.tools.function import tool
from audiosocket_agent.tools.http_client import HttpError, Unanswered
from audiosocket_agent.tools.registry import CallControl, Tool, ToolError, ToolFailed

MAX_CHARS: Final = 320
"""Two messages of GSM letters, five of Devanagari."""
MAX_SENT: Final = 2
"""In one call."""
MAX_DIGITS: Final = 8
"""Without a letter between them: a ticket's number. A telephone number has more."""
MAX_A_DAY: Final = 5
"""To one number, in all its calls."""

NO_LINKS: Final = (
    "A message may have no link, no slash, no e-mail address and no number of more than 8 digits; two "
    "numbers have words between them. Write it so."
)
NOWHERE: Final = (
    "This caller's telephone cannot be sent a message: there is no number to send it to."
)
ENOUGH: Final = (
    "This telephone has been sent as many messages as one day may: nothing was sent. Tell the caller by "
    "voice."
)
REFUSED: Final = "The message was refused by the gateway; it was not sent."
UNCERTAIN: Final = (
    "Whether the message was sent is not known. Say so; do not send it again, and tell the caller by "
    "voice what stands in it."
)
_SENT: Final = "sms_keys"

_SIGN: Final = r"\s!-/:-@\[-`{-~"
_LINK: Final = re.compile(
    rf"[/\\@。]|www\.|\bdot\b|[\[({{]\.[\])}}]|\d(?:\.\d+){{3}}|[^{_SIGN}]\.[^\W\d_][^{_SIGN}]",
    re.IGNORECASE,
)
"""What a telephone makes a link of, or a reader an address. Signs of Devanagari are no letters to
Python, and stand in names of hosts all the same."""
_DAY: Final = re.compile(
    r"(?<![\d-])20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])(?![\d-])"
)

_log = log.get(__name__)


def send_sms(office: Office, gateway: SmsGateway) -> Tool:
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
        sent = lookup.sent(office.store, "send_sms", to, office.now() - timedelta(days=1))
        if await office.read(sent) >= MAX_A_DAY:
            raise ToolError(ENOUGH)
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
    # letters of twice the width are a link, too, and between them may be signs of none
    wide = unicodedata.normalize("NFKC", text)
    plain = "".join(char for char in wide if unicodedata.category(char) != "Cf")
    if _LINK.search(plain):
        return False
    return masking.longest(_bare(_DAY.sub(" ", plain))) <= MAX_DIGITS


def _bare(text: str) -> str:
    """Its words and digits, with a space for whatever is between them."""
    kept = ""
    for char in text:
        if (digit := unicodedata.digit(char, None)) is not None:
            kept += str(digit)
            continue
        kind = unicodedata.category(char)[0]
        is_vowel = kind == "M" and not kept.endswith((" ", *string.digits))
        kept += char if kind == "L" or is_vowel else " "
    return " ".join(kept.split())
