"""What errors say, and to whom."""

import errno
import os
import socket

import pytest

from audiosocket_agent.errors import AgentError, ConfigError, ModelError, PeerError, StartError


def test_every_error_of_ours_is_one_text() -> None:
    errors = [
        ConfigError("text"),
        StartError("text"),
        PeerError("code", "text"),
        ModelError("code", "text", retryable=True),
    ]
    for error in errors:
        assert isinstance(error, AgentError)
        assert str(error) == "text"


def test_what_can_be_counted_has_a_code() -> None:
    assert PeerError("no_uuid", "text").code == "no_uuid"
    error = ModelError("1011", "text", retryable=False)
    assert (error.code, error.retryable) == ("1011", False)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (
            OSError(errno.EADDRINUSE, "error while attempting to bind on address"),
            f"{os.strerror(errno.EADDRINUSE)}; stop the other program",
        ),
        (OSError(errno.EACCES, "error while attempting"), os.strerror(errno.EACCES)),
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "Name or service not known",
        ),
        (OSError("could not bind on any address"), "could not bind on any address"),
    ],
)
def test_an_address_that_cannot_be_used_says_why_and_what_to_do(error: OSError, why: str) -> None:
    said = StartError.listen("METRICS_PORT", "::1", 9100, error, "stop the other program")
    assert str(said) == f"METRICS_PORT ::1:9100 cannot be used: {why}"
