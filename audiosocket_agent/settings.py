"""Every setting: name, default, range and reason.

A section and a key make a variable: `[vad] aggressiveness` is `VAD_AGGRESSIVENESS`. Durations are
seconds. Where the values come from is in `config`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from audiosocket_agent.addresses import LOOPBACK, Network, is_loopback, networks, split


def _number(value: Any) -> Any:
    """A variable is text; pydantic turns it into an int, but not into one of a few ints."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


FromText = BeforeValidator(_number)


_BRIEFED_S: Final = 70.0
"""What a human may be told, and some."""

MAX_PORT: Final = 65535
Port = Annotated[int, Field(ge=0, le=MAX_PORT)]
Seconds = Annotated[float, Field(gt=0)]


def _networks(text: str) -> str:
    networks(text)
    return text


Allow = Annotated[str, AfterValidator(_networks)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AudioSocket(_Section):
    """Where Asterisk connects, and how audio is exchanged with it."""

    host: str = Field("127.0.0.1", description="Address to listen on for AudioSocket.")
    port: Port = Field(9092, description="Port to listen on for AudioSocket.")
    downlink_rate: Annotated[Literal[0, 8000, 16000, 24000], FromText] = Field(
        0,
        description="Rate in Hz to send at; 0 is the rate the caller's audio comes in, which every "
        "Asterisk takes. 24000 passes Gemini's audio on untouched and needs Asterisk 20.17, 21.12, "
        "22.7 or 23.1.",
    )
    uuid_mode: Literal["open", "registered"] = Field(
        "open",
        description="open takes any UUID; registered only those that FastAGI (`open`, `run`) or `dial` "
        "has announced, once, and from the same host. Off loopback it must be registered.",
    )
    allow: Allow = Field(
        "",
        description="Where AudioSocket connections may come from, besides this host itself: addresses "
        "and networks (10.0.0.0/24) between spaces. Others are closed at once. Needed off loopback.",
    )
    advertise: str = Field(
        "",
        pattern=r"^((\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?)?$",
        description="Where FastAGI tells the dialplan to connect AudioSocket: HOST or HOST:PORT. Empty "
        "is the address that its request has come to, and the port that is listened on.",
    )
    connects: float = Field(
        200.0,
        gt=0,
        le=100_000,
        description="New connections a second from one address, on AudioSocket and FastAGI each; more "
        "are closed at once.",
    )
    uplink_gap_fill: float = Field(
        1.0,
        ge=0,
        le=60,
        description="How long missing caller audio (mute, hold) is replaced by silence before the "
        "model is told that the audio pauses.",
    )


class FastAgi(_Section):
    """Where the dialplan asks."""

    host: str = Field("127.0.0.1", description="Address to listen on for FastAGI.")
    port: Port = Field(4573, description="Port to listen on for FastAGI.")
    ring_time: Seconds = Field(
        30.0,
        le=600,
        description="How long a call that `open` has announced may take to come; the model is held "
        "meanwhile.",
    )
    allow: Allow = Field(
        "",
        description="Where FastAGI requests may come from, besides this host itself; empty is "
        "`AUDIOSOCKET_ALLOW`.",
    )


class Transfer(_Section):
    """Callers who are passed on to a human."""

    hold: Seconds = Field(
        120.0,
        le=3600,
        description="How long a transfer may be tried with the conversation kept, so that a caller "
        "whom nobody answers comes back to it.",
    )
    ring: Seconds = Field(
        25.0,
        le=600,
        description="How long a human's phone rings, where FastAGI `run` drives the call; the "
        "dialplan says it elsewhere.",
    )


class Database(_Section):
    """Where the records of calls are."""

    url: SecretStr | None = Field(
        None,
        description="postgresql://USER:PASSWORD@HOST/NAME, or sqlite:///PATH; without it agent.db in "
        "the state directory.",
    )


class Records(_Section):
    """What is kept of a call."""

    transcripts: bool = Field(
        True,
        description="Keep what was said, as text, and what tools were given; without it only the names "
        "of arguments and the lengths of texts. Tickets and callbacks keep theirs.",
    )
    mask: bool = Field(
        True,
        description="Hide telephone numbers, cards and keys in what was said and in what tools were "
        "given: seven digits or more, but for the last two. Tickets and callbacks keep what they were "
        "given, logs are masked in any case.",
    )
    days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="Days after which a call's records are deleted; 0 keeps them.",
    )
    recordings: Path | None = Field(
        None, description="Directory of recordings; without it `recordings` in the state directory."
    )
    prices: Path | None = Field(
        None,
        description="A file of prices over the shipped ones (`audiosocket_agent/records/prices.toml`).",
    )


