"""A pretend dialplan: Asterisk's side of FastAGI, as res_agi.c speaks it."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

HOST = "127.0.0.1"
FACTS = {
    "agi_channel": "PJSIP/phone-00000001",
    "agi_callerid": "5550100",
    "agi_calleridname": "unknown",
    "agi_extension": "1000",
    "agi_version": "22.10.1~dfsg+~cs6.15.60671435-1",
}


def head(script: str, facts: Mapping[str, str] = FACTS) -> bytes:
    """What Asterisk sends first."""
    lines = [
        "agi_network: yes",
        f"agi_network_script: {script}",
        f"agi_request: agi://{HOST}/{script}",
        *(f"{name}: {value}" for name, value in facts.items()),
    ]
    return ("\n".join(lines) + "\n\n").encode()


async def agi(port: int, script: str, facts: Mapping[str, str] = FACTS) -> dict[str, str]:
    """Run one AGI() line; returns the channel variables it has set."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(head(script, facts))
    variables: dict[str, str] = {}
    while line := (await reader.readline()).decode():
        match = re.fullmatch(r'SET VARIABLE "(\w+)" "((?:[^"\\]|\\.)*)"\n', line)
        assert match, line
        variables[match[1]] = re.sub(r"\\(.)", r"\1", match[2])
        writer.write(b"200 result=1\n")
    writer.close()
    return variables


Application = Callable[[list[str]], Awaitable[str]]
"""Runs a dialplan application with its arguments; returns the result of EXEC."""


@dataclass
class Line:
    """One AGI(agi://…/run) line: what it was told, what it has run."""

    applications: Mapping[str, Application]
    variables: dict[str, str] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    hung_up: bool = False
    """The caller has left: said once, before the next reply."""

    async def run(self, port: int, script: str, facts: Mapping[str, str] = FACTS) -> None:
        """Until the service closes the connection."""
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(head(script, facts))
        told = False
        while line := (await reader.readline()).decode():
            command, *words = _words(line)
            reply = await self._obey(command, words)
            if self.hung_up and not told:
                told = True
                writer.write(b"HANGUP\n")
            writer.write(reply.encode() + b"\n")
        writer.close()
        await writer.wait_closed()

    async def _obey(self, command: str, words: list[str]) -> str:
        match command, words:
            case "SET VARIABLE", [name, value]:
                self.variables[name] = value
            case "GET VARIABLE", [name]:
                value = self.variables.get(name, "")
                return f"200 result=1 ({value})" if value else "200 result=0"
            case "EXEC", [name, *arguments]:
                given = ",".join(arguments)
                self.ran.append(f"{name}({given})")
                run = self.applications.get(name)
                return f"200 result={await run(given.split(',')) if run else '0'}"
            case _:
                self.ran.append(command)
        return "200 result=1"


def _words(line: str) -> list[str]:
    """The command and its quoted arguments."""
    name = re.match(r"[A-Z ]+?(?= \"|\n)", line)
    assert name, line
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
    return [name[0], *(re.sub(r"\\(.)", r"\1", word) for word in words)]
