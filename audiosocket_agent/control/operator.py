"""What an operator may ask of a running service, and what is answered."""

import ipaddress
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from audiosocket_agent import __version__, log
from audiosocket_agent.addresses import WILDCARDS, joined, on_the_way_to
from audiosocket_agent.call.events import Outcome
from audiosocket_agent.call.info import (
    MAX_VARIABLE_CHARS,
    MAX_VARIABLES,
    VARIABLE,
    CallInfo,
    Direction,
)
from audiosocket_agent.clock import monotonic
from audiosocket_agent.heartbeat import resident_bytes
from audiosocket_agent.server import Server
from audiosocket_agent.session import Session

MIN_PREFIX_CHARS: Final = 4
MAX_RING_S: Final = 600.0
BY_OPERATOR: Final = "by an operator"

_MIB: Final = 2**20
_NAMED: Final = 5  # calls named in an error
_SHOWN_CHARS: Final = 60  # of a value that is wrong

_log = log.get(__name__)

Request = Mapping[str, Any]
Answer = dict[str, Any]


class Refused(Exception):
    """A request that cannot be met; the text says why in one line."""


class Operator:
    """Answers for one server. `facts` are what `status` adds to what it finds out itself. `host` and
    `port` are where AudioSocket listens; an empty host or a wildcard is every address of ours."""

    def __init__(
        self,
        server: Server,
        facts: Mapping[str, Any],
        host: str,
        port: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._server = server
        self._facts = facts
        self._host = host
        self._port = port
        self._clock = clock
        self._began_at = clock()

    def answer(self, line: bytes) -> Answer:
        """The answer to one line, whatever is in it. Does not wait."""
        try:
            return {"ok": True, **self._do(_request(line))}
        except Refused as refused:
            return {"ok": False, "error": str(refused)}
        except Exception:  # noqa: BLE001 - a fault of ours: told, logged, and the end of nothing
            _log.exception("control request failed")
            return {"ok": False, "error": "the service has failed at this; its log says how"}

    def _do(self, request: Request) -> Answer:
        name = _text(request, "do")
        known = _REQUESTS.get(name)
        if known is None:
            raise Refused(f"unknown request {_shown(name)}; there are: {_names(_REQUESTS)}")
        if missing := sorted(known.needs - request.keys()):
            raise Refused(f"{name} needs {missing[0]}")
        if unknown := sorted(request.keys() - known.needs - known.takes - {"do"}):
            raise Refused(f"{name} knows nothing of {_shown(unknown[0])}")
        return known.perform(self, request)

    # -- the process ---------------------------------------------------------------------------

    def _status(self, request: Request) -> Answer:
        server = self._server
        why = server.not_ready()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "uptime_s": round(self._clock() - self._began_at, 1),
            "ready": not why,
            "not_ready": why,
            "draining": server.draining,
            "calls": server.calls,
            "max_calls": server.max_calls,
            "agents": sorted(server.plans),
            "memory_mib": round(resident_bytes() / _MIB, 1),
            "cpu_s": round(time.process_time(), 2),
            **self._facts,
        }

    # -- calls that are up ---------------------------------------------------------------------

    def _list(self, request: Request) -> Answer:
        return {"calls": [session.describe() for session in self._server.sessions()]}

    def _show(self, request: Request) -> Answer:
        session = self._find(request)
        return {
            "call": {
                **session.describe(),
                "caller_name": session.info.caller_name,
                "variables": dict(session.info.variables),
                "targets": sorted(session.plan.targets),
            }
        }

    def _hangup(self, request: Request) -> Answer:
        session = self._find(request)
        _log.info("asked by an operator", do="hangup", call=session.id)
        session.end(Outcome.OPERATOR_HANGUP)
        return {"id": session.id}

    def _transfer(self, request: Request) -> Answer:
        session = self._find(request)
        name = _text(request, "target")
        target = session.plan.targets.get(name)
        if target is None:
            there_are = _names(session.plan.targets) or "none"
            raise Refused(f"there is no target {_shown(name)} in this call; there are: {there_are}")
        if not session.transfer(target, BY_OPERATOR, announced=False):
            state = session.describe()["state"]
            raise Refused(f"the call is {state}: there is no conversation to pass on")
        _log.info("asked by an operator", do="transfer", call=session.id, target=name)
        return {"id": session.id, "target": name}

    def _find(self, request: Request) -> Session:
        """The call whose UUID begins so."""
        prefix = _text(request, "id").lower()
        if len(prefix) < MIN_PREFIX_CHARS:
            raise Refused(f"id needs {MIN_PREFIX_CHARS} characters or more, not {_shown(prefix)}")
        found = [session for session in self._server.sessions() if session.id.startswith(prefix)]
        match found:
            case [session]:
                return session
            case []:
                raise Refused(f"no call {_shown(prefix)} is up")
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        named = ", ".join(session.id for session in found[:_NAMED])
        raise Refused(f"{_shown(prefix)} is the beginning of {named}{more}")

    # -- calls that are to come ----------------------------------------------------------------

    def _expect(self, request: Request) -> Answer:
        agent = _text(request, "agent", "")
        if agent and agent not in self._server.plans:
            there_are = _names(self._server.plans)
            raise Refused(f"there is no agent {_shown(agent)}; there are: {there_are}")
        info = CallInfo(
            caller=_text(request, "caller", ""),
            variables=_variables(request),
            direction=Direction.OUTBOUND,
        )
        address, peer = self._meet(_text(request, "peer", "127.0.0.1"))
        call_id, ring_s = _call_id(request), _ring(request)
        status = self._server.expect(call_id, peer=peer, agent=agent, info=info, ring_s=ring_s)
        return {"status": status, "address": address}

    def _withdraw(self, request: Request) -> Answer:
        self._server.withdraw(_call_id(request))
        return {}

    def _meet(self, peer: str) -> tuple[str, str]:
        """Where a PBX at `peer` is to connect, and the address it will come from: on one host that
        depends on where it connects to, whatever it is called."""
        try:
            pbx = ipaddress.ip_address(peer)
        except ValueError:
            raise Refused(f"peer should be an IP address, not {_shown(peer)}") from None
        host = self._host
        if host in WILDCARDS:
            here = "::1" if host == "::" else "127.0.0.1"
            host = here if pbx.is_loopback else _our_address(str(pbx))
        try:
            ours = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
        except ValueError:
            same_host = False  # a name, whose address would have to be waited for
        else:
            same_host = pbx.is_loopback or ours.is_loopback
        return joined(host, self._port), _our_address(str(ours)) if same_host else str(pbx)