class Cost(_Section):
    """What the model may cost."""

    usd_per_day: float = Field(
        0.0,
        ge=0,
        description="What all calls of a day may cost together; no further call is taken then. 0 is no "
        "bound.",
    )


class Tools(_Section):
    """What agents may use."""

    hosts: str = Field(
        "",
        description="Hosts that webhooks and MCP may talk to, besides this one: names between spaces; "
        "*.example.com is all below it.",
    )

    @field_validator("hosts")
    @classmethod
    def _are_hosts(cls, text: str) -> str:
        for host in re.split(r"[,\s]+", text.lower()):
            if not re.fullmatch(r"(\*\.)?[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|[0-9a-f:]+|", host):
                raise ValueError(f"{host!r} is no host, as api.example.com is one")
        return text


class Sms(_Section):
    """The gateway of the tool send_sms: a POST with To, From and Body, as Twilio takes it."""

    url: str = Field("", description="https://…/Messages.json; empty: no agent can send an SMS.")
    sender: str = Field("", description="The number or name it comes from.")
    country: str = Field(
        "",
        pattern=r"\+?[0-9]{0,3}",
        description="Code of the country (91) of numbers that are shown without one. Where it is set, "
        "no other country gets messages.",
    )
    other_countries: str = Field(
        "",
        pattern=r"(\+?[1-9][0-9]{0,2}( *, *\+?[1-9][0-9]{0,2})*)?",
        description="Codes of further countries that get messages (971,44).",
    )
    username: str = Field("", description="Who to log in as, with Twilio the account's SID.")
    password: SecretStr | None = Field(None, description="The password, with Twilio the token.")


class Control(_Section):
    """Where `status`, `calls` and `dial` reach the running service."""

    socket: str = Field(
        "",
        description="Path of the Unix socket; empty is control.sock in systemd's runtime directory, "
        "else in the state directory.",
    )


class Ami(_Section):
    """Asterisk's manager interface, for `dial`."""

    host: str = Field("127.0.0.1", min_length=1, description="Address of Asterisk's manager.")
    port: Port = Field(5038, description="Port of Asterisk's manager.")
    username: str = Field(
        "audiosocket-agent", min_length=1, description="Who to log in as (manager.conf)."
    )
    secret: SecretStr | None = Field(None, description="The password; it is never sent itself.")


class Outbound(_Section):
    """Calls that `dial` places."""

    allow: str = Field(
        "",
        description="Which numbers may be dialled: regular expressions, separated by spaces, one of "
        "which must match the whole number. Empty: none may.",
    )
    channel: str = Field(
        "PJSIP/{number}@trunk", description="The channel to dial; {number} is the number."
    )
    timeout: Seconds = Field(30.0, le=300, description="How long to let it ring.")
    caller_id: str = Field("", description="The number shown to whoever is called.")

    @field_validator("allow")
    @classmethod
    def _compiles(cls, text: str) -> str:
        for rule in text.split():
            try:
                re.compile(rule)
            except re.error:
                raise ValueError(f"should be regular expressions; {rule!r} is none") from None
        return text

    @field_validator("channel")
    @classmethod
    def _has_a_place(cls, text: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9]+/[^{}\s,&]*\{number\}[^{}\s,&]*", text):
            raise ValueError("should be one channel with {number} in it, as PJSIP/{number}@trunk")
        return text


class Asterisk(_Section):
    """The PBX itself, for `doctor`."""

    command: str = Field(
        "asterisk",
        min_length=1,
        description="How to reach its console: words as in a shell, before -rx.",
    )


class MetricsPort(_Section):
    """The page for Prometheus and load balancers."""

    host: str = Field("0.0.0.0", description="Address of /metrics, /healthz and /readyz.")
    port: Port = Field(9100, description="Port of /metrics, /healthz and /readyz.")


