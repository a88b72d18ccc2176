"""The model: the way to its host, the time there, and a session that is really opened.

Whether the certificate is good is left to the session, which is set up by the very client that
callers use; the look at the host before it only says how far one gets, and what time it is there.
"""

import asyncio
import os
import socket
import ssl
import urllib.request
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

from audiosocket_agent.doctor.finding import Finding, failed, ok, skipped
from audiosocket_agent.doctor.host import Host
from audiosocket_agent.errors import ModelError, StartError
from audiosocket_agent.model.base import SessionSetup
from audiosocket_agent.service import bare_model
from audiosocket_agent.settings import Gemini

HOST_SECONDS: Final = 6.0
SESSION_SECONDS: Final = 12.0
CLOCK_SECONDS: Final = 60.0
"""How far the clock may be off: beyond it tokens, and soon certificates, are refused."""

_GEMINI_HOST: Final = "generativelanguage.googleapis.com"
_REGIONS: Final = ("us", "eu")  # Vertex AI's locations of several regions, with hosts of their own
_SETUP: Final = SessionSetup(instructions="Wait for the caller.", greeting="")


async def model(host: Host) -> list[Finding]:
    """The host, the clock, and a session."""
    settings = host.settings
    names = ("model host", "clock", "model session")
    if settings.model == "echo":
        return [skipped(name, "callers talk to the echo") for name in names]
    try:
        address, port = api_host(settings.gemini)
    except ValueError as error:
        cure = "unset it, or make it https://HOST[:PORT]"
        rest = [skipped(name, "no host is known") for name in names[1:]]
        return [failed(names[0], str(error), cure), *rest]
    if proxy := _proxy(address, port):
        way = [skipped(name, f"{address} is reached by the proxy {proxy}") for name in names[:2]]
    else:
        way = await _way(host, address, port)
    if way[0].state == "failed":
        return [*way, skipped("model session", f"{address} is not reached")]
    return [*way, await _session(host)]


def api_host(gemini: Gemini) -> tuple[str, int]:
    """Where the SDK connects: what its variable says, else Google's host. Raises ValueError."""
    variable = "GOOGLE_VERTEX_BASE_URL" if gemini.vertex else "GOOGLE_GEMINI_BASE_URL"
    given = os.environ.get(variable)
    if not given:
        return (_vertex_host(gemini.location) if gemini.vertex else _GEMINI_HOST), 443
    try:
        url = urlsplit(given)
        host, port = (url.hostname or "").encode("idna").decode(), url.port or 443
    except ValueError:
        host, port = "", 0
    if not host:
        raise ValueError(f"{variable} is no URL")
    return host, port


def _vertex_host(location: str) -> str:
    if location in ("", "global"):
        return "aiplatform.googleapis.com"
    if location in _REGIONS:
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{location}-aiplatform.googleapis.com"


def _proxy(host: str, port: int) -> str:
    """The proxy that the SDK's connection takes, without what it is paid with; or nothing."""
    if urllib.request.proxy_bypass(f"{host}:{port}"):
        return ""
    proxies = urllib.request.getproxies()
    found = next((proxies[kind] for kind in ("wss", "socks", "https") if kind in proxies), "")
    return found.rpartition("@")[2].rpartition("//")[2]


# ---- the way there -----------------------------------------------------------------------------


async def _way(host: Host, address: str, port: int) -> list[Finding]:
    name, place = "model host", f"{address}:{port}"
    began = monotonic()
    try:
        async with asyncio.timeout(HOST_SECONDS):
            reader, writer = await asyncio.open_connection(address, port, ssl=_unverified())
    except socket.gaierror as error:
        seen = f"{address} has no address: {error.strerror}"
        cure = (
            "see /etc/resolv.conf: this host resolves no names, or GOOGLE_GEMINI_BASE_URL is wrong"
        )
        return [failed(name, seen, cure), _no_clock()]
    except TimeoutError:
        cure = f"let this host out to {place} (TCP) in the firewall, or set https_proxy"
        return [failed(name, f"{place} does not answer", cure), _no_clock()]
    except ssl.SSLError as error:
        cure = "something between here and there answers in its place; see the firewall or proxy"
        return [failed(name, f"{place} speaks no TLS: {error.reason}", cure), _no_clock()]
    except OSError as error:
        cure = f"let this host out to {place} (TCP): see its routes and the firewall"
        why = os.strerror(error.errno) if error.errno else str(error)
        return [failed(name, f"{place}: {why}", cure), _no_clock()]
    took_ms = round((monotonic() - began) * 1000)
    try:
        clock = await _clock(host, reader, writer, address)
    finally:
        writer.transport.abort()
    return [ok(name, f"{place} answers in {took_ms} ms"), clock]


