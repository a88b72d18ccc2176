"""The service: listen, admit, drain.

Calls are kept in a plain set of tasks, not in a TaskGroup: one call's failure must never reach
another. This is the one place where whatever a call did wrong ends up, once per call.
"""

import asyncio
import os
import socket
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from audiosocket_agent import __version__, log
from audiosocket_agent.addresses import same_host
from audiosocket_agent.briefing import Briefings
from audiosocket_agent.call import language
from audiosocket_agent.call.events import Outcome
from audiosocket_agent.call.info import NOTHING_KNOWN, CallInfo, Direction
from audiosocket_agent.call.next_step import GONE, Action, NextStep, after_transfer
from audiosocket_agent.clock import Ticker, monotonic
from audiosocket_agent.errors import PeerError, StartError
from audiosocket_agent.health import HealthServer
from audiosocket_agent.ledger import BLANK, Book, Ledger
from audiosocket_agent.metrics import Metrics
from audiosocket_agent.model.base import VoiceModel
from audiosocket_agent.pbx.audiosocket import Leg, LegListener
from audiosocket_agent.plan import Plan, briefing
from audiosocket_agent.session import Session

BACKLOG: Final = 128
ENDED_CALLS_KEPT: Final = 1000
"""Of calls that are over, what the dialplan is to do next; it asks within milliseconds."""

POLITE_SECONDS: Final = 15.0
"""What calls get to end in after the drain: last words (10 s), the phone's tail, the socket."""

_log = log.get(__name__)


