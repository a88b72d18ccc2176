"""python -m tests.evals [AGENT ...]: the scripted calls of the shipped agents, end to end.

Without a name, all agents and the attacks (`redteam`). Exit 1 where an expectation is not met.
"""

import argparse
import asyncio
import json
import sys
import time

from audiosocket_agent import log
from tests.evals import live, suite
from tests.evals.cases import ATTACKS, agents
from tests.evals.show import Shown


def main() -> None:
    names = [*agents(), ATTACKS]
    parser = argparse.ArgumentParser(prog="python -m tests.evals", description=__doc__)
    parser.add_argument("agents", nargs="*", metavar="AGENT", help=f"of {', '.join(names)}")
    parser.add_argument("--json", action="store_true", help="all of it as JSON, and nothing else")
    parser.add_argument("--brief", action="store_true", help="a line for a call that is in order")
    given = parser.parse_args()
    if unknown := set(given.agents) - set(names):
        parser.error(f"no conversations of {', '.join(sorted(unknown))}; of: {', '.join(names)}")
    listener = log.start("ERROR")
    ok = asyncio.run(_run(given.agents or names, as_json=given.json, brief=given.brief))
    listener.stop()
    sys.exit(0 if ok else 1)


async def _run(names: list[str], *, as_json: bool, brief: bool) -> bool:
    shown = Shown(brief=brief)
    told = suite.nobody if as_json else shown.show
    began_at = time.monotonic()
    results = await suite.run(names, told)
    judged = results.judged
    if live.wanted():
        real = [name for name in names if name != ATTACKS]
        judged += (await suite.run(real, told, real=True)).judged
    if as_json:
        print(json.dumps([suite.to_json(each) for each in judged], ensure_ascii=False, indent=2))
    else:
        shown.close(judged, time.monotonic() - began_at)
        if results.stray:
            shown.say(f"{results.stray} messages were sent that nobody expected")
        if not live.wanted():
            shown.say(live.NO_KEY)
    return all(each.ok for each in judged) and not results.stray


if __name__ == "__main__":
    main()
