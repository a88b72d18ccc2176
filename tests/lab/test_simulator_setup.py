"""What may be asked of which model: a setup that the service would refuse is refused here."""

from typing import Any

import pytest

from audiosocket_agent.lab.simulator.schema import REASON_BYTES, SessionEnd
from audiosocket_agent.lab.simulator.setup import MODELS, VOICES, Setup, read_setup

V3_8, V3_1 = "gemini-3.8-live", "gemini-3.1-flash-live-preview"
V2_5 = "gemini-2.5-flash-native-audio-preview-12-2025"
V2_5_VERTEX = "gemini-live-2.5-flash-native-audio"


def gemini(model: str = V3_8, *, api_version: str = "v1beta", **setup: Any) -> Setup:
    asked = {"model": f"models/{model}"} | setup
    return read_setup(asked, vertex=False, api_version=api_version)


def vertex(model: str = V3_8, **setup: Any) -> Setup:
    asked = {"model": f"projects/p/locations/l/publishers/google/models/{model}"} | setup
    return read_setup(asked, vertex=True, api_version="v1beta1")


def detection(**fields: Any) -> dict[str, Any]:
    return {"realtimeInputConfig": {"automaticActivityDetection": fields}}


def generation(**fields: Any) -> dict[str, Any]:
    return {"generationConfig": fields}


def function(**fields: Any) -> dict[str, Any]:
    return {"tools": [{"functionDeclarations": [{"name": "f"} | fields]}]}


