"""Agents that speak several languages: their greetings, and what is said of a recording."""

from pathlib import Path

import pytest

from audiosocket_agent.agents.languages import MAX_LANGUAGES
from audiosocket_agent.agents.recording import Recording
from tests.agents.files import agent, mistakes_in

TWO = "languages = ['en-IN', 'hi']\n"


def test_a_greeting_by_language(agents: Path) -> None:
    sales = agent(agents, f"{TWO}[greeting]\nen-IN = 'Say: Namaste.'\nhi = 'Say: नमस्ते।'")
    assert sales.languages == ("en-IN", "hi")
    assert sales.greetings == {"en-IN": "Say: Namaste.", "hi": "Say: नमस्ते।"}
    assert sales.greeting == "Say: Namaste."


def test_a_language_without_a_greeting_has_the_first_ones(agents: Path) -> None:
    sales = agent(agents, f"{TWO}greeting = {{ en-IN = '' }}")
    assert sales.greetings == {"en-IN": ""}
    assert sales.greeting == ""


def test_a_greeting_for_all_languages(agents: Path) -> None:
    sales = agent(agents, f"{TWO}greeting = 'Greet them.'")
    assert (sales.greeting, sales.greetings) == ("Greet them.", {})


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("languages = 'en-IN'", "2: languages: must be a list, not text in quotes"),
        ("languages = ['English']", '2: languages: "English" is no language, as en-IN and hi are'),
        (
            "languages = ['hi', 'en_in']",
            '2: languages: "en_in" is no language, as en-IN and hi are; did you mean en-IN?',
        ),
        (
            f"languages = {[f'a{letter}' for letter in 'abcdefghijklmnopqrstuvwxy']}",
            f"2: languages: are 25; {MAX_LANGUAGES} are the most",
        ),
        (f"{TWO}greeting = 5", "3: greeting: must be text in quotes, not a number"),
        (
            "[greeting]\nen-IN = 'Hello'",
            "2: greeting: by language needs languages: which they are, the first to begin in",
        ),
        (
            f"{TWO}[greeting]\nhi = 'x'",
            "3: greeting.en-IN: missing; it is the language to begin in",
        ),
        (
            f"{TWO}[greeting]\nen-IN = ''\nhi = 5",
            "5: greeting.hi: must be text in quotes, not a number",
        ),
        (
            f"{TWO}[greeting]\nen-IN = ''\nhi-IN = ''",
            "5: greeting.hi-IN: is none of languages: en-IN, hi",
        ),
    ],
)
def test_a_mistake_of_languages_is_one_line(agents: Path, toml: str, said: str) -> None:
    assert mistakes_in(agents, toml) == [f"sales.toml:{said}"]


def test_nothing_right_in_a_greeting_is_two_mistakes_and_no_more(agents: Path) -> None:
    assert mistakes_in(agents, f"{TWO}[greeting]\nfr = 5") == [
        "sales.toml:3: greeting.en-IN: missing; it is the language to begin in",
        "sales.toml:4: greeting.fr: is none of languages: en-IN, hi",
        "sales.toml:4: greeting.fr: must be text in quotes, not a number",
    ]


# -- recording -------------------------------------------------------------------------------------


def test_nothing_is_recorded_unless_the_file_says_so(agents: Path) -> None:
    assert agent(agents, "").recording is None


def test_the_agent_says_that_it_is_recorded(agents: Path) -> None:
    text = "[recording]\nconsent = 'notice'\nnotice = 'This is recorded.'"
    assert agent(agents, text).recording == Recording("notice", {"": "This is recorded."})


def test_it_says_so_in_every_language(agents: Path) -> None:
    """One that has no notice of its own has the first one's: nobody is recorded unawares."""
    text = f"{TWO}[recording]\nconsent = 'notice'\nnotice = {{ en-IN = 'Recorded.' }}"
    assert agent(agents, text).recording == Recording(
        "notice", {"": "Recorded.", "en-IN": "Recorded."}
    )


def test_the_dialplan_has_said_so(agents: Path) -> None:
    assert agent(agents, "recording.consent = 'dialplan'").recording == Recording("dialplan")


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("recording = true", "2: recording: must be a table, not true or false"),
        ("[recording]", "2: recording.consent: missing: it is one of notice, dialplan"),
        ("[recording]\nconsent = 1", "3: recording.consent: must be text in quotes, not a number"),
        (
            "[recording]\nconsent = 'notices'",
            '3: recording.consent: "notices" is none of notice, dialplan; did you mean notice?',
        ),
        (
            "[recording]\nconsent = 'notice'",
            "2: recording.notice: missing: it is what the agent says of the recording",
        ),
        ("[recording]\nconsent = 'notice'\nnotice = ' '", "4: recording.notice: is empty"),
        (
            "[recording]\nconsent = 'notice'\nnotice = 5",
            "4: recording.notice: must be text in quotes, not a number",
        ),
        (
            "[recording]\nconsent = 'notice'\nnotice.en-IN = 'Recorded.'",
            "4: recording.notice: by language needs languages: which they are, the first to begin in",
        ),
        (
            "[recording]\nconsent = 'dialplan'\nnotice = 'Recorded.'",
            "4: recording.notice: means nothing where the dialplan has told the caller",
        ),
        (
            "[recording]\nconsent = 'dialplan'\nstereo = true",
            "4: recording.stereo: unknown key",
        ),
    ],
)
def test_a_mistake_of_recording_is_one_line(agents: Path, toml: str, said: str) -> None:
    assert mistakes_in(agents, toml) == [f"sales.toml:{said}"]


def test_a_notice_that_is_empty_in_one_language_is_a_mistake(agents: Path) -> None:
    text = f"{TWO}[recording]\nconsent = 'notice'\nnotice = {{ en-IN = 'Recorded.', hi = '' }}"
    assert mistakes_in(agents, text) == ["sales.toml:5: recording.notice: is empty"]
