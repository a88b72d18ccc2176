"""What is hidden, what stays, and that no number gets through however it is written."""

import unicodedata
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiosocket_agent import masking
from audiosocket_agent.masking import HIDDEN, logged, piece, spoken, within

SPOKEN = [
    ("+919876543210", "***10"),
    ("call +91 98765 43210, please", "call ***10, please"),
    ("my number is 98765-43210.", "my number is ***10."),
    ("4111 1111 1111 1111", "***11"),
    ("4111-1111-1111-1234 12/27", "***27"),  # what stands next to it counts as part of it
    ("4111-1111-1111-1234 and 12/27", "***34 and 12/27"),
    ("it is 9, 8, 7, 6, 5, 4, 3, 2", "it is ***32"),
    ("9876543", "***43"),
    ("९८७६५ ४३२१०", "***१०"),
    ("আমার নম্বর ৯৮৭৬৫৪৩২১০", "আমার নম্বর ***১০"),
    ("９８７６５４３２１０", "***１０"),
    ("AB9876543X", "AB***43X"),
    ("98765\u200b43210", "***10"),
    ("nine eight seven six five four three two one oh", "***"),
    ("double nine, eight, triple seven, six", "***"),
    ("ninety-eight seventy-six fifty-four thirty-two ten", "***"),
    ("It's Nine Eight 7 6 5 four three.", "It's ***."),
    ("nau aath saat chhe paanch char teen do ek shunya", "***"),
    ("मेरा नंबर नौ आठ सात छह पाँच चार तीन दो एक शून्य है", "मेरा नंबर *** है"),
    ("नाइन एट डबल सेवन सिक्स फ़ाइव फोर", "***"),
    ("নয় আট সাত ছয় পাঁচ চার তিন", "***"),
    ("the key is AIzaSyA1234567890abcdefgh_-x", "the key is ***"),
    ("sk-proj-abcdefghij0123 it is", "*** it is"),
    ("Bearer 3f9c0aa1b2c3", "***"),
]

STAYS = [
    "sector 62, house 14 B",
    "987654",
    "1,23,456.50 rupees, not 12345.00",
    "on 20/11/2026, or 2026-11-21",
    "2026-11-20T15:30 or 2026-11-20 15:30",
    "one, two or three of them",
    "दोस्त एक दो तीन",
    "nine eight double seven six five",  # six digits
    "a basic question about a bearer of bad news",
    "the password is on the letter",
    "",
]

LOGGED = [
    ("peer +919876543210 left", "peer ***10 left"),
    ("postgresql://agent:hunter2@db/records", "postgresql://***@db/records"),
    ("GET https://x.test/?key=abcdefgh&x=1", "GET https://x.test/?key=***&x=1"),
    ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic ***"),
    ("GEMINI_API_KEY=short1", "GEMINI_API_KEY=***"),
    ('{"password": "hunter2"}', '{"password": "***"}'),
    ("token 0123456789abcdef0123456789abcdef", "token ***"),
    ("aZ09aZ09aZ09aZ09aZ09aZ09aZ09", "***"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "***"),
    (
        "called 1 12345678-9abc-4def-8123-456789abcdef",
        "called 1 12345678-9abc-4def-8123-456789abcdef",
    ),
]

LOGGED_STAYS = [
    "12345678-9abc-4def-8123-456789abcdef",
    "127.0.0.1:9092 and 192.168.100.200 and [2001:db8::1234:5678]:9092",
    "2026-11-20T12:00:00.123456Z",
    "2026-11-20 12:00:00.123456+00:00",
    "ReplyStarted(caller_quiet_s=0.8123456789012)",
    "/usr/lib/python3.11/site-packages/google/genai/live.py, line 1234",
    "gemini-2.5-flash-native-audio-preview-12-2025",
]


@pytest.mark.parametrize(("text", "masked"), SPOKEN)
def test_numbers_and_keys_that_are_said_are_hidden(text: str, masked: str) -> None:
    assert spoken(text) == masked
    assert spoken(masked) == masked
    decomposed = unicodedata.normalize("NFD", text)
    assert unicodedata.normalize("NFC", spoken(decomposed)) == unicodedata.normalize("NFC", masked)