def voice(name: str) -> dict[str, Any]:
    return {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": name}}}


FULL: dict[str, Any] = {
    "generationConfig": {
        "responseModalities": ["AUDIO"],
        "temperature": 0.7,
        "topP": 0.9,
        "maxOutputTokens": 1024,
        "speechConfig": voice("Kore") | {"languageCode": "hi-IN"},
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
    },
    "systemInstruction": {"parts": [{"text": "Be kind."}], "role": "user"},
    "tools": [
        {
            "functionDeclarations": [
                {
                    "name": "transfer",
                    "description": "Hand over.",
                    "behavior": "BLOCKING",
                    "parameters": {
                        "type": "OBJECT",
                        "properties": {
                            "to": {"type": "STRING", "enum": ["sales", "support"]},
                            "notes": {"type": "array", "items": {"type": "string"}},
                        },
                        "required": ["to"],
                    },
                },
                {"name": "look_up", "parametersJsonSchema": {"type": "object", "x-any": True}},
            ]
        }
    ],
    "realtimeInputConfig": {
        "automaticActivityDetection": {
            "startOfSpeechSensitivity": "START_SENSITIVITY_HIGH",
            "endOfSpeechSensitivity": "END_SENSITIVITY_LOW",
            "prefixPaddingMs": 100,
            "silenceDurationMs": 500,
        },
        "activityHandling": "NO_INTERRUPTION",
        "turnCoverage": "TURN_INCLUDES_ONLY_ACTIVITY",
    },
    "inputAudioTranscription": {"languageCodes": ["hi-IN"], "customVocabulary": ["Asterisk"]},
    "outputAudioTranscription": {},
    "sessionResumption": {"handle": "h"},
    "contextWindowCompression": {
        "triggerTokens": "25600",
        "slidingWindow": {"targetTokens": 12800},
    },
    "proactivity": {"proactiveAudio": True},
}


def snake_case(value: Any) -> Any:
    """Names as protobuf's original ones; the SDK mixes both in one setup."""
    if isinstance(value, list):
        return [snake_case(item) for item in value]
    if not isinstance(value, dict):
        return value
    keep = {"parametersJsonSchema"}
    return {
        "".join(f"_{c.lower()}" if c.isupper() else c for c in name): field
        if name in keep
        else snake_case(field)
        for name, field in value.items()
    }


@pytest.mark.parametrize("setup", [FULL, snake_case(FULL)], ids=["camelCase", "snake_case"])
def test_a_setup_with_everything(setup: dict[str, Any]) -> None:
    read = read_setup(
        {"model": "models/gemini-3.8-live"} | setup, vertex=False, api_version="v1beta"
    )
    assert (read.handle, read.resumption) == ("h", True)
    assert (read.prefix_ms, read.silence_ms) == (100, 500)
    assert (read.trigger_tokens, read.target_tokens) == (25_600, 12_800)
    assert (read.input_transcription, read.output_transcription) == (True, True)
    assert read.automatic_activity
    assert not read.interruptible
    # On this model a tool that says nothing does not block; one that nobody declared does.
    assert [read.blocks(name) for name in ("transfer", "look_up", "invented")] == [
        True,
        False,
        True,
    ]


def test_a_setup_with_nothing_but_a_model() -> None:
    read = gemini()
    assert (read.handle, read.resumption, read.trigger_tokens) == ("", False, None)
    assert (read.prefix_ms, read.silence_ms) == (None, None)
    assert read.automatic_activity
    assert read.interruptible
    assert not read.input_transcription
    assert not read.output_transcription


UNKNOWN = "Unknown name"
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": ({"tool_config": {}}, "Unknown name \"tool_config\" at 'setup'"),
    "in generation_config": (generation(voice="Kore"), UNKNOWN),
    "in realtime_input_config": ({"realtimeInputConfig": {"vad": {}}}, UNKNOWN),
    "in activity detection": (detection(threshold=0.5), UNKNOWN),
    "in a tool": ({"tools": [{"functions": []}]}, "Unknown name \"functions\" at 'setup.tools[0]'"),
    "in a declaration": (function(strict=True), UNKNOWN),
    "in parameters": (
        function(parameters={"type": "OBJECT", "additionalProperties": False}),
        'Unknown name "additionalProperties"',
    ),
    "in a content": ({"systemInstruction": {"text": "Be kind."}}, UNKNOWN),
    "mixed case": ({"Session_Resumption": {}}, UNKNOWN),
    "only on Vertex": ({"explicitVadSignal": True}, UNKNOWN),
    "resumption, only on Vertex": ({"sessionResumption": {"transparent": True}}, UNKNOWN),
    "sensitivity": (
        detection(startOfSpeechSensitivity="START_SENSITIVITY_MEDIUM"),
        "start_of_speech_sensitivity",
    ),
    "end sensitivity": (detection(endOfSpeechSensitivity="END_SENSITIVITY_MEDIUM"), "(enum)"),
    "activity handling": ({"realtimeInputConfig": {"activityHandling": "INTERRUPTS"}}, "(enum)"),
    "behaviour": (function(behavior="ASYNC"), "(enum)"),
    "a string for a message": ({"systemInstruction": "Be kind."}, "(message)"),
    "a string for a number": (generation(temperature="0.7"), "(TYPE_FLOAT)"),
    "a fraction for a whole number": (detection(silenceDurationMs=0.5), "(TYPE_INT32)"),
    "a number for a bool": (detection(disabled=1), "(TYPE_BOOL)"),
    "one tool, no list": ({"tools": {"functionDeclarations": []}}, "(list)"),
    "text answers": (generation(responseModalities=["TEXT"]), "non-audio request"),
    "voice": (generation(speechConfig=voice("Alloy")), "'Alloy' is not available"),
    "thinking": (generation(thinkingConfig={"thinkingLevel": "LOW"}), "thinking_config"),
    "empty thinking": (generation(thinkingConfig={}), "thinking_config"),
    "affective dialog": (generation(enableAffectiveDialog=True), "enable_affective_dialog"),
    "proactivity off": ({"proactivity": {"proactiveAudio": False}}, "proactive_audio"),
    "function name": (function(name="hang up"), "Invalid function name"),
    "required but not there": (
        function(parameters={"type": "OBJECT", "properties": {}, "required": ["to"]}),
        "property is not defined: to",
    ),
    "enum of numbers": (
        function(
            parameters={"type": "OBJECT", "properties": {"n": {"type": "INTEGER", "enum": ["1"]}}}
        ),
        "only allowed for STRING",
    ),
    "two of a name": (
        {"tools": [{"functionDeclarations": [{"name": "f"}, {"name": "f"}]}]},
        "Duplicate function declaration",
    ),
    "compression up": (
        {
            "contextWindowCompression": {
                "triggerTokens": 1000,
                "slidingWindow": {"targetTokens": 2000},
            }
        },
        "target_tokens",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_gemini_3_8_refuses(name: str) -> None:
    setup, reason = REFUSED[name]
    with pytest.raises(SessionEnd) as end:
        gemini(**setup)
    assert end.value.close.code == 1007
    assert reason in end.value.close.reason
    assert len(end.value.close.reason.encode()) <= REASON_BYTES


@pytest.mark.parametrize(
    ("model", "setup"),
    [
        (V3_1, generation(thinkingConfig={"thinkingBudget": 0})),
        (V3_1, function(behavior="NON_BLOCKING")),
        (V3_1, {"proactivity": {"proactiveAudio": True}}),
        (V2_5, generation(thinkingConfig={"thinkingLevel": "LOW"})),
    ],
)
def test_what_another_model_refuses(model: str, setup: dict[str, Any]) -> None:
    with pytest.raises(SessionEnd, match="1007"):
        gemini(model, **setup)


@pytest.mark.parametrize(
    ("model", "setup"),
    [
        (V3_1, generation(thinkingConfig={"thinkingLevel": "MINIMAL"})),
        (V2_5, generation(thinkingConfig={"thinkingBudget": 0}, enableAffectiveDialog=True)),
        (V2_5, {"proactivity": {"proactiveAudio": False}}),
    ],
)
def test_what_another_model_takes(model: str, setup: dict[str, Any]) -> None:
    gemini(model, **setup)


def test_vertex_takes_and_refuses_other_fields() -> None:
    read = vertex(explicitVadSignal=True, sessionResumption={"transparent": True})
    assert (read.vertex, read.activity_signals, read.resumption) == (True, True, True)
    with pytest.raises(SessionEnd, match='Unknown name "historyConfig"'):
        vertex(historyConfig={"initialHistoryInClientContent": True})


@pytest.mark.parametrize("model", MODELS)
def test_models_are_known_where_they_are_served(model: str) -> None:
    for read, served in ((gemini, MODELS[model].gemini), (vertex, MODELS[model].vertex)):
        if served:
            read(model)
        else:
            with pytest.raises(SessionEnd, match=r"1008.*is not found for API version"):
                read(model)


def test_models_nobody_serves() -> None:
    for asked in ({"model": "models/gemini-9"}, {"model": V3_8}, {}):
        with pytest.raises(SessionEnd, match="1008"):
            read_setup(asked, vertex=False, api_version="v1beta")
    with pytest.raises(SessionEnd, match=r"1008.*API version v1,"):
        gemini(V3_1, api_version="v1")


def test_there_are_thirty_voices() -> None:
    assert len(VOICES) == 30
    for name in VOICES:
        gemini(generationConfig={"speechConfig": voice(name)})
