"""Every metric of the service, in one place: names and buckets are a contract with dashboards.

Base units; no call id, number or free text in a label. Children are bound here, once.
"""

from collections.abc import Mapping
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from audiosocket_agent import wire

PREFIX: Final = "audiosocket_agent_"

_LATENCY: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0)
_BARGE_IN: Final = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
_LAG: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
_CALL: Final = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
_WAIT: Final = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0)
_CONNECT: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 2.0, 4.0, 8.0)


class Metrics:
    """The service's metrics, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, CPU and open files, by their usual names

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(PREFIX + name, text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(PREFIX + name, text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(PREFIX + name, text, labels, buckets=buckets, registry=self.registry)

        self.calls_active = gauge("calls_active", "Calls that are up now.")
        self.calls = counter("calls_total", "Calls that ended, by why they did.", "outcome")
        self.calls_rejected = counter(
            "calls_rejected_total", "Connections that did not become a call, by reason.", "reason"
        )
        self.calls_revived = counter(
            "calls_revived_total", "Calls that went on after the process that had them was killed."
        )
        self.call_duration = histogram(
            "call_duration_seconds", "From accept to the end of the call.", _CALL
        )
        self.greeting = histogram(
            "greeting_seconds", "From accept to the first audio of the agent.", _LATENCY
        )
        self.response = histogram(
            "response_seconds",
            "From the end of the caller's speech to the first audio of the agent, at our socket.",
            _LATENCY,
        )
        self.barge_in_stop = histogram(
            "barge_in_stop_seconds",
            "From the moment a sound of the caller is detected to the end of the agent's last frame.",
            _BARGE_IN,
        )
        self.barge_ins = counter(
            "barge_ins_total",
            "Replies stopped by a sound of the caller: confirmed as speech, resumed, or stopped by "
            "the model.",
            "result",
        )
        self.frames_received = counter(
            "frames_received_total", "AudioSocket messages received, by kind.", "kind"
        )
        self.frames_sent = counter("frames_sent_total", "Audio frames sent, silence included.")
        self.frames_late = counter(
            "frames_late_total", "Times a call's frames left more than 20 ms late."
        )
        self.playout_skipped = counter(
            "playout_skipped_seconds_total",
            "Time skipped because frames were more than 60 ms late, or dropped because the PBX did "
            "not read or the model was too far ahead.",
        )
        self.model_connect = histogram(
            "model_connect_seconds", "From dialling the model to its being ready.", _CONNECT
        )
        self.model_errors = counter(
            "model_errors_total", "Model sessions refused or lost, by code.", "code"
        )
        self.model_reconnects = counter(
            "model_reconnects_total",
            "Model sessions taken up again, by reason.",
            "reason",
        )
        self.model_stalls = counter(
            "model_stalls_total", "Times the model's audio ran dry inside a reply."
        )
        self.model_faults = counter(
            "model_faults_total",
            "Times a connected model did not do its part, as far as a caller could hear, by how.",
            "fault",
        )
        self.model_waits = histogram(
            "model_waits_seconds",
            "How long callers waited for a model at fault until it was heard again, by the fault.",
            _WAIT,
            "fault",
        )
        self.fillers = counter("fillers_total", "Short sounds played to callers who waited.")
        self.tokens = counter(
            "tokens_total", "Tokens as counted by the model.", "direction", "modality"
        )
        self.cost = counter("cost_usd_total", "Cost of tokens, as far as they have a price.")
        self.tool_calls = counter(
            "tool_calls_total", "Tools used by the model, by what came of it.", "tool", "outcome"
        )
        self.records_waiting = gauge(
            "records_waiting", "Records that wait in memory to be written."
        )
        self.records_behind = gauge(
            "records_behind", "1 while records wait in the journal for the database."
        )
        self.records_lost = counter(
            "records_lost_total", "Records that found neither database nor journal, or no place."
        )
        self.recording_lost = counter(
            "recording_lost_seconds_total",
            "Audio that is in no recording: the disk was too slow, or did not take it.",
        )
        self.loop_lag = histogram(
            "loop_lag_seconds", "How late the event loop ran a timer, ten times a second.", _LAG
        )
        self.build_info = gauge("build_info", "Version and model; always 1.", "version", "model")
        self.received_by_kind = {
            int(kind): self.frames_received.labels(kind.name.lower()) for kind in wire.Kind
        }

    def frames(
        self,
        *,
        received: Mapping[int, int],
        sent: int,
        late: int,
        skipped_seconds: float,
        stalls: int,
    ) -> None:
        """Add what passed through a leg; called once a second and call, not per frame."""
        for kind, count in received.items():
            self.received_by_kind[kind].inc(count)
        self.frames_sent.inc(sent)
        self.frames_late.inc(late)
        self.playout_skipped.inc(skipped_seconds)
        self.model_stalls.inc(stalls)

    def page(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition of all metrics, and its content type: OpenMetrics where `accept`, the
        header of a request, has it."""
        if "application/openmetrics-text" in accept:
            page: bytes = openmetrics.generate_latest(self.registry)  # type: ignore[no-untyped-call]
            return page, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4
