"""What calls cost: every sum here was made by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from audiosocket_agent.errors import ConfigError
from audiosocket_agent.lab.simulator.usage import Context
from audiosocket_agent.records.costs import Bill, Budget, Kind, Prices
from audiosocket_agent.settings import Gemini

LIVE = "gemini-3.8-live"
TABLE = Prices(
    {
        "m": {
            ("in", "text"): Decimal("0.75"),
            ("in", "audio"): Decimal("3"),
            ("out", "audio"): Decimal("12"),
        }
    }
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_turn() -> None:
    tokens = {("in", "text"): 332, ("in", "audio"): 165, ("out", "audio"): 42}
    # 332 * 0.75 + 165 * 3 + 42 * 12 = 249 + 495 + 504 = 1248
    assert TABLE.cost("m", tokens) == Decimal("0.001248")
    assert TABLE.each("m", tokens) == {
        ("in", "text"): Decimal("0.000249"),
        ("in", "audio"): Decimal("0.000495"),
        ("out", "audio"): Decimal("0.000504"),
    }


def test_a_turn_as_the_service_reported_it() -> None:
    """With 25 tokens of the prompt in no detail, and thoughts outside of the total."""
    tokens = {
        ("in", "text"): 332,
        ("in", "audio"): 165,
        ("in", "other"): 25,
        ("out", "audio"): 42,
        ("out", "thinking"): 136,
    }
    # 1248 as above + 25 * 0.75 + 136 * 4.50 = 1248 + 18.75 + 612 = 1878.75
    assert Prices.load().cost(LIVE, tokens) == Decimal("0.00187875")


def test_twenty_turns_of_ten_seconds() -> None:
    """The whole context is charged again with every turn: the caller's 5 s and the agent's 5 s are 250
    tokens of audio, of which the agent's 125 come after the charge; beside them 400 of text."""
    bill = Bill(Prices.load(), f"models/{LIVE}")
    context = Context(text=400)
    for _ in range(20):
        context.heard(5.0)
        usage = context.charge_turn(5.0, vertex=False)
        details = {d["modality"].lower(): d["tokenCount"] for d in usage["promptTokensDetails"]}
        bill.add(
            {
                ("in", "text"): details["text"],
                ("in", "audio"): details["audio"],
                ("in", "other"): usage["promptTokenCount"] - sum(details.values()),
                ("out", "audio"): usage["responseTokenCount"],
                ("out", "thinking"): usage["thoughtsTokenCount"],
            }
        )
    # audio in: 125 * (1 + 3 + ... + 39) = 125 * 400 = 50 000   * 3.00 = 150 000
    # text in: 20 * (400 + 32) = 8 640                           * 0.75 =   6 480
    # audio out: 20 * 125 = 2 500                                * 12   =  30 000
    # thoughts: 20 * 20 = 400                                    * 4.50 =   1 800
    assert bill.usd == Decimal("0.188280")
    assert bill.unpriced == 0


@pytest.mark.parametrize("model", [LIVE, f"models/{LIVE}", f"publishers/google/models/{LIVE}"])
def test_a_model_is_known_by_its_name_whatever_is_before_it(model: str) -> None:
    assert Prices.load().cost(model, {("in", "audio"): 1_000_000}) == 3


def test_the_model_that_is_set_by_default_has_prices() -> None:
    default = Gemini().live_model
    kinds: list[Kind] = [("in", "text"), ("in", "audio"), ("in", "other")]
    kinds += [("out", "text"), ("out", "audio"), ("out", "thinking")]
    with capture_logs() as logged:
        assert Prices.load().cost(default, dict.fromkeys(kinds, 1)) is not None
    assert not logged


# -- never a guess ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["gemini-3.8-live-002", "gemini-3.8", "echo", ""])
def test_a_model_that_is_only_similar_has_no_price(model: str) -> None:
    with capture_logs() as logged:
        prices = Prices.load()
        for _ in range(3):
            assert prices.cost(model, {("in", "audio"): 1, ("out", "audio"): 1}) is None
    assert [(line["event"], line["model"], line["tokens"]) for line in logged] == [
        ("no price", model, "all tokens")
    ]


def test_one_modality_without_a_price_leaves_the_turn_without_one() -> None:
    with capture_logs() as logged:
        prices = Prices({"m": {("in", "text"): Decimal(1)}})
        for _ in range(3):
            assert prices.cost("m", {("in", "text"): 5, ("in", "video"): 5}) is None
    assert [line["tokens"] for line in logged] == ["in video"]


def test_no_tokens_of_a_kind_need_no_price() -> None:
    with capture_logs() as logged:
        assert TABLE.cost("m", {("in", "text"): 4, ("in", "video"): 0}) == Decimal("0.000003")
        assert TABLE.cost("m", {}) == 0
    assert not logged


