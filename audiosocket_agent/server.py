"""The service: listen, admit, drain.

Calls are kept in a plain set of tasks, not in a TaskGroup: one call's failure must never reach
another. This is the one place where whatever a call did wrong ends up, once per call.
"""

import asyncio
import contextlib
import os
import socket
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol

from audiosocket_agent import __version__, log
from audiosocket_agent.addresses import LOOPBACK, Network, same_host
from audiosocket_agent.arrival import Arrival
from audiosocket_agent.briefing import Briefings
from audiosocket_agent.call import language
from audiosocket_agent.call.events import Outcome
from audiosocket_agent.call.info import NOTHING_KNOWN, CallInfo, Direction
from audiosocket_agent.call.next_step import GONE, Action, NextStep, after_loss, after_transfer
from audiosocket_agent.call.summary import Summary
from audiosocket_agent.clock import Ticker, monotonic
from audiosocket_agent.errors import PeerError, StartError
from audiosocket_agent.health import HealthServer
from audiosocket_agent.ledger import BLANK, Book, Ledger
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.model.base import VoiceModel
from audiosocket_agent.overload import Overload
from audiosocket_agent.pbx.audiosocket import Leg, LegListener
from audiosocket_agent.pbx.gate import CONNECTS_PER_SECOND, Gate, Seldom
from audiosocket_agent.plan import Plan, briefing
from audiosocket_agent.session import Session
from audiosocket_agent.survival import (
    AGAIN_S,
    CLAIM_S,
    LOOK_S,
    MAX_LIVES,
    Life,
    Lives,
    NotLookedUp,
    Past,
)

BACKLOG: Final = 128
ENDED_CALLS_KEPT: Final = 1000
"""Of calls that are over, what the dialplan is to do next; it asks within milliseconds."""

POLITE_SECONDS: Final = 15.0
"""What calls get to end in after the drain: last words (10 s), the phone's tail, the socket."""

GOODBYE_SECONDS: Final = 5.0
"""Of that, what calls get that are ending when the others are left to another service."""

RETURN_SECONDS: Final = 10.0
"""How long the caller of a call that goes on after another process is waited for: their dialplan has
just asked."""
MAX_LOOKUPS: Final = 20
"""Connections at a time whose calls are looked up; of further ones only what is in memory is known."""

_log = log.get(__name__)


class Elsewhere(Protocol):
    """Another process of ours, whose calls may come to this one's port."""

    def has(self, call_id: uuid.UUID) -> bool:
        """Whether it has that call, or had it."""

    def take_leg(self, leg: Leg) -> None:
        """Give it the connection."""