class Server:
    """One process's calls. `plans` are the agents by name; `default` is who answers where the dialplan
    names nobody. `max_calls` bounds the calls; further ones go back to the dialplan at once."""

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
        book: Book = BLANK,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._clock = clock
        self._model = model
        self.plans = plans
        self._default = default
        self._metrics = metrics
        self.max_calls = max_calls
        self._downlink_rate_hz = downlink_rate_hz
        self._registered_only = registered_only
        self._book = book
        self._ticker = Ticker(clock)
        self._listener: asyncio.Server | None = None
        self._sessions: dict[uuid.UUID, Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._announced_by: dict[uuid.UUID, str] = {}  # host that registered it
        self._briefings = Briefings()
        self._ended_calls: OrderedDict[uuid.UUID, NextStep] = OrderedDict()
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = False
        self.health = HealthServer(metrics, self.not_ready)
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
        return "full" if self.calls >= self.max_calls else ""

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
        self._begin(call_id, plan, info).downlink_rate_hz = downlink_rate_hz
        self._announced_by[call_id] = peer
        return "OK"

    def next_step(self, call_id: uuid.UUID, peer: str, status: str = "") -> NextStep | None:
        """What is to become of a caller; None where we know nothing of the call. `status`: what came
        of a transfer, the dialplan's DIALSTATUS."""
        if status in GONE:
            self.withdraw(call_id)
            return after_transfer(status)
        session = self._sessions.get(call_id)
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
            return self._with_briefing(call_id, session, step, peer)
        return step

    def withdraw(self, call_id: uuid.UUID) -> None:
        """Nobody will come for this call, or come back to it."""
        session = self._sessions.get(call_id)
        if session is not None and session.held:
            session.transfer_ended(self._briefings.outcome(call_id, "HANGUP"))
        elif session is not None and not session.answered:
            session.end(Outcome.ABANDONED)

    def _with_briefing(
        self, call_id: uuid.UUID, session: Session, step: NextStep, peer: str
    ) -> NextStep:
        """Of an attended transfer: dial the model for the human who is called, as their phone rings."""
        if session.transferring is None or not session.transferring[0].attended:
            return step
        if known := self._briefings.of(call_id):
            return replace(step, briefing=str(known))
        briefing_id = uuid.uuid4()
        plan = briefing(session.plan, *session.transferring, session.info)
        info = replace(session.info, direction=Direction.BRIEFING)
        human = self._begin(briefing_id, plan, info)
        human.downlink_rate_hz = session.downlink_rate_hz
        self._announced_by[briefing_id] = self._announced_by.get(call_id, peer)
        self._briefings.begin(call_id, session, briefing_id, human)
        return replace(step, briefing=str(briefing_id))

    # -- what an operator asks -----------------------------------------------------------------

    def session(self, call_id: uuid.UUID) -> Session | None:
        """A call that is up."""
        return self._sessions.get(call_id)

    def sessions(self) -> list[Session]:
        """All calls that are up, the oldest first."""
        return list(self._sessions.values())

    async def listen(self, host: str, port: int) -> int:
        """Accept AudioSocket connections; returns the port. Raises StartError."""
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(self._leg, host, port, backlog=BACKLOG)
        except OSError as error:
            taken = "is another audiosocket-agent running? Set AUDIOSOCKET_PORT, or stop it"
            raise StartError.listen("AUDIOSOCKET_PORT", host, port, error, taken) from None
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    async def drain(self, timeout_s: float, hurry: asyncio.Event) -> None:
        """No new calls; running ones get `timeout_s`, or until `hurry`, and then end politely."""
        self.draining = True
        _log.info("draining", calls=self.calls, timeout_s=timeout_s)
        waits = [asyncio.ensure_future(self.idle()), asyncio.ensure_future(hurry.wait())]
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
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

    async def stop(self) -> None:
        """Close everything; calls still up are cut off."""
        if self._listener is not None:
            self._listener.close()
        await asyncio.sleep(0)  # a call accepted just now has begun, so that it can end
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.health.stop()
        self._ticker.close()

    # -- connections ---------------------------------------------------------------------------

    def _leg(self) -> Leg:
        return Leg(
            self._ticker,
            identified=self._admit,
            lost=self._lost,
            downlink_rate_hz=self._downlink_rate_hz,
            clock=self._clock,
        )

    def _admit(self, leg: Leg, call_id: uuid.UUID) -> LegListener | None:
        session = self._sessions.get(call_id)
        reason = self._refusal(leg, call_id, session)
        if not reason:
            session = session or self._begin(call_id, self.plans[self._default], NOTHING_KNOWN)
            if session.attach(leg):
                return session
            reason = "busy_uuid"
        self._metrics.calls_rejected.labels(reason).inc()
        _log.warning("call refused", call=str(call_id), peer=leg.peer, reason=reason)
        return None

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

    def _begin(self, call_id: uuid.UUID, plan: Plan, info: CallInfo) -> Session:
        speaks = language.start(plan.languages, info.language)
        info = replace(info, language=speaks)
        ledger = Ledger(self._book, str(call_id), plan.name, info, self._clock)
        session = Session(call_id, self._model, plan, info, self._metrics, self._clock, ledger)
        task = asyncio.get_running_loop().create_task(self._run(session, call_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._sessions[call_id] = session
        self._idle.clear()
        self._metrics.calls_active.set(self.calls)
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
        self._announced_by.pop(call_id, None)
        if session.next_step is not None:
            self._ended_calls[call_id] = session.next_step
            while len(self._ended_calls) > ENDED_CALLS_KEPT:
                self._ended_calls.popitem(last=False)
        self._briefings.ended(call_id)
        self._metrics.calls_active.set(self.calls)
        if not self._sessions:
            self._idle.set()

    def _lost(self, leg: Leg, error: Exception | None) -> None:
        """A connection that ended before its UUID: a port check (normal), or a broken peer."""
        counts = leg.take_counts()
        self._metrics.frames_sent.inc(counts.sent)
        if error is None:
            _log.debug("connection without a call", peer=leg.peer)
            return
        reason = error.code if isinstance(error, PeerError) else "error"
        self._metrics.calls_rejected.labels(reason).inc()
        _log.warning("connection refused", peer=leg.peer, reason=str(error))


async def watch_loop(metrics: Metrics, beat: Callable[[], None]) -> None:
    """Once a second: measure how late the loop runs, and tell the watchdog that it does."""
    while True:
        asked = monotonic()
        await asyncio.sleep(1.0)
        metrics.loop_lag.observe(max(0.0, monotonic() - asked - 1.0))
        beat()


def notify_systemd(state: str) -> None:
    """Tell systemd about us (sd_notify(3)); does nothing where there is no systemd.

    Never waits: a manager that is too busy to take it misses it, and the next beat follows.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(state.encode(), address)
    except OSError as error:  # also where no file can be opened: the calls go on
        _log.warning("systemd not told", state=state, reason=str(error))