def test_a_bill_says_what_it_leaves_out() -> None:
    bill = Bill(TABLE, "m")
    bill.add({("in", "audio"): 100})
    with capture_logs():
        costs = bill.add({("in", "audio"): 100, ("in", "video"): 258})
    assert costs == {("in", "audio"): Decimal("0.0003"), ("in", "video"): None}
    assert bill.usd == Decimal("0.0006")
    assert bill.unpriced == 258


def test_tokens_of_another_model_are_billed_at_its_prices() -> None:
    bill = Bill(
        Prices({"m": {("in", "audio"): Decimal(3)}, "n": {("in", "audio"): Decimal(1)}}), "m"
    )
    bill.add({("in", "audio"): 100})
    bill.add({("in", "audio"): 100}, "models/n")
    assert bill.usd == Decimal("0.0004")


@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=40))
def test_a_bill_is_the_sum_of_its_turns_to_the_last_place(counts: list[int]) -> None:
    bill = Bill(TABLE, "m")
    total = Decimal(0)
    for count in counts:
        tokens = {("in", "text"): count, ("in", "audio"): count // 3, ("out", "audio"): count // 7}
        bill.add(tokens)
        total += TABLE.cost("m", tokens) or 0
    assert bill.usd == total
    microcents = sum(75 * n + 300 * (n // 3) + 1200 * (n // 7) for n in counts)
    assert bill.usd == Decimal(microcents).scaleb(-8)


# -- a file of one's own ---------------------------------------------------------------------------


def test_own_prices_go_over_the_shipped_ones_one_by_one(tmp_path: Path) -> None:
    own = write(
        tmp_path / "prices.toml",
        f"""
        ["{LIVE}"]
        in.audio = 1.5

        [house-model]
        in = {{ audio = 1 }}
        out = {{ audio = 0.1234567 }}
        """,
    )
    prices = Prices.load(own)
    assert prices.cost(LIVE, {("in", "audio"): 2}) == Decimal("0.000003")
    assert prices.cost(LIVE, {("out", "audio"): 1}) == Decimal("0.000012")
    assert prices.cost("house-model", {("in", "audio"): 7}) == Decimal("0.000007")
    assert prices.cost("house-model", {("out", "audio"): 1}) == Decimal("1.234567E-7")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('["m"]\nin.audio = -1', '["m"] in.audio must be dollars per million tokens, not -1'),
        ('["m"]\nin.audio = "3"', "in.audio must be dollars"),
        ('["m"]\nin.audio = nan', "not NaN"),
        ('["m"]\nin.audio = inf', "not Infinity"),
        ('["m"]\nin.audio = true', "not True"),
        ('["m"]\nup.audio = 3', '["m"] has tables `in` and `out`, not up'),
        ('["m"]\nin = 3', '["m"] has tables `in` and `out`, not in'),
        ("[gemini-3.8-live]\nin.audio = 3", "not 8-live; a model's name is to be in quotes"),
        ("m = 3", 'm must be a table: ["m"]'),
        ("[", "Invalid"),
        ("x = " + "[" * 100_000, ""),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file_and_the_place(
    tmp_path: Path, text: str, said: str
) -> None:
    own = write(tmp_path / "prices.toml", text)
    with pytest.raises(ConfigError) as caught:
        Prices.load(own)
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"{own}: ")
    assert said in line


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    own = write(tmp_path / "prices.toml", '["m"]\nin.audio = -1\nout.text = "x"\n["n"]\nboth = 1')
    with pytest.raises(ConfigError) as caught:
        Prices.load(own)
    assert len(str(caught.value).splitlines()) == 3


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Prices.load(tmp_path / "nowhere.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        Prices.load(tmp_path / "binary.toml")


# -- the cap ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spent", "per_day", "is_spent"),
    [
        ("0", "5", False),
        ("4.999999999", "5", False),
        ("5", "5", True),
        ("7.2", "5", True),
        ("0", "0", False),
        ("100", "0", False),
    ],
)
def test_a_day_has_a_budget_and_0_is_none(spent: str, per_day: str, is_spent: bool) -> None:
    budget = Budget(Decimal(per_day))
    budget.spend(Decimal(spent), NOON)
    assert budget.is_spent(NOON) is is_spent


def test_a_day_begins_with_nothing_spent() -> None:
    budget = Budget(Decimal(5))
    budget.known(Decimal(3), NOON)
    budget.spend(Decimal(2), NOON)
    assert budget.is_spent(NOON)
    assert not budget.is_spent(NOON + timedelta(days=1))


NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_a_call_that_is_still_in_yesterday_leaves_what_is_spent_today() -> None:
    budget = Budget(Decimal(5))
    today = datetime(2026, 11, 21, 0, 1, tzinfo=UTC)
    budget.spend(Decimal(5), today)
    budget.spend(Decimal(1), today - timedelta(minutes=2))
    assert budget.is_spent(today)
