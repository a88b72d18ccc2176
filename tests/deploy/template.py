"""The unit of many instances is the single one's text with a few lines changed: one text, so that what
shuts the one in shuts all of them in.

    python -m tests.deploy.template --write      after a change of deploy/audiosocket-agent.service
"""

import sys
from typing import Final

from tests.deploy.unit import TEMPLATE, UNIT

HEAD: Final = """\
# The unit of audiosocket-agent@1, @2, ...: several on one host, one process on one core each, for
# systemd 252 or newer. Written from audiosocket-agent.service, which says why its lines are as they are.
#
#     systemctl enable --now audiosocket-agent@{1..4}
#
# Number N takes AudioSocket on 9092 + N, FastAGI on 4573 + N and has its metrics on 9100 + N: HAProxy
# (haproxy.cfg) has the ports themselves. All have one configuration and the same secrets, and want one
# PostgreSQL: database_url. By it a call whose agent dies, or is restarted, goes on with another.
#
# All are restarted, one after the other, under their calls, by
#     for n in 1 2 3 4; do systemctl restart audiosocket-agent@$n; done
# which takes DRAIN_TIMEOUT each where calls are as long; `systemctl kill audiosocket-agent@1` meanwhile
# has those of number 1 move at once.
#
# Where all are stopped together (audiosocket-agent.target, a shutdown) there is nobody to move to:
# callers who are up after DRAIN_TIMEOUT wait 15 s in silence, and then are the dialplan's. To have the
# agents say goodbye to them, and at every restart: Environment=DRAIN_MOVE=false for all.
#
# What one of them alone is to have: systemctl edit audiosocket-agent@1; all: audiosocket-agent@. There,
# with Asterisk on core 0:
#     [Service]
#     CPUAffinity=%i

"""
CHANGES: Final = {
    "Description=Voice agent for Asterisk (AudioSocket to Gemini Live)\n": (
        "Description=Voice agent %i for Asterisk (AudioSocket to Gemini Live)\n"
        "PartOf=audiosocket-agent.target\n"
    ),
    "Environment=PYTHONFAULTHANDLER=1\n": (
        "Environment=PYTHONFAULTHANDLER=1\n"
        "# Which one this is. HAProxy is given 3 s to see that it is about to drain; what is up after\n"
        "# the drain moves to another instance; it ends politely where there is no database_url.\n"
        "Environment=INSTANCE=%i DRAIN_NOTICE=3 DRAIN_MOVE=true\n"
    ),
    "StateDirectory=audiosocket-agent\n": "StateDirectory=audiosocket-agent/%i\n",
    "RuntimeDirectory=audiosocket-agent\n": "RuntimeDirectory=audiosocket-agent/%i\n",
    "systemctl kill audiosocket-agent\n": "systemctl kill audiosocket-agent@%i\n",
    "systemd-analyze security audiosocket-agent`": "systemd-analyze security audiosocket-agent@1`",
    "WantedBy=multi-user.target\n": "WantedBy=audiosocket-agent.target\nAlso=audiosocket-agent.target\n",
}


def written(single: str) -> str:
    """The template of a single unit's text."""
    _, section, body = single.partition("[Unit]\n")
    text = section + body
    for old, new in CHANGES.items():
        assert text.count(old) == 1, f"{old!r} is not once in {UNIT.name}"
        text = text.replace(old, new)
    return HEAD + text


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        TEMPLATE.write_text(written(UNIT.read_text()))
    elif TEMPLATE.read_text() != written(UNIT.read_text()):
        sys.exit(f"{TEMPLATE.name} is not what {UNIT.name} makes it")
