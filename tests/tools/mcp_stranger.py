"""An MCP server of the older kind that does what it likes: tools as a file has them, and whatever an
argument tells it to do."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def say(**message: Any) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def main(tools: Path, *ways: str) -> None:
    if "stays" in ways:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "prints" in ways:
        print("Welcome to the stranger!\n{not json", flush=True)
        print("token=s3cr3t-t0k3n \x1b[2J", "y" * 100_000, file=sys.stderr, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        number, method = asked.get("id"), asked["method"]
        if method == "initialize":
            version = asked["params"]["protocolVersion"]
            info = {"name": "stranger", "version": "0"}
            offers: dict[str, Any] = {"tools": {"listChanged": True}}
            result = {"protocolVersion": version, "capabilities": offers, "serverInfo": info}
            say(id=number, result=result)
        elif method == "tools/list":
            say(id=number, result={"tools": json.loads(tools.read_text())})
        elif method == "tools/call":
            answer(number, asked["params"])
        elif number is not None:
            say(id=number, error={"code": -32601, "message": "no such method"})
    while "stays" in ways:
        time.sleep(1)


def answer(number: int, params: dict[str, Any]) -> None:
    way = params.get("arguments", {}).get("way", "")
    if way == "line":  # longer than anybody reads
        print("z" * 3_000_000, flush=True)
    elif way == "changed":
        say(method="notifications/tools/list_changed")
    elif way == "deaf":
        time.sleep(1000)
    elif way == "pid":
        say(id=number, result={"content": [{"type": "text", "text": str(os.getpid())}]})
        return
    results: dict[str, Any] = {
        "picture": {"content": [{"type": "image", "data": "aGk=", "mimeType": "image/png"}]},
        "secret": {"content": [{"type": "text", "text": "it is s3cr3t-t0k3n"}]},
        "nonsense": {"content": "nonsense"},
        "deep": {"content": [], "structuredContent": {"a": "s3cr3t-t0k3n", "s3cr3t-t0k3n": [1]}},
    }
    if way in ("invalid", "broken"):
        code = -32602 if way == "invalid" else -32603
        say(id=number, error={"code": code, "message": "s3cr3t-t0k3n\nis wrong"})
    else:
        say(id=number, result=results.get(way, {"content": [{"type": "text", "text": "fine"}]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