@pytest.mark.parametrize("text", STAYS)
def test_what_is_no_number_of_anybodys_stays(text: str) -> None:
    assert spoken(text) == text
    assert logged(text) == text


@pytest.mark.parametrize(("text", "masked"), LOGGED)
def test_a_log_hides_more(text: str, masked: str) -> None:
    assert logged(text) == masked


@pytest.mark.parametrize("text", LOGGED_STAYS)
def test_what_a_log_is_read_by_stays(text: str) -> None:
    assert logged(text) == text


def test_letters_with_a_dot_may_be_one_character() -> None:
    assert spoken("\u095bीरो \u095bीरो एक दो तीन चार पाँच") == HIDDEN


# -- any number ------------------------------------------------------------------------------------

ZEROS = [chr(zero) for zero in (0x30, 0x966, 0x9E6, 0xFF10, 0x660)]
BETWEEN = st.sampled_from(["", " ", "-", ".", ", ", " - ", "/", "\u00a0", ") "])


@st.composite
def numbers(draw: st.DrawFn) -> str:
    """Digits of one script, separated in one way or in several."""
    zero = ord(draw(st.sampled_from(ZEROS)))
    digits = draw(st.lists(st.integers(0, 9), min_size=7, max_size=19))
    return "".join(chr(zero + digit) + draw(BETWEEN) for digit in digits).rstrip(" -.,/)\u00a0")


def digits(text: str) -> int:
    return sum(char.isdecimal() for char in text)


WORDS = st.sampled_from(["", "call me: ", "मेरा नंबर ", "AB", "(", "**", "is\n"])


@given(WORDS, numbers(), WORDS)
def test_of_any_number_two_digits_are_left_at_most(before: str, number: str, after: str) -> None:
    said = spoken(before + number + after)
    if masking._STAYING.search(number) is None:
        assert digits(said) <= masking.KEPT_DIGITS
    assert said.startswith(before.rstrip("("))
    assert spoken(said) == said


@given(numbers())
def test_of_a_piece_no_digit_is_left(number: str) -> None:
    assert digits(piece(f"{number[:3]} nine")) == 0
    assert "nine" not in piece(f"{number[:3]} nine")


@given(st.text(max_size=300))
def test_whatever_it_is_given_it_comes_to_an_end_with_text(text: str) -> None:
    for mask in (spoken, logged, piece):
        assert isinstance(mask(text), str)


def test_a_text_without_end_is_cut_and_masked_in_time() -> None:
    for text in ("9" * 10**6, "nine " * 10**5, "x@:" * 10**5, "aZ0" * 10**5, "a_" * 10**5):
        assert len(logged(text)) <= masking.MAX_CHARS + 1


# -- values ----------------------------------------------------------------------------------------


def test_texts_are_masked_wherever_they_are() -> None:
    given = {"a": ["9876543210", ("9876543210", 7)], "b": {"9876543210": Decimal("1.5")}, "c": None}
    assert within(given, logged) == {"a": ["***10", ["***10", 7]], "b": {"***10": "1.5"}, "c": None}


def test_numbers_stay_numbers_unless_they_are_somebodys() -> None:
    assert within([9876543210, 1.5, True], logged) == [9876543210, 1.5, True]
    assert within([9876543210, 1.5, True, 42], spoken, numbers=True) == ["***10", 1.5, True, 42]


@pytest.mark.parametrize("name", ["api_key", "Authorization", "AMI_SECRET", "password", "cookie"])
def test_what_is_called_a_secret_is_one(name: str) -> None:
    assert within({name: "blue", "tokens": 7}, logged) == {name: HIDDEN, "tokens": 7}


def test_values_have_bounds() -> None:
    deep: object = "end"
    for _ in range(100):
        deep = [deep]
    assert "end" not in str(within(deep, logged))
    assert len(within(list(range(10_000)), logged)) == masking.MAX_ITEMS
    assert within(Path("/a/9876543210"), logged) == "/a/***10"
