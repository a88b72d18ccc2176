import uuid

import pytest

from audiosocket_agent import wire
from audiosocket_agent.call.keys import DIGITS, Key, KeyAction


@pytest.mark.parametrize("digit", DIGITS)
def test_a_key_that_can_have_a_meaning_is_one_that_a_telephone_can_send(digit: str) -> None:
    identity = wire.identity(uuid.UUID(int=1))
    _, pressed = wire.Decoder().feed(identity + wire.dtmf(digit))
    assert pressed == wire.Digit(digit)


def test_a_key_says_what_is_done_and_with_whom() -> None:
    assert Key(KeyAction("transfer"), "sales") == Key(KeyAction.TRANSFER, "sales")
    assert Key(KeyAction.HANGUP).target == ""
