"""What the pretend caller does by default: the talk that `call`, `make demo` and a load consist of.

    agent   [greeting]          [reply]          [repl........|stops      [reply]
    caller             [first]          [second]       [third =====]              hangs up
                                                 <----> BARGE_IN_SECONDS

Of several utterances the last is spoken over the agent; a single one is said and answered, and that
is it. An agent that says nothing, or will not stop, is waited for, but not for ever: the report
tells.
"""

from collections.abc import Awaitable, Sequence
from typing import Final

from audiosocket_agent.lab.caller import Call
from audiosocket_agent.lab.ear import PAUSE_SECONDS

GREETING_SECONDS: Final = 5.0
"""How long a caller waits to be spoken to before speaking."""

PATIENCE_SECONDS: Final = 10.0
"""How long a caller waits for an answer, and for an agent to stop that is spoken over."""

MONOLOGUE_SECONDS: Final = 30.0
"""How long a caller listens."""

TURN_SECONDS: Final = 0.7
"""The agent's silence after which it is polite to speak."""

BARGE_IN_SECONDS: Final = 1.5
"""How much of a reply is heard before it is spoken over."""

DIGIT_SECONDS: Final = 3.0
"""How long a caller waits to hear what a key has done; it may do so in silence."""


async def converse(call: Call, utterances: Sequence[bytes], digits: str = "") -> None:
    """Have the conversation drawn above, press `digits` after it, and hang up.

    `utterances`: one or more, s16le mono at the call's rate. Raises CallOver if the call ends
    earlier.
    """
    await _hear_out(call, GREETING_SECONDS)
    for utterance in utterances[:-2]:
        await _say(call, utterance)
        await _hear_out(call)
    for utterance in utterances[-2:-1]:
        await _say(call, utterance)
        await _let_begin(call)
    last = call.say(utterances[-1])
    await call.said()
    if last.over_agent:
        await _in_time(call.agent_silent(PAUSE_SECONDS, PATIENCE_SECONDS))
    await _hear_out(call)
    if digits:
        call.press(digits)
        await call.said()
        await _hear_out(call, DIGIT_SECONDS)
    call.hang_up()


async def _say(call: Call, utterance: bytes) -> None:
    call.say(utterance)
    await call.said()


async def _let_begin(call: Call) -> None:
    """Wait for the moment to speak over the agent: some way into its reply, and not in a pause."""
    if await _in_time(call.agent_speaks(PATIENCE_SECONDS)):
        await call.passes(BARGE_IN_SECONDS)
        await _in_time(call.agent_speaks(PAUSE_SECONDS))


async def _hear_out(call: Call, patience: float = PATIENCE_SECONDS) -> None:
    """Wait for the agent to begin, then for it to end."""
    if await _in_time(call.agent_speaks(patience)):
        await _in_time(call.agent_silent(TURN_SECONDS, MONOLOGUE_SECONDS))


async def _in_time(wait: Awaitable[float]) -> bool:
    """Whether what was waited for happened."""
    try:
        await wait
    except TimeoutError:
        return False
    return True
