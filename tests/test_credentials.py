"""Secrets by systemd's credentials: the service uses them, and whoever looks at it does not see them."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

from audiosocket_agent import config, wire
from tests.serving import EXAMPLE, HOST, environment, serving

PASSWORD = "a-password-of-nobody"
SECRETS = {
    "gemini_api_key": "AIza-a-key-that-nobody-may-see-00000000",
    "database_url": f"postgresql://agent:{PASSWORD}@127.0.0.1:1/none",
    "ami_secret": "a-secret-of-the-manager",
    "sms_password": "a-token-of-the-gateway",
    "erp-token": "a-token-of-the-shop",
}
AGENT = """
instructions = "You answer the telephone of a shop."
tools = ["orders"]
[webhooks.orders]
description = "Orders."
url = "http://127.0.0.1:1/orders"
headers = { Authorization = "Bearer secret:ERP_TOKEN" }
"""


def credentials(directory: Path) -> str:
    """As systemd lays them out."""
    for name, text in SECRETS.items():
        (directory / name).write_text(f"{text}\n", encoding="utf-8")
        (directory / name).chmod(0o400)
    return str(directory)


def seen_from_outside(pid: int) -> str:
    """What /proc and ps tell of a process and all it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    texts = [
        Path(f"/proc/{each}/{what}").read_bytes().decode(errors="replace")
        for each in (str(pid), *children)
        for what in ("environ", "cmdline")
    ]
    with contextlib.suppress(FileNotFoundError):  # procps may not be there
        done = subprocess.run(["ps", "axeww"], capture_output=True, text=True, check=True)
        texts += [line for line in done.stdout.splitlines() if line.split()[0] == str(pid)]
    return "\n".join(texts)


async def test_they_are_used_and_neither_the_environment_nor_ps_nor_a_log_has_them(
    tmp_path: Path,
) -> None:
    agents = tmp_path / "agents"
    agents.mkdir()
    (agents / "shop.toml").write_text(AGENT, encoding="utf-8")
    kept = tmp_path / "credentials"
    kept.mkdir()
    settings = {
        "CREDENTIALS_DIRECTORY": credentials(kept),
        "AGENTS_DIRECTORY": str(agents),
        "DEFAULT_AGENT": "shop",
        "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:1",
        "LOG_LEVEL": "DEBUG",
    }
    async with serving(**settings) as service:
        assert (await service.logged("ready"))["model"] == "gemini"
        await service.logged("records wait")
        _, writer = await asyncio.open_connection(HOST, service.port)
        writer.write(wire.identity(uuid.uuid4()))
        await service.logged("model not reached")
        writer.close()
        shown = await asyncio.to_thread(seen_from_outside, service.pid)
        assert "CREDENTIALS_DIRECTORY" in shown
        service.signal(signal.SIGTERM)
        service.signal(signal.SIGTERM)
        await service.exit_code()
        logged = json.dumps(service.log) + "\n".join(service.said)
    for secret in (*SECRETS.values(), PASSWORD):
        assert secret not in shown
        assert secret not in logged


async def test_what_is_in_force_is_printed_without_them(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "audiosocket_agent", "config", "print", "--config", str(EXAMPLE)),
        env=environment(CREDENTIALS_DIRECTORY=credentials(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    for name in config.SECRET_FILES:
        assert f'"{config.MASK}"  # credential {name}' in said
    for secret in (*SECRETS.values(), PASSWORD):
        assert secret not in said


def test_a_command_by_hand_finds_every_secret_of_the_service(tmp_path: Path) -> None:
    loaded = config.load(EXAMPLE, {"CREDENTIALS_DIRECTORY": credentials(tmp_path)})
    assert {name.lower() for name in loaded.origins} == set(config.SECRET_FILES)
    assert os.environ.get("CREDENTIALS_DIRECTORY") is None
