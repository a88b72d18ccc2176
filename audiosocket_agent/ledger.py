"""One call's entries in the records: what was said, what it cost, how it ended.

Everything here is put and forgotten: a call never waits for its record.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from audiosocket_agent import masking
from audiosocket_agent.call.events import Outcome
from audiosocket_agent.call.info import CallInfo, is_telephone
from audiosocket_agent.call.summary import Summary
from audiosocket_agent.records.costs import Bill, Budget, Prices
from audiosocket_agent.records.recorder import Recorder, Tape
from audiosocket_agent.records.rows import Call, Row, ToolUse, Turn, Usage
from audiosocket_agent.survival import Lives, Past
from audiosocket_agent.tools.audit import Used

MAX_TURN_CHARS: Final = 8_000
"""Of one side's words in a row; a monologue of ten minutes."""
REMEMBERED_DIGITS: Final = 7
"""A shorter number is a desk's, and a word whoever's that hides theirs: many people's, each of them."""

Put = Callable[[Row], None]


Recall = Callable[[str, int], Awaitable[Mapping[str, Any]]]
"""Takes a caller's number and how many days back to look; never raises, and answers soon."""


async def _nobody(caller: str, days: int) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Book:
    """Where the ledgers of one process are opened. Without anything else, they are blank."""

    put: Put = lambda row: None
    model: str = ""
    instance: str = ""
    """The same for this process and the one that follows it."""
    text: bool = False
    """Whether what is said is kept."""
    prices: Prices = field(default_factory=lambda: Prices({}))
    budget: Budget = field(default_factory=Budget)
    """Of a day, for all calls together."""
    recall: Recall = _nobody
    """What is known of a caller."""
    recorder: Recorder | None = None
    """None: no call is recorded."""
    mask: bool = True
    """Whether numbers and keys are hidden in what is said, and in what tools were given."""
    lives: Lives | None = None
    """None: no call survives this process."""


BLANK: Final = Book()


