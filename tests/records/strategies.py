"""Any row that there may be."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from audiosocket_agent.records.rows import (
    Alive,
    Call,
    Gone,
    Lost,
    Recording,
    Row,
    ToolUse,
    Turn,
    Usage,
)

texts = st.text(st.characters() | st.sampled_from('\0\ud800नΩ\n\r\u2028\\"')).map(str)
times = st.datetimes(
    datetime(1980, 1, 1),  # noqa: DTZ001 - the zone comes beside it
    datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
)
dollars = st.decimals(0, 999_999, places=9).map(Decimal)
counts = st.integers(0, 2**63 - 1)
seconds = st.floats(0, 1e9)
json_objects = st.dictionaries(
    texts,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)


def _calls() -> st.SearchStrategy[Call]:
    return st.builds(
        Call,
        id=texts,
        agent=texts,
        started_at=times,
        caller=texts,
        caller_name=texts,
        answered_at=st.none() | times,
        ended_at=st.none() | times,
        outcome=st.none() | texts,
        turns=counts,
        greeting_s=st.none() | seconds,
        cost_usd=dollars,
    )


def _turns() -> st.SearchStrategy[Turn]:
    maybe: Any = st.none() | counts
    return st.builds(
        Turn,
        call_id=texts,
        n=counts,
        speaker=texts,
        text=texts,
        start_s=seconds,
        heard_ms=maybe,
        latency_ms=maybe,
        interrupted=st.booleans(),
    )


def _tool_uses() -> st.SearchStrategy[ToolUse]:
    return st.builds(
        ToolUse,
        call_id=texts,
        turn=counts,
        tool=texts,
        arguments=json_objects,
        outcome=texts,
        used_at=times,
        took_ms=counts,
    )


def _usage() -> st.SearchStrategy[Usage]:
    return st.builds(
        Usage,
        call_id=texts,
        turn=counts,
        direction=texts,
        modality=texts,
        tokens=counts,
        used_at=times,
        cost_usd=dollars,
    )


def _recordings() -> st.SearchStrategy[Recording]:
    return st.builds(
        Recording, call_id=texts, path=texts, seconds=seconds, bytes=counts, consent=texts
    )


def _alive() -> st.SearchStrategy[Alive]:
    return st.builds(
        Alive,
        call_id=texts,
        began_at=times,
        written_at=times,
        life=counts,
        outcome=texts,
        handle=texts,
        handle_at=st.none() | times,
        said=texts,
        notes=texts,
    )


parts = _turns() | _tool_uses() | _usage() | _recordings()
gone = st.builds(Lost, of=texts, before=times) | st.builds(Gone, call_id=texts, life=counts)
rows: st.SearchStrategy[Row] = _calls() | parts | _alive() | gone
