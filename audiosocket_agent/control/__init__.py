"""A running service, asked by its operator over a Unix socket: one line of JSON in, one out.

    {"do": "status"}                               the process: readiness, calls, ports, memory
    {"do": "list"}                                 the calls that are up, the oldest first
    {"do": "show", "id": "0b6f"}                   one of them
    {"do": "hangup", "id": "0b6f"}                 end it politely
    {"do": "transfer", "id": "0b6f", "target": …}  pass the caller on
    {"do": "expect", "id": UUID, …}                a call is about to come: dial the model for it
    {"do": "withdraw", "id": UUID}                 it will not come

An answer is {"ok": true, …} or {"ok": false, "error": "one line"}. The socket belongs to the user of
the service, mode 0600: whoever may open it may ask, and sees who calls. It has no part in calls, so a
service that is full, draining or without its model answers as ever.
"""

from typing import Final

LINE_BYTES: Final = 64 * 1024
"""The longest request."""

PATH_BYTES: Final = 107
"""The longest path of a Unix socket (sun_path in unix(7), less its closing zero)."""
