"""What is known of a call, and who is told."""

from audiosocket_agent.call.info import CallInfo, is_telephone

CALL = CallInfo("+911204567890", "Asha", "", {"ORDER": "4711", "caller": "forged", "EMPTY": ""})


def test_only_what_is_asked_for_and_known_is_told() -> None:
    assert CALL.facts(()) == {}
    assert CALL.facts(("ORDER", "EMPTY", "extension", "nothing")) == {"ORDER": "4711"}


def test_a_variable_does_not_replace_what_asterisk_says() -> None:
    assert CALL.facts(("caller", "caller_name")) == {
        "caller": "+911204567890",
        "caller_name": "Asha",
    }


def test_who_calls_is_shown_by_a_number_or_by_a_word() -> None:
    shown = ("+442079460057", "2001", "anonymous", "", "12", "+44 20", "٢٠٠١٢٣٤")
    assert [is_telephone(caller) for caller in shown] == [True, True, *[False] * 5]
    assert not is_telephone("2001", least_digits=7)
