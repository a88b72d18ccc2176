"""The messages a client may send, as a table, and the parser that holds them to it.

The service reads protobuf's JSON: a field is known by its camelCase or its snake_case name, and an
unknown field, a wrong type or an unknown enum value ends the session with 1007. So it is here.
The setup differs between the Gemini API and Vertex AI; all else is common.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from audiosocket_agent.lab.simulator.behaviour import Close

REASON_BYTES: Final = 123
"""The longest reason a WebSocket close frame can carry (RFC 6455, 5.5: 125 bytes with the code).
The service cuts its texts there too."""


class SessionEnd(Exception):
    """The session is over, for `close`."""

    def __init__(self, close: Close) -> None:
        super().__init__(f"{close.code} {close.reason}")
        reason = close.reason.encode()[:REASON_BYTES].decode(errors="ignore")
        self.close = Close(close.code, reason)


def invalid(reason: str) -> SessionEnd:
    """The client sent something that does not stand."""
    return SessionEnd(Close(1007, reason))


class Kind(Enum):
    """A field without fields of its own."""

    STRING = "TYPE_STRING"
    BOOL = "TYPE_BOOL"
    INT = "TYPE_INT32"
    NUMBER = "TYPE_FLOAT"
    BYTES = "TYPE_BYTES"
    ANY = "google.protobuf.Struct"


@dataclass(frozen=True)
class Names:
    """An enum; UNSPECIFIED values are left out, since nobody should send one."""

    values: frozenset[str]
    any_case: bool = False


@dataclass(frozen=True)
class Each:
    """A repeated field."""

    item: Any


@dataclass(frozen=True)
class MapOf:
    """A map from any string."""

    item: Any


def _names(*values: str, any_case: bool = False) -> Names:
    return Names(frozenset(values), any_case)


Message = Mapping[str, Any]
"""Fields by their camelCase name: Kind, Names, Each, MapOf, or a Message."""

_STRING, _BOOL, _INT, _NUMBER = Kind.STRING, Kind.BOOL, Kind.INT, Kind.NUMBER
_BYTES, _ANY = Kind.BYTES, Kind.ANY

_PARAMETERS: Final[dict[str, Any]] = {
    # The types of JSON schema are taken in lower case too: the documentation's own examples are.
    "type": _names(
        "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL", any_case=True
    ),
    "format": _STRING,
    "title": _STRING,
    "description": _STRING,
    "nullable": _BOOL,
    "enum": Each(_STRING),
    "default": _ANY,
    "example": _ANY,
    "pattern": _STRING,
    "minimum": _NUMBER,
    "maximum": _NUMBER,
    "minItems": _INT,
    "maxItems": _INT,
    "minLength": _INT,
    "maxLength": _INT,
    "minProperties": _INT,
    "maxProperties": _INT,
    "required": Each(_STRING),
    "propertyOrdering": Each(_STRING),
}
_PARAMETERS["items"] = _PARAMETERS
_PARAMETERS["anyOf"] = Each(_PARAMETERS)
_PARAMETERS["properties"] = MapOf(_PARAMETERS)

_BLOB: Final = {"data": _BYTES, "mimeType": _STRING}
_FUNCTION_RESPONSE: Final = {
    "id": _STRING,
    "name": _STRING,
    "response": _ANY,
    "scheduling": _names("SILENT", "WHEN_IDLE", "INTERRUPT"),
    "willContinue": _BOOL,
}
_PART: Final = {
    "text": _STRING,
    "thought": _BOOL,
    "thoughtSignature": _BYTES,
    "inlineData": _BLOB | {"displayName": _STRING},
    "fileData": {"fileUri": _STRING, "mimeType": _STRING, "displayName": _STRING},
    "functionCall": {"id": _STRING, "name": _STRING, "args": _ANY},
    "functionResponse": _FUNCTION_RESPONSE,
    "executableCode": _ANY,
    "codeExecutionResult": _ANY,
    "videoMetadata": _ANY,
    "mediaResolution": _ANY,
}
_CONTENT: Final = {"parts": Each(_PART), "role": _STRING}
_TOOL: Final = {
    "functionDeclarations": Each(
        {
            "name": _STRING,
            "description": _STRING,
            "parameters": _PARAMETERS,
            "parametersJsonSchema": _ANY,
            "response": _PARAMETERS,
            "responseJsonSchema": _ANY,
            "behavior": _names("BLOCKING", "NON_BLOCKING"),
        }
    ),
    "googleSearch": _ANY,
    "googleSearchRetrieval": _ANY,
    "googleMaps": _ANY,
    "codeExecution": _ANY,
    "urlContext": _ANY,
    "fileSearch": _ANY,
    "computerUse": _ANY,
}
_VOICE: Final = {"prebuiltVoiceConfig": {"voiceName": _STRING}}
_TRANSCRIPTION: Final = {
    "languageCodes": Each(_STRING),
    "languageAuto": _ANY,
    "languageHints": {"languageCodes": Each(_STRING)},
    "customVocabulary": Each(_STRING),
    "adaptationPhrases": Each(_STRING),
    "wordTimestamp": _BOOL,
    "diarization": _BOOL,
    "mode": _names("VERBATIM", "SMART"),
}
_SETUP: Final = {
    "model": _STRING,
    "generationConfig": {
        "responseModalities": Each(_names("TEXT", "AUDIO", "IMAGE", "VIDEO")),
        "temperature": _NUMBER,
        "topP": _NUMBER,
        "topK": _NUMBER,
        "maxOutputTokens": _INT,
        "candidateCount": _INT,
        "seed": _INT,
        "presencePenalty": _NUMBER,
        "frequencyPenalty": _NUMBER,
        "speechConfig": {
            "voiceConfig": _VOICE,
            "multiSpeakerVoiceConfig": {
                "speakerVoiceConfigs": Each({"speaker": _STRING, "voiceConfig": _VOICE})
            },
            "languageCode": _STRING,
        },
        "thinkingConfig": {
            "includeThoughts": _BOOL,
            "thinkingBudget": _INT,
            "thinkingLevel": _names("MINIMAL", "LOW", "MEDIUM", "HIGH"),
        },
        "enableAffectiveDialog": _BOOL,
        "mediaResolution": _names(
            "MEDIA_RESOLUTION_LOW", "MEDIA_RESOLUTION_MEDIUM", "MEDIA_RESOLUTION_HIGH"
        ),
    },
    "systemInstruction": _CONTENT,
    "tools": Each(_TOOL),
    "realtimeInputConfig": {
        "automaticActivityDetection": {
            "disabled": _BOOL,
            "startOfSpeechSensitivity": _names("START_SENSITIVITY_HIGH", "START_SENSITIVITY_LOW"),
            "endOfSpeechSensitivity": _names("END_SENSITIVITY_HIGH", "END_SENSITIVITY_LOW"),
            "prefixPaddingMs": _INT,
            "silenceDurationMs": _INT,
        },
        "activityHandling": _names("START_OF_ACTIVITY_INTERRUPTS", "NO_INTERRUPTION"),
        "turnCoverage": _names(
            "TURN_INCLUDES_ONLY_ACTIVITY",
            "TURN_INCLUDES_ALL_INPUT",
            "TURN_INCLUDES_AUDIO_ACTIVITY_AND_ALL_VIDEO",
        ),
    },
    "inputAudioTranscription": _TRANSCRIPTION,
    "outputAudioTranscription": _TRANSCRIPTION,
    "sessionResumption": {"handle": _STRING},
    "contextWindowCompression": {"triggerTokens": _INT, "slidingWindow": {"targetTokens": _INT}},
    "proactivity": {"proactiveAudio": _BOOL},
    "safetySettings": Each({"category": _STRING, "threshold": _STRING}),
}

GEMINI_SETUP: Final[Message] = _SETUP | {"historyConfig": {"initialHistoryInClientContent": _BOOL}}
VERTEX_SETUP: Final[Message] = _SETUP | {
    "sessionResumption": {"handle": _STRING, "transparent": _BOOL},
    "safetySettings": Each({"category": _STRING, "threshold": _STRING, "method": _STRING}),
    "explicitVadSignal": _BOOL,
    "labels": MapOf(_STRING),
}

CLIENT_MESSAGES: Final[Message] = {
    "clientContent": {"turns": Each(_CONTENT), "turnComplete": _BOOL},
    "realtimeInput": {
        "audio": _BLOB,
        "video": _BLOB,
        "text": _STRING,
        "mediaChunks": Each(_BLOB),
        "activityStart": {},
        "activityEnd": {},
        "audioStreamEnd": _BOOL,
    },
    "toolResponse": {"functionResponses": Each(_FUNCTION_RESPONSE)},
    "contextUpdate": {"systemInstruction": _CONTENT, "tools": {"tools": Each(_TOOL)}},
}
"""Everything but the setup."""


def read(value: Any, message: Message, path: str) -> dict[str, Any]:
    """`value` with all names in camelCase and nulls left out. Raises SessionEnd (1007) at the first
    field that `message` does not know or that holds something else than it should."""
    if not isinstance(value, dict):
        raise _mismatch(path, "message", value)
    known = {}
    for name, field in value.items():
        canonical = _SNAKE.sub(lambda match: match[1].upper(), name)
        if canonical not in message or name not in (canonical, _snake(canonical)):
            where = f" at '{path}'" if path else ""
            raise invalid(
                f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.'
            )
        if field is not None:
            known[canonical] = _read_field(field, message[canonical], _join(path, canonical))
    return known


def _read_field(value: Any, kind: Any, path: str) -> Any:
    match kind:
        case Kind():
            if not _is_a(kind, value):
                raise _mismatch(path, kind.value, value)
            return value
        case Names():
            if not isinstance(value, str) or (
                (value.upper() if kind.any_case else value) not in kind.values
            ):
                raise _mismatch(path, "enum", value)
            return value
        case Each():
            if not isinstance(value, list):
                raise _mismatch(path, "list", value)
            return [
                _read_field(item, kind.item, f"{path}[{index}]") for index, item in enumerate(value)
            ]
        case MapOf():
            if not isinstance(value, dict):
                raise _mismatch(path, "map", value)
            return {
                key: _read_field(item, kind.item, f"{path}[{key}]") for key, item in value.items()
            }
        case _:
            return read(value, kind, path)


def _is_a(kind: Kind, value: Any) -> bool:
    match kind:
        case Kind.BOOL:
            return isinstance(value, bool)
        case Kind.INT:  # 64-bit integers are strings in protobuf's JSON
            return (isinstance(value, int) and not isinstance(value, bool)) or (
                isinstance(value, str) and value.isdecimal()
            )
        case Kind.NUMBER:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case Kind.STRING | Kind.BYTES:
            return isinstance(value, str)
        case Kind.ANY:
            return True


def _mismatch(path: str, kind: str, value: Any) -> SessionEnd:
    shown = f'"{value}"' if isinstance(value, str) else type(value).__name__
    return invalid(f"Invalid value at '{path}' ({kind}), {shown}")


_SNAKE: Final = re.compile(r"_([a-z0-9])")
_CAPITAL: Final = re.compile(r"([A-Z])")


def _snake(name: str) -> str:
    return _CAPITAL.sub(lambda match: f"_{match[1].lower()}", name)


def _join(path: str, name: str) -> str:
    # The service's texts name fields in snake_case whatever the client wrote.
    return f"{path}.{_snake(name)}" if path else _snake(name)
