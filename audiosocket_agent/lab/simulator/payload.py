"""The parts of a client's message that are encoded: JSON, base64, and the rate in a MIME type."""

import binascii
from functools import lru_cache
from typing import Any, Final

import orjson

from audiosocket_agent.lab.simulator.schema import invalid

RATES_HZ: Final = range(4_000, 192_001)
_DEFAULT_RATE: Final = "16000"
_URLSAFE: Final = bytes.maketrans(b"-_", b"+/")


def decode(raw: bytes) -> dict[str, Any]:
    """A client's message. Raises SessionEnd (1007) if it is not a JSON object."""
    try:
        message = orjson.loads(raw)
    except orjson.JSONDecodeError:
        message = None
    if not isinstance(message, dict):
        raise invalid("Invalid JSON payload received. Unexpected token.")
    return message


def pcm_of(data: str) -> bytes:
    """Samples from base64, of either alphabet as protobuf's JSON has it; the SDK writes the
    URL-safe one. Raises SessionEnd (1007)."""
    try:
        pcm = binascii.a2b_base64(data.encode().translate(_URLSAFE), strict_mode=True)
    except binascii.Error:
        raise invalid(
            "Invalid value at 'realtime_input.audio.data' (TYPE_BYTES), Base64 decoding failed"
        ) from None
    if len(pcm) % 2:
        raise invalid("Request contains an invalid argument: audio of half a sample.")
    return pcm


@lru_cache(maxsize=64)
def rate_of(mime_type: str) -> int:
    """The rate of `audio/pcm;rate=8000`, in Hz. Raises SessionEnd (1007) for other audio."""
    kind, *parameters = (part.strip() for part in mime_type.split(";"))
    rate = dict(part.split("=", 1) for part in parameters if "=" in part).get("rate", _DEFAULT_RATE)
    if kind != "audio/pcm" or not rate.isdecimal() or int(rate) not in RATES_HZ:
        raise invalid(f"Request contains an invalid argument: mime_type {mime_type}.")
    return int(rate)
