"""The same conversations with Gemini itself: the caller's words go to it as text, since nobody is there
to speak them; the line carries silence, and the agent's voice."""

import os
import uuid
from typing import Final

from audiosocket_agent.lab.caller import Call, CallOver
from audiosocket_agent.lab.report import End
from audiosocket_agent.session import Session
from tests.evals.call import Held, announce, conclude
from tests.evals.cases import Conversation
from tests.evals.house import HOST, House

ANSWER_S: Final = 20.0
"""A model that looks things up may take so long to begin."""
DONE_S: Final = 2.5
"""Silence after which it has said what it had to say."""
MONOLOGUE_S: Final = 60.0

NO_KEY: Final = "no key: the simulator only (GEMINI_API_KEY and EVALS_LIVE=1 ask Gemini too)"


def wanted() -> bool:
    """Whether Gemini is to be asked, which costs money."""
    has_key = os.environ.get("GEMINI_API_KEY") or os.environ.get("GOOGLE_API_KEY")
    return bool(has_key) and os.environ.get("EVALS_LIVE") == "1"


async def hold(house: House, conversation: Conversation) -> Held:
    """Hold a conversation. What goes wrong in it is for its judges."""
    call_id = uuid.uuid4()
    await announce(house, call_id, conversation)
    held = Held(conversation, None)
    async with Call.connect(HOST, house.port, uuid=call_id, ticker=house.ticker) as call:
        session = house.server.session(call_id)
        assert session is not None
        try:
            await _talk(call, session, held)
        except TimeoutError:
            held.troubles.append("the model did not answer")
        except CallOver:
            pass  # when to go is the model's to decide
    held.troubles += call.violations
    await conclude(house, call_id, held, by_caller=call.end is End.HUNG_UP)
    return held


async def _talk(call: Call, session: Session, held: Held) -> None:
    held.heard_s.append(await call.agent_speaks(ANSWER_S))
    for turn in held.conversation.turns:
        await call.agent_silent(DONE_S, MONOLOGUE_S)
        session.tell(turn.caller)
        held.heard_s.append(await call.agent_speaks(ANSWER_S))
        for keys in turn.keys:
            await call.agent_silent(DONE_S, MONOLOGUE_S)
            call.press(keys)
            await call.said()
            held.heard_s.append(await call.agent_speaks(ANSWER_S))
    await call.agent_silent(DONE_S, MONOLOGUE_S)