class _Known(NamedTuple):
    """A request: what performs it, and its fields besides `do`."""

    perform: Callable[[Operator, Request], Answer]
    needs: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset()


_REQUESTS: Final = {
    "status": _Known(Operator._status),
    "list": _Known(Operator._list),
    "show": _Known(Operator._show, frozenset({"id"})),
    "hangup": _Known(Operator._hangup, frozenset({"id"})),
    "transfer": _Known(Operator._transfer, frozenset({"id", "target"})),
    "expect": _Known(
        Operator._expect,
        frozenset({"id"}),
        frozenset({"agent", "caller", "variables", "ring_s", "peer"}),
    ),
    "withdraw": _Known(Operator._withdraw, frozenset({"id"})),
}


# -- fields of a request ---------------------------------------------------------------------------


def _request(line: bytes) -> Request:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise Refused('a request is a line with one JSON object, as {"do": "status"}')
    return request


def _text(request: Request, name: str, default: object = None) -> str:
    value = request.get(name, default)
    if not isinstance(value, str):
        raise Refused(f"{name} should be a text, not {_shown(value)}")
    return _bounded(name, value)


_JOINERS: Final = dict.fromkeys((0x200C, 0x200D))
"""Parts of words in Hindi and Bengali, as of a customer's name."""


def _bounded(name: str, value: str) -> str:
    if len(value) > MAX_VARIABLE_CHARS:
        raise Refused(f"{name} has more than {MAX_VARIABLE_CHARS} characters")
    bare = value.translate(_JOINERS)
    if not bare.isprintable():  # half a surrogate pair, too, which no log could take
        raise Refused(f"{name} has characters that cannot be shown: {_shown(value)}")
    return value


def _call_id(request: Request) -> uuid.UUID:
    text = _text(request, "id")
    try:
        return uuid.UUID(text)
    except ValueError:
        raise Refused(f"id should be a UUID, not {_shown(text)}") from None


def _variables(request: Request) -> dict[str, str]:
    given = request.get("variables", {})
    if not isinstance(given, dict):
        raise Refused(f"variables should be names and texts, not {_shown(given)}")
    if len(given) > MAX_VARIABLES:
        raise Refused(f"there are more than {MAX_VARIABLES} variables")
    for name, value in given.items():
        if not VARIABLE.fullmatch(name):
            raise Refused(f"{_shown(name)} is no name of a variable: capitals, digits and _")
        if not isinstance(value, str):
            raise Refused(f"variable {name} should be a text, not {_shown(value)}")
        _bounded(f"variable {name}", value)
    return given


def _ring(request: Request) -> float | None:
    value = request.get("ring_s")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(f"ring_s should be seconds, not {_shown(value)}")
    if not 0 < value <= MAX_RING_S:
        raise Refused(f"ring_s should be over 0 and at most {MAX_RING_S:g}, not {_shown(value)}")
    return float(value)


def _shown(value: object) -> str:
    if isinstance(value, list | dict):  # of whatever depth
        return "a list" if isinstance(value, list) else "an object"
    text = ascii(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


def _names(mapping: Mapping[str, object]) -> str:
    return ", ".join(sorted(mapping))


# -- this host -------------------------------------------------------------------------------------


def _our_address(peer: str) -> str:
    try:
        return on_the_way_to(peer)
    except OSError as error:
        raise Refused(f"there is no way to {peer}: {error.strerror}") from None
