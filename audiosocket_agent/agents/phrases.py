"""What a caller hears of an agent whose model is not heard: a phrase in its own voice, or a file.

[phrases]
filler = "One moment, please."
apology_file = "sorry.wav"

Either may be a table by language.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from audiosocket_agent.agents.languages import read_texts
from audiosocket_agent.audio import wav
from audiosocket_agent.errors import ConfigError
from audiosocket_agent.sounds import Pcm
from audiosocket_agent.tables.table import Table, on_one_line, read_bytes

MAX_CHARS: Final = 160
"""Some 10 s of speech; a caller who hears a filler waits for something else."""
LONGEST_S: Final = {"filler": 3.0, "apology": 8.0}
_MAX_FILE_BYTES: Final = 512 * 1024  # 8 s at 24 kHz are 384 000, and a header may be long

Said = Mapping[str, str | Pcm]
"""By language, the first for all that are missing: words to be spoken, or the sound itself."""


@dataclass(frozen=True, slots=True)
class Phrases:
    """What there is of them; without one, the service's own sound is heard."""

    filler: Said = field(default_factory=dict)
    """For a caller who waits."""
    apology: Said = field(default_factory=dict)
    """The last words of a call whose model is gone."""


def read_phrases(top: Table, languages: Sequence[str], directory: Path) -> Phrases:
    """Files are looked for beside the agent's own, in `directory`."""
    table = top.table("phrases")
    table.only([key for name in LONGEST_S for key in (name, f"{name}_file")])
    said = {name: _said(table, name, languages, directory) for name in LONGEST_S}
    return Phrases(said["filler"], said["apology"])


def _said(table: Table, name: str, languages: Sequence[str], directory: Path) -> Said:
    key = f"{name}_file"
    if name in table.values and key in table.values:
        table.wrong(key, f"there is {name} already")
        return {}
    if key in table.values:
        files = read_texts(table, key, languages) or {}
        sounds = {
            language: _sound(table, key, directory / file, LONGEST_S[name])
            for language, file in _by_language(files, languages).items()
        }
        return {language: sound for language, sound in sounds.items() if sound is not None}
    texts = _by_language(read_texts(table, name, languages) or {}, languages)
    for text in texts.values():
        if not text.strip():
            table.wrong(name, "is empty")
        elif len(text) > MAX_CHARS:
            table.wrong(name, f"has more than {MAX_CHARS} characters")
    return {language: text.strip() for language, text in texts.items()}


def _by_language(texts: Mapping[str, str], languages: Sequence[str]) -> Mapping[str, str]:
    """The language to begin in comes first, and stands for all others."""
    named = {language: texts[language] for language in languages if language in texts}
    return named or dict(texts)


def _sound(table: Table, key: str, path: Path, longest_s: float) -> Pcm | None:
    try:
        content = read_bytes(path, _MAX_FILE_BYTES)
    except ConfigError as error:
        table.wrong(key, str(error))
        return None
    try:
        sound = Pcm(*wav.decode(content))
    except ValueError as error:
        table.wrong(key, f"{on_one_line(path)}: {error}")
        return None
    if not 0 < sound.seconds <= longest_s:
        table.wrong(key, f"{on_one_line(path)}: {sound.seconds:.1f} s, not up to {longest_s:.0f}")
    return sound
