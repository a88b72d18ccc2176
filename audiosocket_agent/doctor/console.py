"""Asterisk's console, by the command that administrators use: `asterisk -rx "core show version"`."""

import asyncio
import os
import shlex
import signal
from contextlib import suppress
from typing import Final

RX_SECONDS: Final = 5.0
"""For one command; a PBX under load answers within 10 ms."""


class NoConsole(Exception):
    """There was no answer. `cure` says what to do."""

    def __init__(self, why: str, cure: str) -> None:
        super().__init__(why)
        self.cure = cure


class Console:
    """How to reach it; the words are those of [asterisk] command."""

    def __init__(self, command: str) -> None:
        self._command = command

    async def rx(self, command: str) -> str:
        """What Asterisk says to a command; it says so in words where it has failed. Raises
        NoConsole."""
        try:
            words = [*shlex.split(self._command), "-rx", command]
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # so that what it has started can be ended with it
            )
        except (OSError, ValueError) as error:
            why = f"{self._command}: {getattr(error, 'strerror', None) or error}"
            raise NoConsole(
                why, "install Asterisk, or set ASTERISK_COMMAND to how its console is reached"
            ) from None
        try:
            async with asyncio.timeout(RX_SECONDS):
                said, complaint = await process.communicate()
        except TimeoutError:
            raise NoConsole(
                f"{self._command} does not answer within {RX_SECONDS:.0f} s",
                "see Asterisk's log: it hangs; or ASTERISK_COMMAND waits for a password",
            ) from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode:
            last = complaint.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise NoConsole(
                last or f"{self._command} failed with {process.returncode}",
                "systemctl start asterisk; if it runs, run the doctor as root, or see ASTERISK_COMMAND",
            )
        return said.decode("utf-8", "replace")

    async def has(self, extension: str, context: str) -> str:
        """What the dialplan does there, patterns and included contexts counted; empty: there is
        no such extension. Raises NoConsole."""
        said = await self.rx(f"dialplan show {extension}@{context}")
        return "" if said.startswith("There is no existence of") else said