class Server:
    """One process's calls. `plans` are the agents by name; `default` is who answers where the dialplan
    names nobody. `max_calls` bounds the calls; further ones go back to the dialplan at once, and so
    they do in `overload`. `allow`: where connections may come from."""

    def __init__(
        self,
        model: VoiceModel,
        plans: Mapping[str, Plan],
        metrics: Metrics,
        *,
        default: str,
        max_calls: int,
        downlink_rate_hz: int = 0,
        registered_only: bool = False,
        allow: Iterable[Network] = LOOPBACK,
        connects_per_second: float = CONNECTS_PER_SECOND,
        overload: Overload | None = None,
        book: Book = BLANK,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._clock = clock
        self.gate: Gate[Leg] = Gate(allow, per_second=connects_per_second)
        self.overload = overload or Overload()
        self.elsewhere: Elsewhere | None = None
        self.began: Callable[[uuid.UUID], None] | None = None
        """Told of each call that begins."""
        self.calls_ended = 0
        self._seldom = Seldom()
        self._model = model
        self.plans = plans
        self._default = default
        self._metrics = metrics
        self.max_calls = max_calls
        self._downlink_rate_hz = downlink_rate_hz
        self._registered_only = registered_only
        self._book = book
        self._ticker = Ticker(clock)
        self._listeners: list[asyncio.Server] = []
        self._sessions: dict[uuid.UUID, Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._arriving: set[asyncio.Task[None]] = set()
        self._announced_by: dict[uuid.UUID, str] = {}  # host that registered it
        self._left_meanwhile: set[uuid.UUID] = set()  # callers whose calls are being looked up
        self._briefings = Briefings()
        self._ended_calls: OrderedDict[uuid.UUID, NextStep] = OrderedDict()
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = False
        self.leaving = False
        """Balancers are told that it is about to drain."""
        self.driven: set[uuid.UUID] = set()
        """Calls whose dialplan waits in a request of ours (`run`), and is lost with this process."""
        self.let_go: Callable[[], bool] | None = None
        """Where calls are to go on in another service after the drain: has the dialplan's questions go
        there. False where they cannot."""
        self.health = HealthServer(metrics, self._not_offered)
        metrics.build_info.labels(__version__, model.name).set(1)

    @property
    def calls(self) -> int:
        """Calls that are up now."""
        return len(self._sessions)

    async def idle(self) -> None:
        """Wait until no call is up."""
        await self._idle.wait()

    def not_ready(self) -> str:
        """Why a new call would be refused, or nothing."""
        if self.draining:
            return "draining"
        if self._book.budget.is_spent(datetime.now().astimezone()):
            return "budget"
        if reason := self.overload.reason:
            return reason
        return "full" if self.calls >= self.max_calls else ""

    def _not_offered(self) -> str:
        """Why a balancer is to send no call here, or nothing."""
        return "draining" if self.leaving else self.not_ready()

    # -- what the dialplan asks ----------------------------------------------------------------

    def expect(
        self,
        call_id: uuid.UUID,
        *,
        peer: str,
        agent: str = "",
        info: CallInfo = NOTHING_KNOWN,
        downlink_rate_hz: int = 0,
        ring_s: float | None = None,
        rings_first_s: float = 0.0,
    ) -> str:
        """A call is announced by `peer`, and may only come from there: dial the model for it. It is
        waited for `ring_s`, else as long as the settings say, and as long as the dialplan lets it
        ring first.
        Returns OK, BUSY, DRAINING or ERROR (a UUID that is or was in use, an agent there is not);
        never waits."""
        plan = self.plans.get(agent or self._default)
        if plan is None:
            _log.warning("call refused", call=str(call_id), reason="unknown agent", agent=agent)
            return "ERROR"
        if call_id in self._sessions or call_id in self._ended_calls:
            return "ERROR"
        if reason := self.not_ready():
            self._metrics.calls_rejected.labels(reason).inc()
            return "DRAINING" if self.draining else "BUSY"
        wait_s = (plan.limits.ring_s if ring_s is None else ring_s) + rings_first_s
        plan = replace(plan, limits=replace(plan.limits, ring_s=wait_s))
        self._begin(call_id, plan, info, peer).downlink_rate_hz = downlink_rate_hz
        return "OK"

    def next_step(self, call_id: uuid.UUID, peer: str, status: str = "") -> NextStep | None:
        """What is to become of a caller; None where we know nothing of the call. `status`: what came
        of a transfer, the dialplan's DIALSTATUS."""
        if status in GONE:
            self.withdraw(call_id)
            return after_transfer(status)
        session = self._sessions.get(call_id)
        if session is not None and same_host(self._announced_by.get(call_id, ""), peer):
            self._let_go_of_leg(session)
        if session is not None and session.lost:
            return session.come_back()
        if session is not None and status and session.held:
            return session.transfer_ended(self._briefings.outcome(call_id, status))
        step = session.next_step if session else self._ended_calls.get(call_id)
        if step is None:
            return None
        if status:
            return after_transfer(status) if step.action is Action.TRANSFER else step
        if step.action is Action.ACCEPT:
            self._briefings.accepted(call_id)
        if session is not None and step.action is Action.TRANSFER:
            session.claimed()
            return self._with_briefing(call_id, session, step, peer)
        return step

    def _let_go_of_leg(self, session: Session) -> None:
        """The dialplan has the caller, so the call's connection is over; that may never reach us."""
        if session.next_step is None and (leg := session.detach()) is not None:
            leg.hand_over(Arrival())  # nobody's any more
            leg.close()

    def withdraw(self, call_id: uuid.UUID) -> None:
        """Nobody will come for this call, or come back to it."""
        session = self._sessions.get(call_id)
        if session is not None and session.held:
            session.transfer_ended(self._briefings.outcome(call_id, "HANGUP"))
        elif session is not None and not session.connected:
            session.end(Outcome.ABANDONED)

    # -- calls of a process that is dead -------------------------------------------------------

    def knows(self, call_id: uuid.UUID) -> bool:
        """Whether the call is, or was, one of this process."""
        return call_id in self._sessions or call_id in self._ended_calls

    async def revive(self, call_id: uuid.UUID, peer: str, status: str = "") -> NextStep | None:
        """What is to become of a caller whose call another process had, which is dead; None where
        nothing is known of it. `status` as for `next_step`. The call may be up here when this
        returns. Raises NotLookedUp: whoever asks again may learn more."""
        lives = self._book.lives
        if lives is None or self.draining:
            return None
        if self.elsewhere is not None and self.elsewhere.has(call_id):
            return None
        if status in GONE and lives.looks_for(str(call_id)):
            self._left_meanwhile.add(call_id)
        try:
            past = await lives.take_up(str(call_id), peer, CLAIM_S)
            if call_id in self._left_meanwhile:
                status = "HANGUP"
        finally:
            if not lives.looks_for(str(call_id)):
                self._left_meanwhile.discard(call_id)
        return self._go_on(call_id, past, peer, status) if past else None

    def _go_on(self, call_id: uuid.UUID, past: Past, peer: str, status: str = "") -> NextStep:
        plan = self.plans.get(past.left.agent)
        over = after_loss(past.left.outcome, status, can_go_on=self._can_go_on(plan, past))
        if over is not None:
            return self._bury(call_id, past, *over)
        assert plan is not None
        _log.info("call taken up", call=str(call_id), life=past.life, silent_s=past.silent_s)
        self._metrics.calls_revived.inc()
        so_far_s = (datetime.now().astimezone() - past.began_at).total_seconds()
        left_s = max(1.0, plan.limits.max_duration_s - max(0.0, so_far_s))  # clocks are set back
        limits = replace(plan.limits, ring_s=RETURN_SECONDS, max_duration_s=left_s)
        session = self._begin(call_id, replace(plan, limits=limits), past.caller, peer, past)
        step = self.next_step(call_id, peer, status) if session.held else None
        return step or NextStep(Action.AGAIN, reason="interrupted")

    def _can_go_on(self, plan: Plan | None, past: Past) -> bool:
        """However many calls there are: these were carried before, and a restart under load brings them
        all back at once."""
        if plan is None or past.life - past.moves > MAX_LIVES:
            return False
        return past.left.outcome is not Outcome.TRANSFERRED or past.left.target in plan.targets

    def _bury(self, call_id: uuid.UUID, past: Past, outcome: Outcome, step: NextStep) -> NextStep:
        """End the call of a process that is dead, in its record too."""
        ledger = Ledger(self._book, str(call_id), past.left.agent, past.caller, self._clock, past)
        to, reason = "", ""
        if outcome is Outcome.TRANSFERRED:
            to, reason = past.left.target, past.left.reason
        ledger.ended(outcome, Summary.restored(past.left.summary), to, reason)
        if self._book.lives is not None:
            self._book.lives.bury(str(call_id), past)
        self._metrics.calls.labels(outcome.value).inc()
        _log.info("call ended", call=str(call_id), outcome=outcome.value, life=past.life)
        self._remember(call_id, step)
        return step

    def _with_briefing(
        self, call_id: uuid.UUID, session: Session, step: NextStep, peer: str
    ) -> NextStep:
        """Of an attended transfer: dial the model for the human who is called, as their phone rings."""
        if session.transferring is None or not session.transferring[0].attended:
            return step
        if known := self._briefings.of(call_id):
            return replace(step, briefing=str(known))
        while self.knows(human_id := briefing_id(call_id)):
            pass
        plan = briefing(session.plan, *session.transferring, session.info)
        info = replace(session.info, direction=Direction.BRIEFING)
        human = self._begin(human_id, plan, info, self._announced_by.get(call_id, peer))
        human.downlink_rate_hz = session.downlink_rate_hz
        self._briefings.begin(call_id, session, human_id, human)
        return replace(step, briefing=str(human_id))

    # -- what an operator asks -----------------------------------------------------------------

    def session(self, call_id: uuid.UUID) -> Session | None:
        """A call that is up."""
        return self._sessions.get(call_id)

    def sessions(self) -> list[Session]:
        """All calls that are up, the oldest first."""
        return list(self._sessions.values())

    def call_ids(self) -> list[uuid.UUID]:
        """Calls that are up, and those of which the dialplan may still ask."""
        return [*self._sessions, *self._ended_calls]

    async def listen(self, host: str, port: int, sockets: Sequence[socket.socket] = ()) -> int:
        """Accept AudioSocket connections, on `sockets` where some were handed over; returns the port.
        Raises StartError."""
        loop = asyncio.get_running_loop()
        try:
            self._listeners = [
                await loop.create_server(self._leg, sock=sock, backlog=BACKLOG) for sock in sockets
            ] or [await loop.create_server(self._leg, host, port, backlog=BACKLOG)]
        except OSError as error:
            taken = "is another audiosocket-agent running? Set AUDIOSOCKET_PORT, or stop it"
            raise StartError.listen("AUDIOSOCKET_PORT", host, port, error, taken) from None
        bound: int = self._listeners[0].sockets[0].getsockname()[1]
        return bound

    def listening(self) -> list[int]:
        """The descriptors of the sockets that listen."""
        return [sock.fileno() for server in self._listeners for sock in server.sockets]

    def stop_listening(self) -> None:
        """Accept no more; connections that are there go on."""
        for listener in self._listeners:
            listener.close()

    async def adopt(self, sock: socket.socket, said: bytes) -> None:
        """Go on with a connection that another process has accepted, and read `said` from."""
        with contextlib.suppress(OSError):  # it may be over
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(lambda: self._leg(said), sock)

    async def drain(self, timeout_s: float, hurry: asyncio.Event, *, notice_s: float = 0.0) -> None:
        """No new calls, once balancers have had `notice_s` to see it; running ones get `timeout_s`, or
        until `hurry`. Then they are let go, as far as somebody can go on with them, and end politely
        else."""
        if notice_s:
            self.leaving = True
            _log.info("leaving", notice_s=notice_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(notice_s):
                    await hurry.wait()
        if self._arriving:  # who has said who they are was here before
            await asyncio.wait(self._arriving, timeout=LOOK_S)
        self.draining = True
        _log.info("draining", calls=self.calls, timeout_s=timeout_s)
        waits = [asyncio.ensure_future(self.idle()), asyncio.ensure_future(hurry.wait())]
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await self._leave()
        for session in list(self._sessions.values()):
            try:
                session.end(Outcome.DRAINED)
            except Exception:  # noqa: BLE001 - a fault of ours in one call must not keep others up
                _log.exception("call not ended")
        try:
            async with asyncio.timeout(POLITE_SECONDS):
                await self.idle()
        except TimeoutError:
            _log.error("calls cut off", calls=self.calls)

    async def _leave(self) -> None:
        """Leave calls to another service: their rows are in the database before their dialplans ask
        what is next, and find us deaf."""
        lives = self._book.lives
        if self.let_go is None or lives is None or not self._leavable():
            return
        ending = [session for session in self._sessions.values() if session.ending]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                while any(session.ending for session in ending):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(AGAIN_S)
        for session in self._leavable():
            session.pack()
        if await lives.settled() and self.let_go():
            for session in self._leavable():
                session.leave()
            await asyncio.sleep(0)  # they have ended when the rest is told to
        else:
            _log.warning("calls cannot be left to others", calls=self.calls)

    def _leavable(self) -> list[Session]:
        """Calls that were announced by a dialplan which asks what is next."""
        return [
            session
            for call_id, session in self._sessions.items()
            if call_id in self._announced_by
            and call_id not in self.driven
            and not session.plan.briefing
            and (session.next_step is None or session.held)  # else it is over
        ]

    async def stop(self) -> None:
        """Close everything; calls still up are cut off."""
        self.stop_listening()
        await asyncio.sleep(0)  # a call accepted just now has begun, so that it can end
        tasks = [*self._arriving, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.health.stop()
        self._ticker.close()

    # -- connections ---------------------------------------------------------------------------

    def _leg(self, said: bytes = b"") -> Leg:
        return Leg(
            self._ticker,
            admitted=self._pass_the_gate,
            identified=self._admit,
            lost=self._lost,
            said=said,
            downlink_rate_hz=self._downlink_rate_hz,
            clock=self._clock,
        )

    def _pass_the_gate(self, leg: Leg) -> bool:
        if reason := self.gate.refusal(leg.peer, self._clock()):
            self.turned_away(leg.peer, reason)
            return False
        if pushed := self.gate.enter(leg, leg.peer):
            pushed.refuse(PeerError("pushed_out", "others came before it said who it is"))
        return True

    def turned_away(self, peer: str, reason: str) -> None:
        """A connection was closed at once, here or at another port."""
        self._metrics.calls_rejected.labels(reason).inc()
        if self._seldom.is_time((peer, reason), self._clock()):
            _log.warning("connections closed at once", peer=peer, reason=reason)

    def _admit(self, leg: Leg, call_id: uuid.UUID) -> LegListener | None:
        self.gate.leave(leg)
        session = self._sessions.get(call_id)
        if session is None and self.elsewhere is not None and self.elsewhere.has(call_id):
            self.elsewhere.take_leg(leg)
            return None
        lives = self._book.lives
        if lives is None or self.knows(call_id) or len(self._arriving) >= MAX_LOOKUPS:
            return self._admit_known(leg, call_id)
        if lives.looks_for(str(call_id)):  # for another connection, or for a dialplan that asks
            self._refuse(leg, call_id, "busy_uuid")
            return None
        arrival = Arrival()
        task = asyncio.get_running_loop().create_task(self._arrive(leg, call_id, arrival, lives))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)
        return arrival

    async def _arrive(self, leg: Leg, call_id: uuid.UUID, arrival: Arrival, lives: Lives) -> None:
        """A call that this process knows nothing of has come: another one may have had it."""
        try:
            past, own_id = None, None
            if not self.draining:
                with contextlib.suppress(NotLookedUp):  # then it is nobody's, as far as we know
                    past = await lives.take_up(str(call_id), leg.peer, LOOK_S)
                    if past is None and await lives.has_been(str(call_id), LOOK_S):
                        own_id = uuid.uuid4()  # or two callers would have one record
                        _log.warning("UUID used before", call=str(own_id), uuid=str(call_id))
            if past is not None:
                self._go_on(call_id, past, leg.peer, "HANGUP" if arrival.gone else "")
            if arrival.gone:
                return
            session = self._admit_known(leg, call_id, own_id)
            if session is None:
                leg.hang_up()
            else:
                leg.hand_over(session)
        except Exception:  # noqa: BLE001 - a fault of ours: it ends this connection alone
            _log.exception("call failed", call=str(call_id))
            leg.hang_up()

    def _admit_known(
        self, leg: Leg, call_id: uuid.UUID, own_id: uuid.UUID | None = None
    ) -> Session | None:
        session = self._sessions.get(call_id)
        reason = self._refusal(leg, call_id, session)
        if not reason:
            plan = self.plans[self._default]
            session = session or self._begin(call_id, plan, NOTHING_KNOWN, own_id=own_id)
            if session.attach(leg):
                return session
            reason = "busy_uuid"
        self._refuse(leg, call_id, reason)
        return None

    def _refuse(self, leg: Leg, call_id: uuid.UUID, reason: str) -> None:
        self._metrics.calls_rejected.labels(reason).inc()
        _log.warning("call refused", call=str(call_id), peer=leg.peer, reason=reason)

    def _refusal(self, leg: Leg, call_id: uuid.UUID, session: Session | None) -> str:
        """Why this connection may not have this call, or nothing."""
        if session is not None:
            known = self._announced_by.get(call_id, leg.peer)
            return "" if same_host(known, leg.peer) else "other_host"
        if call_id in self._ended_calls:
            return "replayed"  # or late: whoever was announced is not to get the default agent
        if self._registered_only:
            return "unknown_uuid"
        return self.not_ready()

    def _begin(
        self,
        call_id: uuid.UUID,
        plan: Plan,
        info: CallInfo,
        peer: str = "",
        past: Past | None = None,
        own_id: uuid.UUID | None = None,
    ) -> Session:
        """A call that was announced by `peer`, or comes as it is; or goes on. `own_id`: its name
        everywhere but on the wire, where its UUID was another call's before."""
        speaks = language.start(plan.languages, info.language)
        info = replace(info, language=speaks)
        book, clock = self._book, self._clock
        name = own_id or call_id
        ledger = Ledger(book, str(name), plan.name, info, clock, past)
        if book.lives is None or plan.briefing:  # whoever is being briefed takes the call then
            life = Life()
        else:
            life = book.lives.begin(str(name), info, ledger.began_at, past)
        session = Session(name, self._model, plan, info, self._metrics, clock, ledger, life, past)
        if peer:
            self._announced_by[call_id] = session.peer = peer
            session.asks = not plan.briefing
        task = asyncio.get_running_loop().create_task(self._run(session, call_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._sessions[call_id] = session
        self._idle.clear()
        self._metrics.calls_active.set(self.calls)
        if self.began is not None:
            self.began(call_id)
        return session

    async def _run(self, session: Session, call_id: uuid.UUID) -> None:
        try:
            await session.run()
        except Exception:  # noqa: BLE001 - a fault of ours: it has ended this call, and ends nothing else
            _log.exception("call failed", call=str(call_id))
        finally:
            self._ended(session, call_id)

    def _ended(self, session: Session, call_id: uuid.UUID) -> None:
        del self._sessions[call_id]
        self.calls_ended += 1
        self._announced_by.pop(call_id, None)
        if session.next_step is not None:
            self._remember(call_id, session.next_step)
        self._briefings.ended(call_id)
        self._metrics.calls_active.set(self.calls)
        if not self._sessions:
            self._idle.set()

    def _remember(self, call_id: uuid.UUID, step: NextStep) -> None:
        self._ended_calls[call_id] = step
        while len(self._ended_calls) > ENDED_CALLS_KEPT:
            self._ended_calls.popitem(last=False)

    def _lost(self, leg: Leg, error: Exception | None) -> None:
        """A connection that ended before its UUID: a port check (normal), or a broken peer."""
        self.gate.leave(leg)
        counts = leg.take_counts()
        self._metrics.frames_sent.inc(counts.sent)
        if error is None:
            _log.debug("connection without a call", peer=leg.peer)
            return
        reason = error.code if isinstance(error, PeerError) else "error"
        self._metrics.calls_rejected.labels(reason).inc()
        if self._seldom.is_time((leg.peer, reason), self._clock()):
            _log.warning("connection refused", peer=leg.peer, reason=str(error))


def briefing_id(call_id: uuid.UUID) -> uuid.UUID:
    """A UUID for a human who is told of this caller: but for the first 8 digits it is the caller's, by
    which a balancer knows which of several services has both (deploy/haproxy.cfg)."""
    return uuid.UUID(bytes=os.urandom(4) + call_id.bytes[4:])
