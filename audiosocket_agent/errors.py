"""Every error this program raises on purpose, and whose fault it is.

AgentError
├── ConfigError      ours: a setting cannot be used                (exit code 3)
├── StartError       ours: a port is taken, a file is missing      (exit code 1)
├── ControlError     ours: no service is there, or it says no      (control/client; exit code 1)
├── AmiError         the PBX's: its manager refused, or was lost   (pbx/ami)
├── PeerError        the PBX's: it broke the AudioSocket protocol  (ends that call only)
└── ModelError       the model's: it could not be reached, or left (ends that call only)
"""

import errno
import os


class AgentError(Exception):
    """Base of all errors below; its text is one line for an operator."""


class ConfigError(AgentError):
    """A setting is unknown or unusable. The text names it, where it came from and what fits."""


class StartError(AgentError):
    """The service cannot start. The text says what to do."""

    @classmethod
    def listen(cls, setting: str, host: str, port: int, error: OSError, taken: str) -> "StartError":
        """`setting` gave an address that cannot be listened on; `taken` says what to do where
        another program has it."""
        # The event loop puts a sentence around the system's reason; a resolver's errno is negative.
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror or str(error)
        hint = f"; {taken}" if number == errno.EADDRINUSE else ""
        return cls(f"{setting} {host}:{port} cannot be used: {why}{hint}")


class PeerError(AgentError):
    """The AudioSocket peer sent something the protocol does not allow.

    `code` is a short fixed word, fit for a metric label; the text has the details.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class ModelError(AgentError):
    """The voice model could not be reached, refused the session, or was lost.

    `code` is a WebSocket close code, an HTTP status or a short fixed word, fit for a metric label;
    `retryable` says whether the same attempt may succeed if it is made again.
    """

    def __init__(self, code: str, text: str, *, retryable: bool) -> None:
        super().__init__(text)
        self.code = code
        self.retryable = retryable
