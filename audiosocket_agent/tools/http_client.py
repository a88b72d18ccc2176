"""The one HTTP client of the process: no redirects, no proxies, no cookies, nothing without a bound.

httpx2 comes with google-genai. What it would take from the environment (proxies, .netrc) is left out,
and so is what it would carry from one caller's request to another's (cookies).
"""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final, Self

import httpx2

MAX_BODY_BYTES: Final = 256 * 1024
RETRY_AFTER_S: Final = 0.2
_WORTH_ANOTHER: Final = frozenset({502, 503, 504})
"""Of a gateway: who is behind it may be there the next time."""


class HttpError(Exception):
    """There is no answer that can be used. The text is for an operator and has no secret in it."""


class Unanswered(HttpError):
    """Whether the request was carried out is not known."""


@dataclass(frozen=True, slots=True, repr=False)  # it has secrets
class Request:
    """`json` and `form`: the body, if there is one, and how it is written."""

    method: str
    url: str
    headers: Mapping[str, str]
    query: Mapping[str, Any]
    json: Any = None
    form: Mapping[str, str] | None = None


class HttpClient:
    """Shared by all webhooks; a context manager."""

    def __init__(self) -> None:
        for name in ("httpx2", "httpcore2"):  # they log URLs, which may hold a key
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = httpx2.AsyncClient(
            verify=ssl.create_default_context(),
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # the whole of an attempt has one
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={
                "User-Agent": "audiosocket-agent",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def fetch(
        self, request: Request, *, attempts: int, timeout_s: float
    ) -> tuple[int, bytes]:
        """The status and body of the answer, after as many attempts as that needs. The first may take
        all of `timeout_s`, others what is left of it. Raises HttpError."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s

        def was_last() -> bool:
            return not attempts or loop.time() + RETRY_AFTER_S >= until

        while True:
            attempts -= 1
            try:
                status, body = await self._once(request, until - loop.time())
                if status not in _WORTH_ANOTHER or was_last():
                    return status, body
            except Unanswered:
                if was_last():
                    raise
            await asyncio.sleep(RETRY_AFTER_S)

    async def _once(self, request: Request, timeout_s: float) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask(request)
        except TimeoutError:
            raise Unanswered(f"no answer within {timeout_s:.1f} s") from None
        except httpx2.ConnectError as error:  # its text is the system's, or that of TLS
            raise Unanswered(f"cannot be reached: {error}") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise Unanswered(type(error).__name__) from None

    async def _ask(self, request: Request) -> tuple[int, bytes]:
        async with self._client.stream(
            request.method,
            request.url,
            headers=dict(request.headers),
            params=dict(request.query),
            json=request.json,
            data=request.form,
        ) as response:
            body = bytearray()
            async for chunk in response.aiter_raw():  # what is packed stays so, and is no JSON
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise HttpError(f"the answer has more than {MAX_BODY_BYTES // 1024} KiB")
            return response.status_code, bytes(body)