def _unverified() -> ssl.SSLContext:
    """Nothing secret is said on it. A clock that is far off makes every certificate look bad, and
    it is the clock that is asked for."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _clock(
    host: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str
) -> Finding:
    """This host's clock against the Date of an answer (RFC 9110), which is always UTC."""
    request = f"GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(HOST_SECONDS):
            writer.write(request.encode())
            head = await reader.readuntil(b"\r\n\r\n")
        there = parsedate_to_datetime(_header(head, "date")).timestamp()
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
        return _no_clock()
    ahead_s = round(host.now() - there)
    if abs(ahead_s) > CLOCK_SECONDS:
        return failed(
            "clock",
            f"is {abs(ahead_s)} s {'ahead' if ahead_s > 0 else 'behind'} of {address}",
            "timedatectl set-ntp true (or chronyc makestep), then see timedatectl",
        )
    return ok("clock", f"agrees with {address} ({ahead_s:+d} s)")


def _header(head: bytes, name: str) -> str:
    for line in head.decode("latin-1").split("\r\n"):
        field, _, value = line.partition(":")
        if field.lower() == name:
            return value.strip()
    return ""


def _no_clock() -> Finding:
    return skipped("clock", "nobody has told the time")


# ---- a session ---------------------------------------------------------------------------------


async def _session(host: Host) -> Finding:
    """Open one as for a caller, and close it; it costs nothing, as nothing is said."""
    name, gemini = "model session", host.settings.gemini
    began = monotonic()
    try:
        async with asyncio.timeout(SESSION_SECONDS):
            async with bare_model(host.settings).open(_SETUP, lambda _pcm, _rate_hz: None):
                took_s = monotonic() - began
    except StartError as error:
        return failed(name, str(error), "correct SSL_CERT_FILE, or the credentials of Vertex AI")
    except ModelError as error:
        said = str(error) if error.code in str(error) else f"{error.code}: {error}"
        # The SDK keeps a close frame's reason where the error's own text does not have it; it is
        # only read here, as nobody has masked it.
        cure = _cure(error.code, f"{error} {error.__cause__}", gemini)
        return failed(name, f"{gemini.live_model}: {said}", cure)
    except TimeoutError:
        seen = f"{gemini.live_model} was not ready within {SESSION_SECONDS:.0f} s"
        return failed(name, seen, _cure("timeout", "", gemini))
    return ok(name, f"{gemini.live_model} was ready in {took_s:.2f} s")


def _cure(code: str, text: str, gemini: Gemini) -> str:
    """What to do about a ModelError, by what the service was seen to say."""
    words = text.lower()
    if "certificate" in words:
        return (
            "SSL_CERT_FILE must name the authority that signed it: unset it for Google's own, set it "
            "to a proxy's that opens TLS; and see the clock"
        )
    if "api key" in words or code in ("401", "403"):
        return (
            "make a key for the Gemini API (aistudio.google.com/apikey), without restrictions that "
            "shut this host out, and put it into GEMINI_API_KEY"
        )
    if "quota" in words or "exhausted" in words or code == "429":
        return "see the plan and billing of the key's project: its quota is used up"
    if code in ("1008", "404"):
        return (
            "set GEMINI_LIVE_MODEL to a live model that this key may use, and GEMINI_API_VERSION to "
            "one that has it (v1beta has most)"
        )
    if code == "1007":
        return (
            "a setting of [gemini] is not for this model: voice, language, temperature, or its name"
        )
    if code == "credentials":
        return "gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS"
    if code == "timeout":
        return (
            f"try again; if it stays so, the way is slow: GEMINI_SETUP_TIMEOUT above "
            f"{gemini.setup_timeout:g} only helps callers who can wait"
        )
    if code == "unreachable":
        return "a firewall or proxy lets TLS through, but not this WebSocket: see https_proxy, no_proxy"
    return "the model's service has a fault: try again in a minute, and see its status page"
