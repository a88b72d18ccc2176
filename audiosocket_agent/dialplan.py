"""What to paste into `extensions.conf`, with this host's addresses and these agents' targets in it.

The subroutine itself ships as `asterisk/extensions_audiosocket.conf`; here is what only the host can
know: where the service listens, as the PBX has to dial it, and who may be transferred to.
"""

import contextlib
import socket
from collections.abc import Iterable
from typing import Final

from audiosocket_agent.addresses import WILDCARDS, is_loopback, joined, on_the_way_to
from audiosocket_agent.call.next_step import Target
from audiosocket_agent.drive import TARGETS
from audiosocket_agent.settings import Settings

NOBODY: Final = "Congestion()"
"""What a target does until the administrator says better: the caller is taken back."""

_AFAR: Final = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}  # RFC 5737, 3849

_HEAD: Final = """\
; For extensions.conf. Put a copy of extensions_audiosocket.conf beside it first: without that file
; Asterisk says "Dialplan reloaded." and keeps the old one. Then: asterisk -rx "dialplan reload"

; Where the agent is. If there is a [globals] already, these two lines belong into it.
[globals]
AGENT_ADDRESS={address}
AGENT_FASTAGI={fastagi}

#include "extensions_audiosocket.conf"
"""

_NUMBER: Final = """\
; Which number reaches the agent: in the context that your callers arrive in, under the number that
; they dial. After the agent the dialplan goes on, OK where the call is done with; if it is not, put
; a queue, a mailbox or a colleague in place of Congestion().
[from-internal]
"""

_SUBROUTINE: Final = """\
exten => 1000,1,Gosub(agent,s,1({agent}))
 same => n,GotoIf($["${{GOSUB_RETVAL}}" = "OK"]?done)
 same => n,Congestion()
 same => n(done),Hangup()
"""

_ONE_LINE: Final = """\
exten => 1000,1,AGI(agi://${{AGENT_FASTAGI}}/run?agent={agent})
 same => n,GotoIf($["${{AGENT_STATUS}}" = "OK"]?done)
 same => n,Congestion()
 same => n(done),Hangup()
"""

_TARGETS: Final = f"""\
; Whom the agent may transfer to, and nobody else. Say how each is reached: take the ; off the Dial,
; and the line after it away.
[{TARGETS}]
"""


def lines(
    settings: Settings, targets: Iterable[Target], *, agent: str = "", one_line: bool = False
) -> str:
    """The dialplan for these settings and for the targets of all agents, ready to paste.

    Callers are put through to `agent`, else to the default one; `one_line` has the service drive the
    call by FastAGI in place of the subroutine.
    """
    name = agent or settings.default_agent
    head = _HEAD.format(
        address=agent_address(settings),
        fastagi=fastagi_address(settings),
    )
    if one_line:
        number = _ONE_LINE.format(agent=name)
    else:
        alternative = _ONE_LINE.format(agent=name).splitlines()[:2]
        number = _SUBROUTINE.format(agent=name) + "; or, with the service as the driver:\n"
        number += "".join(f";{line}\n" for line in alternative)
    return "\n".join([head, _NUMBER + number, _TARGETS + _targets(targets)])


def agent_address(settings: Settings) -> str:
    """AGENT_ADDRESS: where the PBX finds our AudioSocket."""
    return _dialled(settings.audiosocket.host, settings.audiosocket.port, settings.ami.host)


def fastagi_address(settings: Settings) -> str:
    """AGENT_FASTAGI: where the PBX finds our FastAGI."""
    return _dialled(settings.fastagi.host, settings.fastagi.port, settings.ami.host)


def _dialled(host: str, port: int, pbx: str) -> str:
    if host in WILDCARDS:
        host = _own_address(socket.AF_INET6 if host == "::" else socket.AF_INET, pbx)
    return joined(host, port)


def _own_address(family: socket.AddressFamily, pbx: str) -> str:
    """This host's address on the way to the PBX; if that is said to be here, on the way out."""
    for peer in [_AFAR[family]] if is_loopback(pbx) else [pbx, _AFAR[family]]:
        with contextlib.suppress(OSError):
            return on_the_way_to(peer, family)
    return "::1" if family == socket.AF_INET6 else "127.0.0.1"  # no network: the PBX is here


def _targets(targets: Iterable[Target]) -> str:
    by_extension: dict[str, list[Target]] = {}
    for target in targets:
        known = by_extension.setdefault(target.extension, [])
        if target not in known:
            known.append(target)
    if not by_extension:
        return "; (no agent has a target yet)\n"
    return "\n".join(_target(extension, who) for extension, who in by_extension.items())


def _target(extension: str, who: list[Target]) -> str:
    told = [f"; {' '.join(_described(target).split())}\n" for target in who]
    return (
        f"{''.join(told)};exten => {extension},1,Dial(PJSIP/{who[0].name})\n"
        f"exten => {extension},1,{NOBODY}\n"
    )


def _described(target: Target) -> str:
    briefed = " (is told who calls, and may refuse)" if target.attended else ""
    about = f": {target.description}" if target.description not in ("", target.name) else ""
    return f"{target.name}{about}{briefed}"
