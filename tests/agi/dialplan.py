"""A pretend dialplan: Asterisk's side of FastAGI, as res_agi.c speaks it."""

import asyncio
import re
from collections.abc import Mapping

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