class Vad(_Section):
    """When a sound of the caller is taken for speech (webrtcvad)."""

    aggressiveness: int = Field(
        3,
        ge=0,
        le=3,
        description="webrtcvad's mode. Higher takes less noise for speech: at 10 dB signal to noise, "
        "mode 2 starts falsely 13 times a minute, mode 3 once.",
    )
    window: Seconds = Field(
        0.1, le=1, description="Length of audio in which speech_threshold is looked for."
    )
    speech_threshold: Seconds = Field(
        0.06, le=1, description="Voiced audio within the window that counts as an onset."
    )
    silence_threshold: Seconds = Field(
        0.5, le=10, description="Quiet after the last voiced frame that ends an utterance."
    )
    pre_roll: Seconds = Field(
        0.3,
        le=1,
        description="Audio from before an onset that the model gets with it, where turns are found here "
        "(TURN_MODE).",
    )
    energy_threshold: float = Field(
        200.0,
        ge=0,
        le=32767,
        description="Root mean square of a frame (0 to 32767) under which nothing is speech; 200 is "
        "-44 dBFS.",
    )


class Interruption(_Section):
    """How sure to be before a reply is given up."""

    speech: Seconds = Field(
        0.25, le=5, description="Speech over a reply that confirms an interruption."
    )
    verdict: Seconds = Field(
        0.4,
        le=5,
        description="Pause without confirmation after which the reply goes on where it stopped.",
    )


class Watchdog(_Section):
    """What a caller bears of a model that does not do its part. Steps follow one another until it is
    heard again."""

    filler: Seconds = Field(
        2.0,
        le=3,
        description="Silence after which a caller who waits hears a filler, again and again.",
    )
    nudge: Seconds = Field(
        3.0, le=8, description="From where an answer is owed until the model is told to give it."
    )
    reconnect: Seconds = Field(
        1.5, le=8, description="From there until its session is taken up on a new connection."
    )
    another: Seconds = Field(
        1.5,
        le=8,
        description="From there until another session is begun, by GEMINI_SECOND_MODEL where there is "
        "one.",
    )
    give_up: Seconds = Field(
        8.0,
        le=8,
        description="From where an answer is owed until the caller hears an apology, and is left to "
        "the dialplan; whatever step it is at.",
    )


class Gemini(_Section):
    """The Gemini Live API."""

    api_key: SecretStr | None = Field(
        None,
        description="API key; GOOGLE_API_KEY is accepted too. Better a credential than a file.",
    )
    live_model: str = Field("gemini-3.8-live", min_length=1, description="Live model to use.")
    second_model: str = Field(
        "", description="Live model to go on with where the first cannot be had; empty: none."
    )
    voice: str = Field("Kore", description="Prebuilt voice; empty is the model's default.")
    language: str = Field(
        "",
        description="BCP-47 code sent to the model; empty leaves it to the conversation, which "
        "current models do better.",
    )
    temperature: float | None = Field(None, ge=0, le=2, description="Sampling temperature.")
    api_version: str = Field("v1beta", description="API version; preview models need v1beta.")
    fast_path: bool = Field(
        True,
        description="Take audio, and what comes often, past the SDK's models: 3.3 ms of CPU per "
        "call-second instead of 8.3, at 100 calls. false is the plain SDK.",
    )
    setup_timeout: Seconds = Field(8.0, le=60, description="Most time to get a session ready.")
    input_rate: Annotated[Literal[0, 16000], FromText] = Field(
        0,
        description="Rate of the audio sent to the model; 0 is as it came from Asterisk, 16000 "
        "converts 8 kHz callers first, at 30 % more CPU.",
    )
    uplink_chunk_ms: Annotated[Literal[20, 40, 60], FromText] = Field(
        20,
        description="Audio to the model in pieces of so many milliseconds; 40 saves 15 % of the CPU "
        "and makes answers up to 20 ms later.",
    )
    start_sensitivity: Literal["", "high", "low"] = Field(
        "", description="How readily the model takes a sound for speech; empty is its default."
    )
    end_sensitivity: Literal["", "high", "low"] = Field(
        "", description="How readily the model takes a pause for the end; empty is its default."
    )
    prefix_padding: float = Field(
        0.1,
        ge=0,
        le=5,
        description="Speech needed before it counts as an onset, whoever finds the turns.",
    )
    silence_duration: float = Field(
        0.5, ge=0.1, le=10, description="Silence the model takes for the end of the caller's turn."
    )
    transcription: bool = Field(
        True, description="Have both sides transcribed; transcripts are never logged at INFO."
    )
    compression_trigger: int = Field(
        25_600,
        ge=0,
        description="Context tokens at which old turns are dropped; 0 never does. Every turn is "
        "billed with its whole context.",
    )
    compression_target: int = Field(12_800, ge=0, description="Context tokens to keep then.")
    heard_notes: bool = Field(
        True, description="Tell the model how much of an interrupted reply was heard."
    )
    ping_interval: float = Field(
        20.0, ge=0, le=600, description="Seconds between keepalive pings; 0 sends none."
    )
    vertex: bool = Field(False, description="Use Vertex AI with application default credentials.")
    project: str = Field("", description="Google Cloud project, for Vertex AI.")
    location: str = Field("", description="Google Cloud location, for Vertex AI.")

    @property
    def live_models(self) -> tuple[str, ...]:
        """Those that a call may be answered by."""
        return (self.live_model, *filter(None, [self.second_model]))