class Ledger:
    """Entries of one call that begins now, or goes on after another process had it; `clock` is its
    own."""

    def __init__(
        self,
        book: Book,
        call_id: str,
        agent: str,
        info: CallInfo,
        clock: Callable[[], float],
        past: Past | None = None,
    ) -> None:
        self._put = book.put
        self._text = book.text
        self._mask = book.mask
        self._recorder = book.recorder
        self._bill = Bill(book.prices, book.model)
        self._clock = clock
        self._zero = clock()
        self.began_at = datetime.now(UTC)
        self._recall = book.recall
        self._budget = book.budget
        self._call: dict[str, str] = {
            "id": call_id,
            "agent": agent,
            "caller": info.caller,
            "caller_name": info.caller_name,
            "extension": info.extension,
            "direction": info.direction.value,
            "language": info.language,
            "model": book.model,
            "instance": book.instance,
        }
        self._models: list[str] = []  # that have answered, in their order
        self._answered_at: datetime | None = None
        self.turns = 0
        """Of both sides, as far as they are complete."""
        self._speaker = ""  # of the turn under way
        self._words = ""
        self._start_s = 0.0
        self._heard_ms: int | None = None
        self._latency_ms: int | None = None
        self._interrupted = False
        if past is not None:
            self._go_on(past)

    def _go_on(self, past: Past) -> None:
        so_far_s = (self.began_at - past.began_at).total_seconds()
        self._zero -= max(0.0, so_far_s)  # clocks are set back
        self.began_at = past.began_at
        self._answered_at = past.left.answered_at
        self.turns = past.left.turns
        self._bill.usd = past.left.usd
        if self._answered_at is not None:
            self._put(self._row())

    @property
    def answered_at(self) -> datetime | None:
        """When somebody was first connected."""
        return self._answered_at

    def answered(self) -> None:
        """Somebody is connected."""
        if self._answered_at is None:
            self._answered_at = self._now()
            self._put(self._row())

    def tape(self, now: float, consent: str) -> Tape | None:
        """Record the call; `now` is second 0. None where no call is recorded, or `consent`, how the
        caller knows of it, is empty."""
        if self._recorder is None or not consent:
            return None
        call_id = uuid.UUID(self._call["id"])
        return self._recorder.start(call_id, self._now(), now, consent=consent)

    def said(self, speaker: str, words: str) -> None:
        """Words of the caller or the agent, in whatever pieces they come."""
        if speaker != self._speaker:
            self.turn_ended()
            self._speaker, self._start_s = speaker, self.elapsed()
        self._words = (self._words + words)[:MAX_TURN_CHARS]

    def replied(self, latency_s: float) -> None:
        """The agent's audio began so long after the caller's last word."""
        self._latency_ms = round(latency_s * 1000)

    def interrupted(self, heard_ms: int) -> None:
        """Of the agent's turn so much was heard, and no more."""
        self._heard_ms, self._interrupted = heard_ms, True

    def turn_ended(self) -> None:
        """Whoever was speaking has finished."""
        if not self._speaker:
            return
        self.turns += 1
        agents = self._speaker == "agent"
        self._put(
            Turn(
                call_id=self._call["id"],
                n=self.turns,
                speaker=self._speaker,
                text=self._kept(self._words),
                start_s=round(self._start_s, 3),
                heard_ms=self._heard_ms if agents else None,
                latency_ms=self._latency_ms if agents else None,
                interrupted=agents and self._interrupted,
            )
        )
        self._speaker = self._words = ""
        if agents:
            self._heard_ms = self._latency_ms = None
            self._interrupted = False

    def used(self, tokens: Mapping[tuple[str, str], int], model: str = "") -> Decimal:
        """Tokens, by direction and modality, as `model` (empty: the book's) counts them for a turn;
        returns what they cost, as far as they have a price."""
        before = self._bill.usd
        costs = self._bill.add(tokens, model)
        if model and model not in self._models:
            self._models.append(model)
            self._call["model"] = ", ".join(self._models)
        for (direction, modality), count in tokens.items():
            self._put(
                Usage(
                    call_id=self._call["id"],
                    turn=self.turns,
                    direction=direction,
                    modality=modality,
                    tokens=count,
                    used_at=self._now(),
                    cost_usd=costs[direction, modality] or Decimal(0),
                )
            )
        spent = self._bill.usd - before
        self._budget.spend(spent, self._now().astimezone())
        return spent

    @property
    def cost_usd(self) -> Decimal:
        """What the call has cost so far, as far as it has a price."""
        return self._bill.usd

    async def recall(self, days: int) -> Mapping[str, Any]:
        """What earlier calls have left of this caller; nothing where that is not wanted, or where
        others would be known by the same."""
        caller = self._call["caller"]
        known = is_telephone(caller, REMEMBERED_DIGITS)
        return await self._recall(caller, days) if days and known else {}

    def tool_used(self, used: Used) -> None:
        """A tool was used; secrets are masked already."""
        self._put(
            ToolUse(
                call_id=self._call["id"],
                turn=used.turn,
                tool=used.tool,
                arguments=self._kept_arguments(used.arguments),
                outcome=used.outcome.value,
                used_at=self._now(),
                took_ms=used.took_ms,
            )
        )

    def ended(
        self, outcome: Outcome, summary: Summary, transferred_to: str, reason: str = ""
    ) -> None:
        """The call is over; the last entry. `reason`: the agent's words about why."""
        self.turn_ended()
        fields = summary.fields()
        self._put(
            self._row(
                ended_at=self._now(),
                outcome=outcome.value,
                transferred_to=transferred_to,
                reason=self._kept(reason),
                turns=fields["turns"],
                barge_ins=fields["barge_ins"],
                greeting_s=fields["greeting_s"],
                response_s=fields["response_s"],
                response_max_s=fields["response_max_s"],
                tokens_in=fields["tokens_in"],
                tokens_out=fields["tokens_out"],
                cost_usd=self._bill.usd,
            )
        )

    def _kept(self, words: str) -> str:
        """Of what was said, once it is complete: a number comes in pieces."""
        words = words.strip() if self._text else ""
        return masking.spoken(words) if self._mask else words

    def _kept_arguments(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a tool was given is what was said; without that, what was given at all."""
        if not self._text:
            return {
                name: f"{len(value)} characters" if isinstance(value, str) else masking.HIDDEN
                for name, value in arguments.items()
            }
        if not self._mask:
            return arguments
        kept: dict[str, Any] = masking.within(arguments, masking.spoken, numbers=True)
        return kept

    def _row(self, **more: object) -> Call:
        row: dict[str, object] = {
            **self._call,
            "started_at": self.began_at,
            "answered_at": self._answered_at,
            **more,
        }
        return Call(**row)  # type: ignore[arg-type]

    def elapsed(self) -> float:
        """Seconds since the call began."""
        return self._clock() - self._zero

    def _now(self) -> datetime:
        return self.began_at + timedelta(seconds=self.elapsed())
