"""Who may connect to a port, how often, and how many may stand there without having said who they are.

AudioSocket and FastAGI have neither passwords nor encryption, so the first question is where a
connection comes from. Those that may come are counted by source: a bucket of tokens for the new ones,
and two bounds for the undecided. Where there are too many of these, the one that has waited longest
has to go: a PBX says in the same breath who it is, so it is never the one.

Pure: `now` is seconds of any monotonic clock, a connection is whatever the owner takes for one.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Final, Generic, TypeVar

from audiosocket_agent.addresses import LOOPBACK, Network, is_in
from audiosocket_agent.errors import PeerError

CONNECTS_PER_SECOND: Final = 200.0
"""From one source. A PBX that was made to start 25 calls a second had no failure, a connection costs
150 us; each call may come with three requests of its dialplan."""

BURST_SECONDS: Final = 0.5
"""So much of a second's connections may come at once."""

HALF_OPEN: Final = 256
HALF_OPEN_PER_SOURCE: Final = 128
"""More than a burst, so that connections of a PBX never push each other out."""

AUDIO_SECONDS: Final = 0.005
"""A message of audio is 10 ms or more."""
DIGIT_SECONDS: Final = 0.04
"""The shortest a digit may be (ITU-T Q.24)."""
MAX_AHEAD_SECONDS: Final = 30.0
"""Of audio there is as much after a stall, the network's or our own."""

SOURCES_KEPT: Final = 4096
"""A source that is forgotten begins with a full bucket; as many at once are no PBX's."""

_C = TypeVar("_C", bound=Hashable)


class Gate(Generic[_C]):
    """One port's. Whoever comes is asked for a `refusal` first; those without one `enter`, and `leave`
    when they have said who they are, or are gone."""

    def __init__(
        self,
        networks: Iterable[Network] = LOOPBACK,
        *,
        per_second: float = CONNECTS_PER_SECOND,
        half_open: int = HALF_OPEN,
        half_open_per_source: int = HALF_OPEN_PER_SOURCE,
    ) -> None:
        self._networks = tuple(networks)
        self._per_second = per_second
        self._burst = max(1.0, per_second * BURST_SECONDS)
        self._most = half_open
        self._most_per_source = half_open_per_source
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when
        self._waiting: dict[_C, str] = {}  # in the order they came
        self._by_source: dict[str, dict[_C, None]] = {}

    @property
    def half_open(self) -> int:
        """Connections that have not said who they are."""
        return len(self._waiting)

    def refusal(self, source: str, now: float) -> str:
        """Why a new connection from this address is to be closed at once, or nothing."""
        if not is_in(source, self._networks):
            return "not_allowed"
        tokens, at = self._buckets.pop(source, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._per_second)
        may = tokens >= 1.0
        self._buckets[source] = (tokens - may, now)
        if len(self._buckets) > SOURCES_KEPT:
            self._buckets.popitem(last=False)
        return "" if may else "too_often"

    def enter(self, connection: _C, source: str) -> _C | None:
        """One more that is undecided; returns the one that is to be closed for it, which has left."""
        self._waiting[connection] = source
        own = self._by_source.setdefault(source, {})
        own[connection] = None
        if len(own) > self._most_per_source:
            oldest = next(iter(own))
        elif len(self._waiting) > self._most:
            oldest = next(iter(self._waiting))
        else:
            return None
        self.leave(oldest)
        return oldest

    def leave(self, connection: _C) -> None:
        """It is undecided no more. May be called twice."""
        source = self._waiting.pop(connection, None)
        if source is None:
            return
        own = self._by_source[source]
        del own[connection]
        if not own:
            del self._by_source[source]


class Haste:
    """Whether messages of one connection come faster than they can mean anything, whatever is in
    them: each has a least time, and nobody is `MAX_AHEAD_SECONDS` ahead of the clock."""

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self._at = 0.0

    def came(self, now: float, least_s: float) -> None:
        """A message has come that takes a peer `least_s`. Raises PeerError."""
        ahead_s = self._ahead_s - (now - self._at)
        self._ahead_s = least_s + ahead_s if ahead_s > 0.0 else least_s
        self._at = now
        if self._ahead_s > MAX_AHEAD_SECONDS:
            raise PeerError("too_fast", "a flood of messages")


class Seldom:
    """Whether to tell of something that may come by the thousand: once in so many seconds for each
    key."""

    def __init__(self, seconds: float = 60.0) -> None:
        self._seconds = seconds
        self._told: OrderedDict[Hashable, float] = OrderedDict()

    def is_time(self, key: Hashable, now: float) -> bool:
        """Whether it is to be told of now; it then counts as told."""
        told_at = self._told.get(key)
        if told_at is not None and now - told_at < self._seconds:
            return False
        self._told[key] = now
        self._told.move_to_end(key)
        if len(self._told) > SOURCES_KEPT:
            self._told.popitem(last=False)
        return True
