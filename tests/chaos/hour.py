"""A long call on short connections: `python -m tests.chaos.hour [--calls 5] [--limits 6] [--limit 12]`.

A connection of the service ends after ten minutes, and a goAway comes one minute before: an hour has six
of them. Here a connection may end after seconds, so that six take a minute or two; what is said is not
made faster. Each sentence counts on from the one before, and has to be heard whole.
"""

import argparse
import asyncio
import sys
from dataclasses import dataclass, replace
from typing import Final

import uvloop

from audiosocket_agent.lab.simulator import Behaviour
from audiosocket_agent.lab.ticker import Ticker
from tests.chaos.acts import nothing
from tests.chaos.ear import GREETING, Spoken, counted, longest_silence, sentences
from tests.chaos.house import GREETING_S, World, counting, world
from tests.chaos.talk import QUESTION, Caller, Moment

ANSWER_S: Final = 1.5
SHORTEST_TURN_S: Final = 3.0
"""Of a question and its answer."""
WHOLE_S: Final = 0.06
"""A sentence that lacks less is whole: a frame at either end is partly silence."""


@dataclass(frozen=True, slots=True)
class Endurance:
    """What became of a long call."""

    finished: bool
    why: str
    swaps: int
    """New connections that took the conversation up again."""
    sentences: int
    cut: tuple[Spoken, ...]
    """Not whole."""
    in_order: bool
    """Each counts on from the one before."""
    silence_s: float

    @property
    def good(self) -> bool:
        return self.finished and not self.cut and self.in_order


class Marathon(Caller):
    """A caller who goes on asking for `seconds`."""

    def __init__(self, world: World, ticker: Ticker, seconds: float) -> None:
        super().__init__(world, ticker, when=Moment.NEVER, act=nothing)
        self.most_s = 2 * seconds + 60.0
        self._seconds = seconds

    async def _talk(self) -> None:
        await self._understands((GREETING,), GREETING_S, None)
        question = 0
        while self.now < self._seconds:
            question += 1
            words = self.call.say(QUESTION)
            await self.call.said()
            self._since = words.ends  # on the only leg there is
            await self._understands((counted(question),), ANSWER_S, None)

    def endured(self) -> Endurance:
        """How it went; once it is over."""
        spoken = sentences(self._heard)
        wanted = [GREETING_S] + [ANSWER_S] * (len(spoken) - 1)
        pairs = zip(spoken, wanted, strict=True)
        cut = tuple(each for each, seconds in pairs if each.seconds < seconds - WHOLE_S)
        order = [GREETING] + [counted(number) for number in range(1, len(spoken))]
        told = self.world.sessions(self.number)
        return Endurance(
            finished=self.outcome.finished,
            why=self.outcome.why,
            swaps=sum(session.resumed for session in told),
            sentences=len(spoken),
            cut=cut,
            in_order=[each.sentence for each in spoken] == order,
            silence_s=max(
                (longest_silence(self._heard, *owed) for owed in self._owed), default=0.0
            ),
        )


def limited(limit_s: float, left_s: float, seconds: float) -> Behaviour:
    """A model whose connections end after `limit_s`, which it says `left_s` before."""
    questions = round(seconds / SHORTEST_TURN_S) + 1
    return replace(
        counting(questions=questions, answer_s=ANSWER_S),
        faults=frozenset({"go-away"}),
        fault_after_seconds=limit_s - left_s,
        fault_seconds=left_s,
    )


async def endure(calls: int, limits: int, limit_s: float, left_s: float) -> list[Endurance]:
    """`calls` calls at once, each as long as `limits` connections."""
    seconds = limits * limit_s
    ticker = Ticker()
    settings = {"MAX_CALL_DURATION": str(2 * seconds + 120)}
    async with world(settings=settings) as house:
        house.arm(limited(limit_s, left_s, seconds), {})
        async with asyncio.TaskGroup() as group:
            callers = []
            for _ in range(calls):
                caller = Marathon(house, ticker, seconds)
                callers.append(caller)
                group.create_task(caller.run())
                await asyncio.sleep(limit_s / calls / 2)
    return [caller.endured() for caller in callers]


def main() -> None:
    """Exit 1 where a call was lost or a sentence was not whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--limits", type=int, default=6, help="connections of a call")
    parser.add_argument("--limit", type=float, default=12.0, help="seconds of a connection")
    parser.add_argument("--left", type=float, default=6.0, help="seconds that a goAway leaves")
    given = parser.parse_args()
    done = uvloop.run(endure(given.calls, given.limits, given.limit, given.left))
    for each in done:
        print(each)
    print(
        f"{len(done)} calls of {given.limits} connections: {sum(not e.finished for e in done)} lost, "
        f"{sum(e.swaps for e in done)} swaps, {sum(e.sentences for e in done)} sentences, "
        f"{sum(len(e.cut) for e in done)} cut, {sum(not e.in_order for e in done)} out of order, "
        f"longest silence {max(e.silence_s for e in done):.1f} s"
    )
    sys.exit(not all(each.good for each in done))


if __name__ == "__main__":
    main()
