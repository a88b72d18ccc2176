"""The first message of a session: what it may ask of which model, and what it means for us."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from audiosocket_agent.lab.simulator.behaviour import Close
from audiosocket_agent.lab.simulator.schema import (
    GEMINI_SETUP,
    VERTEX_SETUP,
    SessionEnd,
    invalid,
    read,
)


@dataclass(frozen=True, slots=True)
class Model:
    """How the models differ, as far as a client can tell."""

    gemini: bool = True
    """Served by the Gemini API."""
    vertex: bool = False
    """Served by Vertex AI."""
    preview: bool = False
    """Served by preview API versions only (not v1)."""
    thinking: str = ""
    """The field of thinkingConfig that may be set; empty: no thinkingConfig at all."""
    affective: bool = False
    """enableAffectiveDialog may be set."""
    proactive: frozenset[bool] = frozenset()
    """What proactiveAudio may be set to."""
    blocking: bool = True
    """A tool that is declared without a behaviour blocks."""
    async_tools: bool = True
    """A tool may be declared NON_BLOCKING."""
    seed_only: bool = False
    """clientContent may only seed the history, where historyConfig says so; turns are started by
    speech and realtime text."""


_BOTH: Final = frozenset({True, False})
_NATIVE_2_5: Final = Model(preview=True, thinking="thinkingBudget", affective=True, proactive=_BOTH)

MODELS: Final[Mapping[str, Model]] = {
    "gemini-3.8-live": Model(vertex=True, proactive=frozenset({True}), blocking=False),
    "gemini-3.8-live-extended-thinking": Model(
        proactive=frozenset({True}), blocking=False, thinking="thinkingLevel"
    ),
    "gemini-3.1-flash-live-preview": Model(
        preview=True, thinking="thinkingLevel", async_tools=False, seed_only=True
    ),
    "gemini-2.5-flash-native-audio-preview-12-2025": _NATIVE_2_5,
    "gemini-live-2.5-flash-native-audio": Model(
        gemini=False, vertex=True, thinking="thinkingBudget", affective=True, proactive=_BOTH
    ),
}

# fmt: off
VOICES: Final = frozenset(
    {
        "Zephyr", "Puck", "Charon", "Kore", "Fenrir", "Leda", "Orus", "Aoede", "Callirrhoe",
        "Autonoe", "Enceladus", "Iapetus", "Umbriel", "Algieba", "Despina", "Erinome",
        "Algenib", "Rasalgethi", "Laomedeia", "Achernar", "Alnilam", "Schedar", "Gacrux",
        "Pulcherrima", "Achird", "Zubenelgenubi", "Vindemiatrix", "Sadachbia", "Sadaltager",
        "Sulafat",
    }
)
# fmt: on

CHARACTERS_PER_TOKEN: Final = 4
"""Of English text, roughly; only a plausible count is wanted."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a conversation needs to know of its setup."""

    vertex: bool
    model: Model
    handle: str = ""
    """The session to resume; empty: a new one."""
    resumption: bool = False
    """Handles are wanted."""
    automatic_activity: bool = True
    prefix_ms: int | None = None
    silence_ms: int | None = None
    interruptible: bool = True
    input_transcription: bool = False
    output_transcription: bool = False
    activity_signals: bool = False
    seeds_history: bool = False
    blocking_tools: Mapping[str, bool] | None = None
    """Declared tools, and whether each blocks."""
    trigger_tokens: int | None = None
    """The context that starts compression; None: no compression."""
    target_tokens: int = 0
    text_tokens: int = 0
    """Of the instructions and tools."""

    def blocks(self, tool: str) -> bool:
        """Whether the model waits for the response of `tool`, declared or not."""
        return (self.blocking_tools or {}).get(tool, True)


def read_setup(value: Any, *, vertex: bool, api_version: str) -> Setup:
    """Check a setup as the service does. Raises SessionEnd: 1007, or 1008 for the model."""
    setup = read(value, VERTEX_SETUP if vertex else GEMINI_SETUP, "setup")
    model = _model(setup.get("model", ""), vertex=vertex, api_version=api_version)
    _check_generation(setup.get("generationConfig", {}), setup.get("model", ""), model)
    _check_proactivity(setup.get("proactivity", {}), model)
    blocking = _tools(setup.get("tools", []), model)

    realtime = setup.get("realtimeInputConfig", {})
    activity = realtime.get("automaticActivityDetection", {})
    compression = setup.get("contextWindowCompression")
    trigger, target = _compression(compression) if compression is not None else (None, 0)
    resumption = setup.get("sessionResumption")
    return Setup(
        vertex=vertex,
        model=model,
        handle=(resumption or {}).get("handle", ""),
        resumption=resumption is not None,
        automatic_activity=not activity.get("disabled", False),
        prefix_ms=_whole(activity.get("prefixPaddingMs")),
        silence_ms=_whole(activity.get("silenceDurationMs")),
        interruptible=realtime.get("activityHandling") != "NO_INTERRUPTION",
        input_transcription="inputAudioTranscription" in setup,
        output_transcription="outputAudioTranscription" in setup,
        activity_signals=setup.get("explicitVadSignal", False),
        seeds_history=setup.get("historyConfig", {}).get("initialHistoryInClientContent", False),
        blocking_tools=blocking,
        trigger_tokens=trigger,
        target_tokens=target,
        text_tokens=text_tokens(setup.get("systemInstruction"), setup.get("tools")),
    )


