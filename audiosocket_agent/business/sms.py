"""The gateway that text messages go through: one POST of a form, as Twilio's API has it.

SmsGateway(client, "https://api.twilio.com/2010-04-01/Accounts/AC…/Messages.json",
           "+911204567890", "AC…", "the token", country="91")
"""

import base64
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from audiosocket_agent.errors import ConfigError
from audiosocket_agent.tools.hosts import is_loopback
from audiosocket_agent.tools.http_client import HttpClient, HttpError, Request, Unanswered

SEND_SECONDS: Final = 6.0
_E164: Final = re.compile(r"\+[1-9][0-9]{8,14}")
_MIN_NATIONAL_DIGITS: Final = 8
"""Of a telephone that takes messages; fewer are an extension, or a service's that is paid for."""
_NATIONAL_DIGITS: Final = 10
"""A number of more digits that begins with the country's has it already."""


def check_url(url: str) -> None:
    """Raises ConfigError for a URL that is none, or that would carry messages and password in the open.
    It is not repeated: there may be a password in it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:  # brackets of no address, a port that is none
        host = ""
    at_home = bool(host) and parts.scheme == "http" and is_loopback(host)
    if not host or parts.username or (parts.scheme != "https" and not at_home):
        raise ConfigError("SMS_URL should be https://HOST/..., without a user")


class SmsGateway:
    """Sends text messages. Raises ConfigError for a URL that would carry them, or the password, in the
    open.

    `sender` is a number or a name that the gateway knows. `country` is the code of numbers that are
    written without one; where it is "", these get no message. Only numbers of that country and of
    `others` (codes) get one; where neither is known, those of every country do.
    """

    def __init__(
        self,
        client: HttpClient,
        url: str,
        sender: str,
        user: str,
        password: str,
        *,
        country: str = "",
        others: Iterable[str] = (),
    ) -> None:
        check_url(url)
        self._client = client
        self._url = url
        self._sender = sender
        self._country = country.removeprefix("+")
        codes = (self._country, *(code.strip().removeprefix("+") for code in others))
        self._countries = tuple(filter(None, codes)) or ("",)
        credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {credentials}"}

    def address(self, number: str) -> str | None:
        """A number as the gateway takes it (E.164); None where it cannot get a message."""
        digits = re.sub(r"[ ().-]", "", number)
        if digits.startswith("00"):
            digits = f"+{digits[2:]}"
        elif not digits.startswith("+") and self._country:
            bare = digits.lstrip("0")
            has_country = len(bare) > _NATIONAL_DIGITS and bare.startswith(self._country)
            digits = f"+{bare}" if has_country else f"+{self._country}{bare}"
        if not _E164.fullmatch(digits):
            return None
        of = [code for code in self._countries if digits.startswith(f"+{code}")]
        national = len(digits) - 1 - len(max(of, key=len, default=digits))
        return digits if national >= _MIN_NATIONAL_DIGITS else None

    async def send(self, to: str, text: str) -> None:
        """Send a message, once: a gateway knows no two as the same. Raises HttpError; Unanswered where
        it may have been sent."""
        form = {"To": to, "From": self._sender, "Body": text}
        request = Request("POST", self._url, self._headers, {}, form=form)
        status, _ = await self._client.fetch(request, attempts=1, timeout_s=SEND_SECONDS)
        if status >= 500:
            raise Unanswered(f"status {status}")
        if not 200 <= status < 300:
            raise HttpError(f"status {status}")
