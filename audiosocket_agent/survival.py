"""A call survives our own death.

Whatever somebody else must know to go on with a call (who answers it, what is known of it, the model's
handle, the last words, its figures, the end that was decided) is a row of the database within a second
of its change, put by the writer like all others: a call never waits for it. The row goes when the call
is over.

    Life     one call's row: told what happens in it, it puts the row anew, at most every WRITE_S
    Lives    of one process: begins them, and finds what is left of a call that another process had
    Past     that

    caller   ──── agent ────x┄┄┄┄ silence ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄x──── agent ────
    process  ───────────────x kill -9   ├ started ──┬─ next? ─┤
                                                    └ row ─▶ Past ─▶ a new life of the same call
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from audiosocket_agent import log, masking
from audiosocket_agent.addresses import is_loopback, same_host
from audiosocket_agent.call.events import Outcome
from audiosocket_agent.call.info import CallInfo, Direction
from audiosocket_agent.model.base import Said
from audiosocket_agent.model.history import TOOL, as_json
from audiosocket_agent.records import live
from audiosocket_agent.records.errors import StoreError
from audiosocket_agent.records.rows import Alive, Gone, Row
from audiosocket_agent.records.store import Store
from audiosocket_agent.records.writer import Writer
from audiosocket_agent.tools.audit import Used

WRITE_S: Final = 0.7
"""A change waits so long for others; the writer takes 0.1 s more."""
BEHIND_S: Final = 10.0
"""While the database is down: the journal is bounded, and has other rows to keep."""
REFRESH_S: Final = 60.0
DEAD_S: Final = 600.0
"""A row that nobody has written for so long is of a call that nobody has."""
HANDLE_S: Final = 2 * 3600.0 - 60.0
"""The Gemini API keeps a session for two hours."""
MAX_LIVES: Final = 3
"""How often a call is taken up again; one that kills whoever takes it up is not to do so for ever."""
MAX_SAID_CHARS: Final = 2_000
MAX_LINE_CHARS: Final = 600
"""Of a line that is longer the end is kept; numbers are looked for in the one under way every time."""
MAX_KEYS: Final = 50

LOOK_S: Final = 0.3
"""For a call that has come without being announced: its caller waits for the greeting."""
CLAIM_S: Final = 2.0
"""For one whose dialplan asks: the journal of the process before may be on its way to the database."""
AGAIN_S: Final = 0.05
SETTLE_S: Final = 3.0
"""A batch of rows takes 0.1 s, and on a busy database some more."""

_log = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)  # a caller's
class Figures:
    """What a call's session knows of it at a moment."""

    peer: str
    agent: str
    rate_hz: int
    turn: int
    """The model's."""
    turns: int
    """Rows of turns that were written."""
    usd: Decimal
    answered_at: datetime | None
    summary: Mapping[str, Any]
    outcome: Outcome | None = None
    """The end, once it is decided."""
    target: str = ""
    """Of a transfer that is decided."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Past:
    """What is left of a call that another process had."""

    life: int
    """The one that begins now, from 1."""
    caller: CallInfo
    began_at: datetime
    left: Figures
    handle: str
    """Empty where there is none, or none that is still valid."""
    said: tuple[Said, ...]
    moves: int = 0
    """How many of its lives ended because their process left it to another."""
    keys: tuple[tuple[int, str], ...]
    """Of uses of tools, with their turns, that the model may know nothing of."""
    silent_s: float
    """Since its row was written."""

    @property
    def greeted(self) -> bool:
        """Whether the caller has heard the agent."""
        return bool(self.left.summary.get("turns"))


class Life:
    """The row of one call, from its beginning to its end. Without `put` there is none."""

    def __init__(
        self,
        put: Callable[[Row], None] | None = None,
        row: Alive | None = None,
        past: Past | None = None,
        *,
        notes: Mapping[str, Any] | None = None,
        text: bool = False,
        mask: bool = True,
        behind: Callable[[], bool] = lambda: False,
    ) -> None:
        self._put = put if row is not None else None
        self._row = row or Alive(call_id="", began_at=_EPOCH, written_at=_EPOCH)
        self._notes = dict(notes or {})
        self._text = text
        self._mask = mask
        self._behind = behind
        # beside each line, whether a handle given from now on remembers it; what a connection was told
        # when it was made, it does not
        self._said = [(line, False) for line in (past.said if past else ())]
        self._chars = sum(len(line.text) for line, _ in self._said)
        self._speaker = self._words = ""  # of the line under way
        self._keys = dict.fromkeys(past.keys if past else ())
        self._done: set[str] = set()
        self._moves = past.moves if past else 0
        self._figures: Callable[[], Figures]
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def begin(self, figures: Callable[[], Figures]) -> None:
        """The call is there; `figures` is asked whenever its row is written."""
        self._figures = figures
        self.changed(0.0)

    def changed(self, within_s: float = WRITE_S) -> None:
        """Something of the figures has, and is to be written so soon."""
        if self._put is None:
            return
        if within_s and self._behind():
            within_s = max(within_s, BEHIND_S)
        loop = asyncio.get_running_loop()
        due = loop.time() + within_s
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due  # uvloop's handles do not tell theirs
        self._timer = loop.call_later(within_s, self._write)

    def pack(self) -> None:
        """The call is about to be left to another process: write all, at once."""
        self._moves += 1
        self.changed(0.0)

    def over(self) -> None:
        """The call is: nobody has to go on with it."""
        put = self._put
        self.left()
        if put is not None:
            put(Gone(call_id=self._row.call_id, life=self._row.life))

    def left(self) -> None:
        """Somebody else goes on with the call, from the row as it was last put."""
        self._put = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- what happens ------------------------------------------------------------------------------

    def said(self, speaker: str, words: str) -> None:
        """Words, in whatever pieces they come."""
        if self._put is None or not self._text:
            return
        if speaker != self._speaker:
            self.turn_ended()
            self._speaker = speaker
        self._words = (self._words + words)[-MAX_LINE_CHARS:]
        self.changed()

    def turn_ended(self) -> None:
        """Whoever was speaking has finished."""
        self._close_line()
        self._speaker = ""
        self.changed()

    def resumable(self, handle: str) -> None:
        """By this handle the model remembers all that was said and done so far."""
        now = datetime.now(UTC)
        self._row = replace(self._row, handle=handle, handle_at=now)
        self._close_line()
        self._said = [
            (replace(line, remembered=True) if here else line, here) for line, here in self._said
        ]
        self._keys = {use: None for use in self._keys if use[1] not in self._done}
        self._done.clear()
        self.changed(0.0)

    def reconnected(self, *, resumed: bool) -> None:
        """The model has a new connection; `resumed`: by the handle, else it was told all that was
        said."""
        if not resumed:
            self._row = replace(self._row, handle="", handle_at=None)
        self._close_line()
        self._said = [
            (line if resumed else replace(line, remembered=False), False) for line, _ in self._said
        ]
        self.changed()

    def using(self, turn: int, key: str) -> None:
        """A tool is about to be used, under this key."""
        if self._put is None:
            return
        self._keys[turn, key] = None
        while len(self._keys) > MAX_KEYS:
            del self._keys[next(iter(self._keys))]
        self.changed(0.0)

    def used(self, used: Used) -> None:
        """A tool was used; secrets are masked already."""
        if self._put is None:
            return
        self._done.add(used.key)
        if self._text:
            self._close_line()
            arguments = used.arguments
            if self._mask:
                arguments = masking.within(arguments, masking.spoken, numbers=True)
            use = f"{used.tool}({as_json(arguments)}) -> {used.outcome.value}"
            self._add(Said(TOOL, use[:MAX_LINE_CHARS]))
        self.changed()

    # -- the row -----------------------------------------------------------------------------------

    def _line(self) -> Said:
        return Said(self._speaker, masking.spoken(self._words) if self._mask else self._words)

    def _close_line(self) -> None:
        if self._words:
            self._add(self._line())
        self._words = ""

    def _add(self, line: Said) -> None:
        self._said.append((line, True))
        self._chars += len(line.text)
        while self._chars > MAX_SAID_CHARS and len(self._said) > 1:
            self._chars -= len(self._said.pop(0)[0].text)

    def _write(self) -> None:
        self._timer = None
        if self._put is None:
            return
        figures = self._figures()
        lines = [line for line, _ in self._said]
        if self._words:
            lines.append(self._line())
        said = [(line.speaker, line.text, line.remembered) for line in lines]
        self._put(
            replace(
                self._row,
                written_at=datetime.now(UTC),
                peer=figures.peer,
                outcome=figures.outcome.value if figures.outcome else "",
                said=json.dumps(said, ensure_ascii=False),
                notes=json.dumps(self._notes | self._noted(figures), ensure_ascii=False),
            )
        )
        self.changed(REFRESH_S)

    def _noted(self, figures: Figures) -> dict[str, Any]:
        reason = figures.reason if self._text else ""
        answered_at = figures.answered_at
        return {
            "agent": figures.agent,
            "rate_hz": figures.rate_hz,
            "turn": figures.turn,
            "turns": figures.turns,
            "usd": str(figures.usd),
            "answered_at": answered_at.isoformat() if answered_at else "",
            "summary": figures.summary,
            "target": figures.target,
            "reason": masking.spoken(reason) if self._mask else reason,
            "moves": self._moves,
            "keys": [list(use) for use in self._keys],
        }


class NotLookedUp(Exception):
    """Whether a process before us had the call is not known, and may be in a moment."""


@dataclass(frozen=True, slots=True)
class Lives:
    """Those of one process. `instance` is the same for this process and the one that follows it, and
    begins with the host's name."""

    store: Store
    writer: Writer
    instance: str
    text: bool
    """Whether what is said is kept."""
    mask: bool
    _under_way: set[str] = field(default_factory=set)

    def begin(
        self, call_id: str, info: CallInfo, began_at: datetime, past: Past | None = None
    ) -> Life:
        """Of a call that begins, or is taken up again."""
        notes = {
            "name": info.caller_name,
            "extension": info.extension,
            "direction": info.direction.value,
            "language": info.language,
            "variables": dict(info.variables),
        }
        row = Alive(
            call_id=call_id,
            instance=self.instance,
            caller=info.caller,
            began_at=began_at,
            written_at=began_at,
            life=past.life if past else 0,
            handle=past.handle if past else "",
            handle_at=datetime.now(UTC) if past and past.handle else None,
        )
        put, text, mask = self.writer.put, self.text, self.mask
        return Life(put, row, past, notes=notes, text=text, mask=mask, behind=self._is_behind)

    def _is_behind(self) -> bool:
        return self.writer.behind

    async def settled(self) -> bool:
        """Wait until others can read what this process has put so far, whatever it puts meanwhile; False
        where that takes too long."""
        writer = self.writer
        try:
            async with asyncio.timeout(SETTLE_S):
                await asyncio.sleep(AGAIN_S)  # what was changed just now has been put
                put = writer.taken + writer.queued
                while writer.behind or writer.taken < put:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(AGAIN_S)
        except TimeoutError:
            return False
        return True

    async def take_up(self, call_id: str, peer: str, within_s: float) -> Past | None:
        """Begin a new life of a call that another process had, for a PBX at `peer`. None where none is
        known to have been up of late, where it came from another host, or where somebody else has just
        taken it up. Raises NotLookedUp where the database does not say so in time, and where the call is
        being looked up already."""
        if self.looks_for(call_id):
            raise NotLookedUp(call_id)
        self._under_way.add(call_id)
        taking = self._take_up(call_id, peer, patient=within_s >= CLAIM_S)
        try:
            return await self.store.within(within_s, taking)
        except StoreError as error:
            _log.warning("call not looked up", call=call_id, reason=str(error))
            raise NotLookedUp(call_id) from None
        finally:
            self._under_way.discard(call_id)

    async def has_been(self, call_id: str, within_s: float) -> bool:
        """Whether there has been another call by this name; False also where the database does not say
        so in time."""
        try:
            return await self.store.within(within_s, live.has_been(self.store, call_id))
        except StoreError:
            return False

    def looks_for(self, call_id: str) -> bool:
        """Whether the call is being looked up now."""
        return call_id in self._under_way

    async def _take_up(self, call_id: str, peer: str, *, patient: bool) -> Past | None:
        while True:
            behind = self.writer.behind
            try:
                if past := await self._look(call_id, peer):
                    return past
            except StoreError:
                if not patient:
                    raise
                behind = True
            if not (patient and behind):
                return None
            await asyncio.sleep(AGAIN_S)

    async def _look(self, call_id: str, peer: str) -> Past | None:
        now = datetime.now(UTC)
        written_at = now

        def may(row: Alive) -> bool:
            nonlocal written_at
            written_at = row.written_at
            if ours := self._is_its_pbx(row, peer):
                return ours
            _log.warning("call not taken up", call=call_id, peer=peer, reason="other_host")
            return False

        since = now - timedelta(seconds=DEAD_S)
        found = await live.take_up(self.store, call_id, self.instance, now, since, may)
        if found is None:
            return None
        row, turns = found
        try:
            return _past(row, turns, now, (now - written_at).total_seconds())
        except (KeyError, TypeError, ValueError, ArithmeticError):  # another version's, perhaps
            _log.exception("call not taken up", call=call_id)
            return None

    def _is_its_pbx(self, row: Alive, peer: str) -> bool:
        """Whether the call came from there; 127.0.0.1 is another host to each."""
        if row.instance.rpartition(":")[0] == self.instance.rpartition(":")[0]:
            return same_host(row.peer, peer)
        return row.peer == peer and not is_loopback(peer)

    def bury(self, call_id: str, past: Past) -> None:
        """There is nothing to go on with."""
        self.writer.put(Gone(call_id=call_id, life=past.life))