def text_tokens(*values: Any) -> int:
    """A plausible count of tokens for the text in `values`."""
    return sum(len(str(value)) for value in values if value) // CHARACTERS_PER_TOKEN


def _model(name: str, *, vertex: bool, api_version: str) -> Model:
    prefix, _, bare = name.rpartition("/")
    model = MODELS.get(bare)
    named_right = prefix.endswith("publishers/google/models") if vertex else prefix == "models"
    served = model and (model.vertex if vertex else model.gemini)
    if not (model and served and named_right) or (model.preview and api_version == "v1"):
        raise SessionEnd(
            Close(
                1008,
                f"{name} is not found for API version {api_version}, or is not supported for "
                "bidiGenerateContent. Call ListModels to see the list of available models.",
            )
        )
    return model


def _check_generation(config: Mapping[str, Any], name: str, model: Model) -> None:
    # These models only speak; TEXT was refused with this text for its voice.
    if config.get("responseModalities", ["AUDIO"]) != ["AUDIO"]:
        raise invalid("Cannot extract voices from a non-audio request.")
    thinking = config.get("thinkingConfig")
    if thinking is not None and (
        not model.thinking or thinking.keys() - {model.thinking, "includeThoughts"}
    ):
        raise invalid("Request contains an invalid argument: thinking_config.")
    if "enableAffectiveDialog" in config and not model.affective:
        raise invalid("Request contains an invalid argument: enable_affective_dialog.")
    speech = config.get("speechConfig", {})
    voice = speech.get("voiceConfig", {}).get("prebuiltVoiceConfig", {}).get("voiceName")
    if voice is not None and voice not in VOICES:
        raise invalid(f"Requested voice api_name '{voice}' is not available for model {name}")


def _check_proactivity(proactivity: Mapping[str, Any], model: Model) -> None:
    wanted = proactivity.get("proactiveAudio")
    if wanted is not None and wanted not in model.proactive:
        raise invalid("Request contains an invalid argument: proactive_audio.")


_FUNCTION_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")


def _tools(tools: list[dict[str, Any]], model: Model) -> dict[str, bool]:
    blocking: dict[str, bool] = {}
    for index, tool in enumerate(tools):
        for place, declaration in enumerate(tool.get("functionDeclarations", [])):
            path = f"setup.tools[{index}].function_declarations[{place}]"
            name = declaration.get("name", "")
            if not _FUNCTION_NAME.fullmatch(name):
                raise invalid(f"* BidiGenerateContentRequest.{path}.name: Invalid function name.")
            if name in blocking:
                raise invalid(f"Duplicate function declaration found: {name}")
            behaviour = declaration.get("behavior")
            if behaviour == "NON_BLOCKING" and not model.async_tools:
                raise invalid("Request contains an invalid argument: behavior.")
            blocking[name] = model.blocking if behaviour is None else behaviour == "BLOCKING"
            _check_parameters(declaration.get("parameters", {}), f"{path}.parameters")
    return blocking


def _check_parameters(schema: Mapping[str, Any], path: str) -> None:
    properties = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in properties:
            raise invalid(f"* {path}.required: property is not defined: {name}")
    if schema.get("enum") and schema.get("type", "").upper() != "STRING":
        raise invalid(f"* {path}.enum: only allowed for STRING type")
    for name, child in properties.items():
        _check_parameters(child, f"{path}.properties[{name}]")
    if "items" in schema:
        _check_parameters(schema["items"], f"{path}.items")


def _compression(compression: Mapping[str, Any]) -> tuple[int, int]:
    # Without numbers the service compresses at 80 % of the context, down to half of that.
    trigger = _whole(compression.get("triggerTokens")) or 104_858
    target = _whole(compression.get("slidingWindow", {}).get("targetTokens")) or trigger // 2
    if target >= trigger:
        raise invalid("Request contains an invalid argument: target_tokens.")
    return trigger, target


def _whole(value: int | str | None) -> int | None:
    return None if value is None else int(value)
