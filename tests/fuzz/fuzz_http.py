"""Bytes nobody thought of, against the pages of port 9100: `make fuzz`.

Whatever head comes, the answer is one whole HTTP response that closes the connection; nothing of what
was asked is in it; and HEAD is answered as GET is, without the body.
"""

import re
import sys

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["audiosocket_agent.health"]):
    from audiosocket_agent.health import HealthServer

from audiosocket_agent.metrics import Metrics

STATUS = {
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 404 Not Found",
    b"HTTP/1.1 405 Method Not Allowed",
    b"HTTP/1.1 503 Service Unavailable",
}
HEADER = re.compile(rb"(Content-Type|Content-Length|Allow|Connection): [\x20-\x7e]+")
END = b"\r\n\r\n"
METRICS = Metrics()
READY = HealthServer(METRICS, lambda: "")
DRAINING = HealthServer(METRICS, lambda: "draining")


def split(answer: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Status line, headers and body."""
    head, end, body = answer.partition(END)
    assert end, "no end of the head"
    status, *lines = head.split(b"\r\n")
    assert status in STATUS, "a status of nobody's"
    assert all(HEADER.fullmatch(line) for line in lines), "a header of nobody's"
    headers = dict(line.split(b": ", 1) for line in lines)
    assert len(headers) == len(lines), "a header twice"
    assert headers[b"Connection"] == b"close", "it stays open"
    return status, headers, body


def one_input(data: bytes) -> None:
    """One input of the fuzzer; its first byte says which server is asked."""
    server = DRAINING if data[:1] == b"\x01" else READY
    asked = data[1:].partition(END)[0] + END  # as it is read: to the first empty line
    status, headers, body = split(server.respond(asked))
    method = asked.partition(b"\r\n")[0].partition(b" ")[0]
    assert int(headers[b"Content-Length"]) == len(body) or method == b"HEAD", "another length"
    if status.endswith(b"Allowed"):
        assert method not in (b"GET", b"HEAD"), "a method that is allowed"
    elif method == b"GET":
        again, alike, nothing = split(server.respond(b"HEAD" + asked[len(method) :]))
        assert (again, alike.keys(), nothing) == (status, headers.keys(), b""), "HEAD is not as GET"


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
