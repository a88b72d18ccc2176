"""[phrases] of an agent's file, and those of the agents that ship."""

from pathlib import Path

import pytest

from audiosocket_agent.agents.phrases import MAX_CHARS, Phrases
from audiosocket_agent.agents.profile import Profile, load
from audiosocket_agent.audio import wav
from audiosocket_agent.sounds import Pcm
from tests.agents.files import agent, mistakes_in
from tests.scripted import tone

TWO = 'languages = ["en-IN", "hi-IN"]\n'
SECOND = Pcm(tone(1.0, rate_hz=8_000), 8_000)
NO_LANGUAGES = "by language needs languages: which they are, the first to begin in"
CHARS_A_SECOND = 14
"""Of calm speech, in the scripts of India as in Latin; what is written beside a consonant counts."""


def test_without_the_table_there_are_none(agents: Path) -> None:
    assert agent(agents, "").phrases == Phrases()


def test_one_text_is_for_all_languages(agents: Path) -> None:
    said = agent(agents, TWO + 'phrases.filler = "One moment. "').phrases
    assert said == Phrases(filler={"": "One moment."})


def test_the_language_to_begin_in_is_first_whatever_the_order(agents: Path) -> None:
    said = agent(agents, TWO + '[phrases.apology]\nhi-IN = "माफ़ कीजिए।"\nen-IN = "Sorry."').phrases
    assert [*said.apology.items()] == [("en-IN", "Sorry."), ("hi-IN", "माफ़ कीजिए।")]


def test_a_file_lies_beside_the_agents_own(agents: Path) -> None:
    (agents / "moment.wav").write_bytes(wav.encode(*SECOND))
    said = agent(agents, '[phrases]\nfiller_file = "moment.wav"\napology = "Sorry."').phrases
    assert said == Phrases({"": SECOND}, {"": "Sorry."})


def test_files_may_be_by_language_too(agents: Path) -> None:
    (agents / "moment.wav").write_bytes(wav.encode(*SECOND))
    said = agent(agents, TWO + '[phrases.apology_file]\nen-IN = "moment.wav"').phrases
    assert said == Phrases(apology={"en-IN": SECOND})


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("filler = 5", "filler: must be text in quotes, not a number"),
        ('filler = " "', "filler: is empty"),
        (f'filler = "{"a" * (MAX_CHARS + 1)}"', f"filler: has more than {MAX_CHARS} characters"),
        ('filer = "One moment."', "filer: unknown key; did you mean filler?"),
        ('apology_file = "no.wav"', "apology_file: no.wav: cannot be read: No such file or directory"),
        ('filler_file = "text.wav"', "filler_file: text.wav: no PCM WAV file (it is cut short)"),
        ('filler_file = "long.wav"', "filler_file: long.wav: 3.5 s, not up to 3"),
        ('filler_file = "."', "filler_file: .: is no file"),
        ('apology.cy = "Sorry."', f"apology: {NO_LANGUAGES}"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(agents: Path, line: str, mistake: str) -> None:
    (agents / "text.wav").write_text("")
    (agents / "long.wav").write_bytes(wav.encode(tone(3.5, rate_hz=8_000), 8_000))
    [told] = mistakes_in(agents, f"[phrases]\n{line}")
    assert told.replace(str(agents), ".") == f"sales.toml:3: phrases.{mistake}"


def test_a_text_and_a_file_are_one_too_many(agents: Path) -> None:
    [told] = mistakes_in(agents, '[phrases]\nfiller = "One moment."\nfiller_file = "moment.wav"')
    assert told == "sales.toml:4: phrases.filler_file: there is filler already"


# -- those that ship -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shipped", load(Path("there is none")).values(), ids=lambda agent: agent.name
)
def test_the_agents_that_ship_have_both_in_each_language_and_short(shipped: Profile) -> None:
    for said, seconds in ((shipped.phrases.filler, 2.0), (shipped.phrases.apology, 4.0)):
        assert set(said) == (set(shipped.languages) or {""})
        for language, text in said.items():
            assert isinstance(text, str)
            assert len(text) <= seconds * CHARS_A_SECOND
            script = {"hi-IN": "\u0900", "bho-IN": "\u0900", "bn-IN": "\u0980"}.get(language, "\0")
            assert any(script <= char < chr(ord(script) + 0x80) for char in text)