class Logging(_Section):
    """Logs."""

    level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(lambda v: str(v).upper())
    ] = Field("INFO", description="DEBUG, INFO, WARNING or ERROR. DEBUG has transcripts in it.")
    file: Path | None = Field(None, description="File to append to; else standard error.")


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    voice_model: Literal["auto", "gemini", "echo"] = Field(
        "auto", description="auto is gemini where a key is set, else echo."
    )
    default_agent: str = Field(
        "receptionist", min_length=1, description="Who answers where the dialplan names nobody."
    )
    agents_directory: Path = Field(
        Path("/etc/audiosocket-agent/agents"),
        description="Files of your own agents, NAME.toml each; one of a shipped name replaces it.",
    )
    turn_mode: Literal["server", "local", "auto"] = Field(
        "server",
        description="Who finds the caller's turns: the model's service (server), or this one by VAD_* "
        "(local), which misses no short answer right after the agent's words. auto changes from the one "
        "to the other inside a call where the service has failed twice.",
    )
    instance: int = Field(
        0,
        ge=0,
        le=1000,
        description="Which of several services on one host this is. It is added to the three ports, so "
        "that 2 takes calls on 9094.",
    )
    max_calls: int = Field(
        80, ge=1, le=10_000, description="Calls at a time; more are given back to the dialplan."
    )
    max_loop_lag: float = Field(
        0.05,
        ge=0,
        le=10,
        description="No further call is taken while more than a tenth of the last 5 s found the event "
        "loop later than this, until it is half of it; over 0.06 callers hear it. 0 is no bound.",
    )
    max_memory: int = Field(
        0,
        ge=0,
        description="No further call is taken while the process has more than so many MiB in memory; "
        "about 85 % of the unit's MemoryMax, where it has one. 0 is no bound.",
    )
    max_call_duration: Seconds = Field(1800.0, description="Longest call; it then ends politely.")
    drain_timeout: float = Field(
        300.0, ge=0, description="What running calls get to end after SIGTERM."
    )
    drain_notice: float = Field(
        0.0,
        ge=0,
        le=60,
        description="How long after SIGTERM calls are still taken while /readyz says draining already: "
        "what a load balancer needs to see it.",
    )
    drain_move: bool = Field(
        False,
        description="What becomes of calls that are up after DRAIN_TIMEOUT: true leaves them to another "
        "service on the same PostgreSQL, which the dialplan finds by asking `next` anew; false ends "
        "them politely, as it does those that have not come by `open`, and as is done without a "
        "DATABASE_URL or after another process has taken the ports over.",
    )
    enable_interruption_handling: bool = Field(
        True, description="Let the caller interrupt the agent."
    )
    enable_call_recording: bool = Field(
        False,
        description="Record the calls of agents whose file has `[recording]`: a stereo WAV file each, "
        "the caller on the left.",
    )
    phrases: bool = Field(
        True,
        description="Have the phrases of the agents' files, for callers who wait, spoken once by Gemini "
        "in the agent's voice and kept in the state directory: a few hundred tokens per phrase. false: "
        "a soft tone is heard.",
    )
    audiosocket: AudioSocket = AudioSocket()
    fastagi: FastAgi = FastAgi()
    transfer: Transfer = Transfer()
    database: Database = Database()
    records: Records = Records()
    cost: Cost = Cost()
    tools: Tools = Tools()
    sms: Sms = Sms()
    control: Control = Control()
    ami: Ami = Ami()
    outbound: Outbound = Outbound()
    asterisk: Asterisk = Asterisk()
    metrics: MetricsPort = MetricsPort()
    vad: Vad = Vad()
    interruption: Interruption = Interruption()
    watchdog: Watchdog = Watchdog()
    gemini: Gemini = Gemini()
    log: Logging = Logging()

    @model_validator(mode="after")
    def _fits_together(self) -> "Settings":
        gemini = self.gemini
        if gemini.vertex and not (gemini.project and gemini.location) and not gemini.api_key:
            raise ValueError("GEMINI_VERTEX needs GEMINI_PROJECT and GEMINI_LOCATION")
        if self.voice_model == "gemini" and not (gemini.vertex or gemini.api_key):
            raise ValueError("VOICE_MODEL=gemini needs GEMINI_API_KEY (or GEMINI_VERTEX=true)")
        if self.audiosocket.uuid_mode == "open" and not is_loopback(self.audiosocket.host):
            raise ValueError(
                f"AUDIOSOCKET_HOST={self.audiosocket.host} is not loopback, which needs "
                "AUDIOSOCKET_UUID_MODE=registered: AudioSocket knows no other password"
            )
        for name, section in (("AUDIOSOCKET", self.audiosocket), ("FASTAGI", self.fastagi)):
            if not is_loopback(section.host) and not (section.allow or self.audiosocket.allow):
                raise ValueError(
                    f"{name}_HOST={section.host} is not loopback, which needs AUDIOSOCKET_ALLOW: the "
                    "addresses or networks of the PBX"
                )
        for name, listener in self._listeners().items():
            if listener.port + self.instance > MAX_PORT:
                raise ValueError(f"INSTANCE={self.instance} makes {name.upper()}_PORT no port")
        if split(self.audiosocket.advertise)[1] > MAX_PORT:
            raise ValueError(f"AUDIOSOCKET_ADVERTISE has no port above {MAX_PORT}")
        if self.transfer.hold < self.transfer.ring + _BRIEFED_S:
            raise ValueError(
                f"TRANSFER_HOLD is less than TRANSFER_RING and {_BRIEFED_S:.0f} s of briefing"
            )
        if self.vad.speech_threshold > self.vad.window:
            raise ValueError("VAD_SPEECH_THRESHOLD is longer than VAD_WINDOW")
        if gemini.compression_target > gemini.compression_trigger:
            raise ValueError("GEMINI_COMPRESSION_TARGET is more than GEMINI_COMPRESSION_TRIGGER")
        return self

    @property
    def allowed(self) -> tuple[tuple[Network, ...], tuple[Network, ...]]:
        """Where AudioSocket connections may come from, and where FastAGI's."""
        audiosocket = self.audiosocket.allow
        fastagi = self.fastagi.allow or audiosocket
        return LOOPBACK + networks(audiosocket), LOOPBACK + networks(fastagi)

    def numbered(self) -> "Settings":
        """The same for the ports of this INSTANCE. Port 0 stays: any that is free."""
        if not self.instance:
            return self
        moved = {
            name: its.model_copy(update={"port": its.port + self.instance})
            for name, its in self._listeners().items()
            if its.port
        }
        return self.model_copy(update=moved)

    def _listeners(self) -> "dict[str, AudioSocket | FastAgi | MetricsPort]":
        return {"audiosocket": self.audiosocket, "fastagi": self.fastagi, "metrics": self.metrics}

    @property
    def model(self) -> Literal["gemini", "echo"]:
        """The voice model that VOICE_MODEL stands for."""
        if self.voice_model != "auto":
            return self.voice_model
        return "gemini" if self.gemini.api_key or self.gemini.vertex else "echo"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # `load` hands over what it has read, with its origins


# ---- names -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its place in the file, its variable and what is known of it."""

    section: str  # empty for the top of the file
    key: str
    info: FieldInfo

    @property
    def variable(self) -> str:
        return f"{self.section}_{self.key}".strip("_").upper()

    @property
    def secret(self) -> bool:
        return "SecretStr" in str(self.info.annotation)


def settings_list() -> Iterator[Setting]:
    """Every setting there is, in the order of the file."""
    for name, info in Settings.model_fields.items():
        section = info.annotation
        if isinstance(section, type) and issubclass(section, _Section):
            for key, field in section.model_fields.items():
                yield Setting(name, key, field)
        else:
            yield Setting("", name, info)


def value_of(settings: Settings, setting: Setting) -> Any:
    """The value in force."""
    holder = getattr(settings, setting.section) if setting.section else settings
    return getattr(holder, setting.key)
