"""The PBX: what to tell it, what is wrong with it, and a call by it."""

import asyncio
import json
import signal
import socket
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from audiosocket_agent import config
from audiosocket_agent.addresses import joined, split
from audiosocket_agent.call.info import VARIABLE
from audiosocket_agent.cli.calls import socket_of
from audiosocket_agent.cli.options import AsJson, ConfigFile
from audiosocket_agent.errors import ConfigError, StartError
from audiosocket_agent.settings import Settings

if TYPE_CHECKING:
    from audiosocket_agent.call.next_step import Target
    from audiosocket_agent.outbound import Announcement, Order, Result
    from audiosocket_agent.pbx.ami import Ami

AgentName = Annotated[str, typer.Option(help="Which agent; else DEFAULT_AGENT.")]

EXPECTED_LONGER_S: Final = 10.0
"""The service waits for a call longer than the phone rings: Asterisk tells late, or is lost."""


def dialplan(
    file: ConfigFile = None,
    agent: AgentName = "",
    one_line: Annotated[
        bool, typer.Option("--one-line", help="Let the service drive the call by FastAGI.")
    ] = False,
) -> None:
    """Print the lines for extensions.conf, with this host's addresses in them."""
    from audiosocket_agent.dialplan import lines

    settings = config.load_beside_the_service(file).settings
    _known_agent(settings, agent)
    typer.echo(lines(settings, _targets(settings), agent=agent, one_line=one_line), nl=False)


def doctor(file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Look at everything a call needs, and say what to do about what is wrong."""
    from audiosocket_agent.doctor import as_json as in_json
    from audiosocket_agent.doctor import as_text, examine, exit_code

    findings = asyncio.run(examine(file, targets=_targets, ami_login=_log_in))
    typer.echo(in_json(findings) + "\n" if as_json else as_text(findings), nl=False)
    raise typer.Exit(exit_code(findings))


def dial(
    number: Annotated[str, typer.Argument(help="Whom to call; OUTBOUND_ALLOW must match it.")],
    file: ConfigFile = None,
    agent: AgentName = "",
    var: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A fact of the call, for the agent; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Call a number and connect whoever answers with an agent; no number is dialled twice.

    Exit codes: 0 answered, 1 failed, 2 not allowed, 4 busy, 5 no answer, 6 may have rung.
    """
    from audiosocket_agent.outbound import Order

    settings = config.load_beside_the_service(file).settings
    outbound = settings.outbound
    order = Order(
        number,
        tuple(outbound.allow.split()),
        channel=outbound.channel,
        ring_s=outbound.timeout,
        caller_id=outbound.caller_id,
    )
    variables = dict(_variables(var or []))
    try:
        result = asyncio.run(_dial(settings, order, agent, variables))
    except asyncio.CancelledError:  # by SIGTERM
        raise KeyboardInterrupt from None
    if as_json:
        outcome = result.outcome.name.lower()
        typer.echo(
            json.dumps({"id": str(order.call_id), "outcome": outcome, "words": result.words})
        )
    else:
        typer.echo(result.words, err=result.outcome != 0)
    raise typer.Exit(result.outcome)


async def _dial(
    settings: Settings, order: "Order", agent: str, variables: dict[str, str]
) -> "Result":
    from audiosocket_agent.control.client import ask
    from audiosocket_agent.outbound import Announcement, place

    call_id = str(order.call_id)
    dialling = asyncio.current_task()
    assert dialling is not None
    # as asyncio does it for SIGINT: a phone that rings is hung up, too
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, dialling.cancel)

    async def announce() -> "Announcement":
        answer = await ask(
            socket_of(settings),
            {
                "do": "expect",
                "id": call_id,
                "agent": agent,
                "caller": order.number,
                "variables": variables,
                "ring_s": order.ring_s + EXPECTED_LONGER_S,
                "peer": await _address(settings.ami.host),
            },
        )
        return Announcement(answer["status"], answer["address"], _fastagi(settings, answer))

    async def withdraw() -> None:
        await ask(config.control_socket(settings), {"do": "withdraw", "id": call_id})

    return await place(
        order,
        lambda: _manager(settings),
        announce,
        withdraw,
        lambda words: typer.echo(words, err=True),
    )


def _fastagi(settings: Settings, answer: dict[str, Any]) -> str:
    """Where the dialplan finds the instance that has announced a call; a balancer does not know."""
    host, _ = split(answer["address"])
    return joined(host, settings.fastagi.port) if settings.instance and host else ""


async def _log_in(settings: Settings) -> None:
    async with _manager(settings) as manager:
        await manager.channels()  # which `dial` needs the right to ask for


def _manager(settings: Settings) -> "AbstractAsyncContextManager[Ami]":
    from audiosocket_agent.pbx.ami import Account, Ami

    ami = settings.ami
    if ami.secret is None:
        raise ConfigError(
            "AMI_SECRET is not set: it is the password of AMI_USERNAME in manager.conf"
        )
    return Ami.connect(Account(ami.host, ami.port, ami.username, ami.secret.get_secret_value()))


async def _address(host: str) -> str:
    """Of the PBX, as the service will see it."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise StartError(f"AMI_HOST {host} cannot be found: {error.strerror}") from None
    return str(found[0][4][0])


def _targets(settings: Settings) -> "list[Target]":
    from audiosocket_agent.roster import profiles

    return [target for agent in profiles(settings).values() for target in agent.targets]


def _known_agent(settings: Settings, agent: str) -> None:
    from audiosocket_agent.roster import profiles

    known = profiles(settings)
    if agent and agent not in known:
        raise typer.BadParameter(
            f"there is no agent {agent!r}; there are: {', '.join(sorted(known))}"
        )


def _variables(pairs: list[str]) -> Iterator[tuple[str, str]]:
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (equals and VARIABLE.fullmatch(name)):
            raise typer.BadParameter(f"--var {pair!r} is not KEY=VALUE, the key in capitals")
        yield name, value