_EPOCH: Final = datetime.fromtimestamp(0, UTC)


def _past(row: Alive, turns: int, now: datetime, silent_s: float) -> Past:
    """Raises KeyError, TypeError, ValueError, ArithmeticError for what `Life` has not written."""
    notes = json.loads(row.notes)
    handle_s = (now - row.handle_at).total_seconds() if row.handle_at else HANDLE_S
    handle = row.handle if handle_s < HANDLE_S else ""
    return Past(
        life=row.life,
        caller=CallInfo(
            caller=row.caller,
            caller_name=notes["name"],
            extension=notes["extension"],
            variables=notes["variables"],
            direction=Direction(notes["direction"]),
            language=notes["language"],
        ),
        began_at=row.began_at,
        left=Figures(
            peer=row.peer,
            agent=notes["agent"],
            rate_hz=notes["rate_hz"],
            turn=notes["turn"],
            turns=max(notes["turns"], turns),
            usd=Decimal(notes["usd"]),
            answered_at=_time(notes["answered_at"]),
            summary=notes["summary"],
            outcome=Outcome(row.outcome) if row.outcome else None,
            target=notes["target"],
            reason=notes["reason"],
        ),
        handle=handle,
        said=tuple(
            Said(speaker, text, bool(handle) and remembered)
            for speaker, text, remembered in json.loads(row.said)
        ),
        moves=notes.get("moves", 0),  # not in what an older version has written
        keys=tuple((turn, key) for turn, key in notes["keys"]),
        silent_s=max(0.0, silent_s),
    )


def _time(written: str) -> datetime | None:
    return datetime.fromisoformat(written) if written else None
