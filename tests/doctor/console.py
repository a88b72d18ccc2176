"""An `asterisk` command that answers -rx from a transcript of the real console.

console.txt was taken from Asterisk 22.10.1 with the shipped dialplan and what `dialplan` prints.
"""

import shlex
from pathlib import Path
from typing import Final

TRANSCRIPT: Final = Path(__file__).with_name("console.txt")

_SCRIPT: Final = """\
#!/bin/sh
[ "$1" = -rx ] || exit 2
answer=$(dirname "$0")/said/$2
[ -e "$answer.gone" ] && exit 1
[ -f "$answer" ] && exec cat "$answer"
echo "There is no existence of ${2#dialplan show } extension"
echo "Command '$2' failed."
"""

_NOT_RUNNING: Final = """\
#!/bin/sh
echo "Unable to connect to remote asterisk (does /var/run/asterisk/asterisk.ctl exist?)" >&2
exit 1
"""


class Console:
    """The command, in a directory of its own, and what it says."""

    def __init__(self, directory: Path) -> None:
        self._said = directory / "said"
        self._said.mkdir(parents=True)
        self._script = directory / "asterisk"
        self.command = shlex.quote(str(self._script))
        for entry in TRANSCRIPT.read_text().split("*CLI> ")[1:]:
            command, _, answer = entry.partition("\n")
            self.says(command, answer)
        self._is(_SCRIPT)

    def says(self, command: str, answer: str) -> None:
        (self._said / command).write_text(answer)

    def adds(self, command: str, line: str) -> None:
        with (self._said / command).open("a") as answer:
            answer.write(f"{line}\n")

    def loses(self, command: str, words: str) -> None:
        """The answer comes without the lines that have these words."""
        lines = (self._said / command).read_text().splitlines(keepends=True)
        kept = [line for line in lines if words not in line]
        assert len(kept) < len(lines)
        self.says(command, "".join(kept))

    def knows_no(self, place: str) -> None:
        """Nothing is in the dialplan at an extension@context."""
        (self._said / f"dialplan show {place}").unlink()

    def is_gone_before(self, command: str) -> None:
        """Asterisk ends between two commands."""
        (self._said / f"{command}.gone").touch()

    def is_not_running(self) -> None:
        self._is(_NOT_RUNNING)

    def hangs(self) -> None:
        self._is("#!/bin/sh\nsleep 60\n")

    def _is(self, script: str) -> None:
        self._script.write_text(script)
        self._script.chmod(0o755)
