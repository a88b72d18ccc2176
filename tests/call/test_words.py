"""A voice that was to say one thing, and what its transcript says that it said."""

import pytest

from audiosocket_agent.call.words import same_words, skeleton


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("One moment, please.", " one moment please"),
        ("One moment, please.", "Sure! One moment, please."),
        ("जी, एक मिनट रुकिए।", "Ji, ek minute rukiye."),
        ("जी, बस एक minute।", "जी बस एक मिनट"),
        ("Sorry, line साफ़ नहीं है। आप line पर रहिए।", "सॉरी, लाइन साफ नहीं है, आप लाइन पर रहिए"),
        (
            "Sorry, line साफ़ नहीं है। आप line पर रहिए।",
            "Sorry, line saaf nahin hai. Aap line par rahiye.",
        ),
        ("माफ करीं, फोन में दिक्कत बा। फोन पर बनल रहीं।", "माफ़ करी फ़ोन में दिक़्क़त बा फ़ोन पर बनल रही"),
        ("একটু অপেক্ষা করুন।", "Ektu apeksha korun"),
        ("Eén moment alstublieft.", "een moment, alstublieft"),
        ("请稍等。", "请稍等"),
    ],
)
def test_the_same_words_in_other_letters(wanted: str, said: str) -> None:
    assert same_words(said, wanted)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("One moment, please.", ""),
        ("One moment, please.", "Hello, how can I help you?"),
        ("One moment, please.", "One moment, please. Then tell me what I can do for you today."),
        ("One moment, please.", "Un momento, por favor."),
        ("जी, एक मिनट रुकिए।", "One minute, please."),
        ("जी, एक मिनट रुकिए।", "नमस्ते, मैं आपकी क्या मदद कर सकती हूँ?"),
        ("একটু অপেক্ষা করুন।", "আপনাকে কীভাবে সাহায্য করতে পারি?"),
        ("请稍等。", "您好"),
    ],
)
def test_other_words(wanted: str, said: str) -> None:
    assert not same_words(said, wanted)


def test_what_is_compared_are_consonants() -> None:
    assert skeleton("एक मिनट") == skeleton("এক মিনিট") == skeleton("ek minute") == "kmnt"
