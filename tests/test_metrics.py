"""Names and labels are a contract with dashboards: this is the contract."""

from collections.abc import Callable, Iterable

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from audiosocket_agent import wire
from audiosocket_agent.metrics import Metrics

# name without the prefix -> type and labels
CONTRACT: dict[str, tuple[str, set[str]]] = {
    "calls_active": ("gauge", set()),
    "calls_total": ("counter", {"outcome"}),
    "calls_rejected_total": ("counter", {"reason"}),
    "calls_revived_total": ("counter", set()),
    "call_duration_seconds": ("histogram", set()),
    "greeting_seconds": ("histogram", set()),
    "response_seconds": ("histogram", set()),
    "barge_in_stop_seconds": ("histogram", set()),
    "barge_ins_total": ("counter", {"result"}),
    "frames_received_total": ("counter", {"kind"}),
    "frames_sent_total": ("counter", set()),
    "frames_late_total": ("counter", set()),
    "playout_skipped_seconds_total": ("counter", set()),
    "model_connect_seconds": ("histogram", set()),
    "model_errors_total": ("counter", {"code"}),
    "model_reconnects_total": ("counter", {"reason"}),
    "records_behind": ("gauge", set()),
    "records_lost_total": ("counter", set()),
    "records_waiting": ("gauge", set()),
    "recording_lost_seconds_total": ("counter", set()),
    "model_stalls_total": ("counter", set()),
    "model_faults_total": ("counter", {"fault"}),
    "model_waits_seconds": ("histogram", {"fault"}),
    "fillers_total": ("counter", set()),
    "tokens_total": ("counter", {"direction", "modality"}),
    "cost_usd_total": ("counter", set()),
    "tool_calls_total": ("counter", {"tool", "outcome"}),
    "loop_lag_seconds": ("histogram", set()),
    "build_info": ("gauge", {"version", "model"}),
}

Families = dict[str, Metric]


def used() -> Metrics:
    """Every metric has been touched, so that the labels show."""
    metrics = Metrics()
    metrics.calls.labels("caller_hangup").inc()
    metrics.calls_rejected.labels("full").inc()
    metrics.barge_ins.labels("confirmed").inc()
    metrics.model_errors.labels("1011").inc()
    metrics.model_reconnects.labels("go_away").inc()
    metrics.model_faults.labels("no_answer").inc()
    metrics.model_waits.labels("no_answer").observe(3.5)
    metrics.tokens.labels("in", "audio").inc(5)
    metrics.tool_calls.labels("end_call", "ok").inc()
    metrics.build_info.labels("1.0", "echo").set(1)
    for histogram in (metrics.greeting, metrics.response, metrics.loop_lag):
        histogram.observe(0.25)
    return metrics


def families(metrics: Metrics, accept: str, parse: Callable[[str], Iterable[Metric]]) -> Families:
    page, _ = metrics.page(accept)
    return {family.name: family for family in parse(page.decode())}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"audiosocket_agent_{name}", labels)


@pytest.mark.parametrize(
    ("accept", "parse"), [("", plain), ("application/openmetrics-text; version=1.0.0", openmetrics)]
)
def test_the_page_has_what_the_contract_says_and_nothing_else(
    accept: str, parse: Callable[[str], Iterable[Metric]]
) -> None:
    found = {
        name: family
        for name, family in families(used(), accept, parse).items()
        if not name.startswith("process_")  # the usual ones of any process
    }
    expected = {
        f"audiosocket_agent_{name.removesuffix('_total')}": kind
        for name, (kind, _) in CONTRACT.items()
    }
    assert {name: family.type for name, family in found.items()} == expected
    for name, (_, labels) in CONTRACT.items():
        family = found[f"audiosocket_agent_{name.removesuffix('_total')}"]
        assert family.documentation.endswith(".")
        assert {label for sample in family.samples for label in sample.labels} - {"le"} == labels
        assert all(sample.name.startswith(f"audiosocket_agent_{name}") for sample in family.samples)


def test_there_are_no_creation_times_among_them() -> None:
    assert b"_created" not in used().page()[0]


def test_two_services_in_one_process_count_for_themselves() -> None:
    first, second = Metrics(), Metrics()
    first.frames_sent.inc()
    assert value(second, "frames_sent_total") == 0


def test_what_passed_a_leg_is_added() -> None:
    metrics = Metrics()
    for _ in range(2):
        metrics.frames(
            received={wire.Kind.UUID: 1, wire.Kind.SLIN: 50, wire.Kind.DTMF: 2},
            sent=51,
            late=3,
            skipped_seconds=0.06,
            stalls=1,
        )
    assert value(metrics, "frames_received_total", kind="slin") == 100
    assert value(metrics, "frames_received_total", kind="uuid") == 2
    assert value(metrics, "frames_received_total", kind="dtmf") == 4
    assert value(metrics, "frames_received_total", kind="slin16") == 0
    assert value(metrics, "frames_sent_total") == 102
    assert value(metrics, "frames_late_total") == 6
    assert value(metrics, "playout_skipped_seconds_total") == pytest.approx(0.12)
    assert value(metrics, "model_stalls_total") == 2


@pytest.mark.parametrize("kind", list(wire.Kind))
def test_every_kind_on_the_wire_has_its_counter(kind: wire.Kind) -> None:
    metrics = Metrics()
    metrics.frames(received={int(kind): 1}, sent=0, late=0, skipped_seconds=0, stalls=0)
    assert value(metrics, "frames_received_total", kind=kind.name.lower()) == 1


def test_latencies_that_matter_fall_into_buckets_of_their_own() -> None:
    metrics = Metrics()
    for seconds in (0.15, 0.45, 0.55, 0.9, 1.2):
        metrics.response.observe(seconds)
    counts = [
        value(metrics, "response_seconds_bucket", le=le)
        for le in ("0.2", "0.5", "0.6", "1.0", "1.5")
    ]
    assert counts == [1, 2, 3, 4, 5]
