"""A messaging gateway on the loopback: takes what it is sent, and remembers it."""

import asyncio
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl

HOST: Final = "127.0.0.1"
PASSWORD: Final = "gateway-password"
MAX_BODY_BYTES: Final = 64 * 1024


class Gateway:
    """Runs for as long as the `async with` block lasts."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []
        """The fields of every message, of a form or of JSON."""
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()

    def to(self, numbers: str) -> list[Mapping[str, Any]]:
        """Messages to any number that is in this text."""
        return [each for each in self.sent if str(each.get("To", ""))[-10:] in numbers]

    @property
    def url(self) -> str:
        port = self._server.sockets[0].getsockname()[1]
        return f"http://{HOST}:{port}/messages"

    @property
    def settings(self) -> dict[str, str]:
        """How the service finds it."""
        return {
            "SMS_URL": self.url,
            "SMS_SENDER": "SHOP",
            "SMS_USERNAME": "gateway",
            "SMS_PASSWORD": PASSWORD,
        }

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            length = min(int(fields.get("content-length", "0")), MAX_BODY_BYTES)
            body = (await reader.readexactly(length)).decode()
            if "json" in fields.get("content-type", ""):
                self.sent.append(json.loads(body))
            else:
                self.sent.append(dict(parse_qsl(body)))
            answer = b'{"sid": "SM%d"}' % len(self.sent)
            head_out = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
            writer.write(
                head_out + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # who left does not want an answer
        finally:
            writer.close()
