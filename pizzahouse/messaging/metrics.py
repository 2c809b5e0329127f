"""What this process counts, for Prometheus: messages by handler and outcome, the relay, the workers.

Counted where it happens, in a few microseconds. Where the variable PROMETHEUS_MULTIPROC_DIR names a folder,
processes count in files there, and one of them shows the sums (`exposition`); else a process shows its own.
What the database knows is asked for when somebody looks (`figures`).
"""

import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

if TYPE_CHECKING:
    from pizzahouse.messaging.inbox import Outcome

UNKNOWN = "unknown"  # in place of names that others choose: they are without number
REPEATED, LEFT, PUT_BACK = "repeated", "left", "put_back"
OUTCOMES = ("done", "ignored", "failed", "dead", REPEATED, LEFT, PUT_BACK)
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30)

disable_created_metrics()  # they would double the number of series
if _folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
    Path(_folder).mkdir(parents=True, exist_ok=True)

messages = Counter(
    "messaging_messages_handled",
    "Deliveries by handler and outcome: done, ignored, failed (comes back), dead (waits for a human),"
    " repeated (handled before), left (another worker is at it), put_back (nothing could be recorded).",
    ["handler", "outcome"],
)
seconds = Histogram(
    "messaging_handling_seconds",
    "How long a delivery took, from its arrival in a worker thread until its outcome was committed.",
    ["handler"],
    buckets=BUCKETS,
)
retries = Counter(
    "messaging_retries",
    "Deliveries that may not be the first: of what was sent or delivered before, or put over an hour ago.",
    ["handler"],
)
deaths = Counter("messaging_worker_deaths", "Messages found begun by a worker that ended before they did.")
in_progress = Gauge(
    "messaging_messages_in_progress", "Messages in worker threads now.", multiprocess_mode="livesum"
)
workers = Gauge("messaging_worker_processes", "Worker processes that run.", multiprocess_mode="livesum")
threads = Gauge("messaging_worker_threads", "Worker threads that run.", multiprocess_mode="livesum")
published = Counter("messaging_relay_published", "Messages that relays handed to the broker.")
confirmed = Counter("messaging_relay_confirmed", "Messages that the broker confirmed.")
returned = Counter("messaging_relay_returned", "Messages that the broker returned: it had no such queue.")
refused = Counter("messaging_relay_refused", "Messages that the broker refused.")
resent = Counter(
    "messaging_relay_resent",
    "Messages sent again: their next attempt was due (failed), or nobody had handled them (unhandled).",
    ["why"],
)
sweeps = Counter("messaging_relay_sweeps", "How often relays looked for what is due.")
FAILED_BEFORE, UNHANDLED = resent.labels("failed"), resent.labels("unhandled")

# Told of each message that was handled, after the commit: the handler's name, and what came of it.
listeners: list[Callable[[str, "Outcome"], None]] = []


class _Figures:
    """The figures of one handler; looked up once, since `labels` costs as much as to count."""

    __slots__ = ("again", "outcomes", "seconds")

    def __init__(self, handler: str) -> None:
        self.outcomes = {outcome: messages.labels(handler, outcome) for outcome in OUTCOMES}
        self.seconds = seconds.labels(handler)
        self.again = retries.labels(handler)


_of: dict[str, _Figures] = {UNKNOWN: _Figures(UNKNOWN)}


def _figures(handler: str) -> _Figures:
    return _of.get(handler) or _of.setdefault(handler, _Figures(handler))


def begin() -> float:
    """Count a message in. Returns when that was, for `end`."""
    in_progress.inc()
    return perf_counter()


def end(handler: str, outcome: str, began: float) -> None:
    """Count a message out. handler: the name of one that is registered."""
    in_progress.dec()
    figures = _figures(handler)
    figures.outcomes[outcome].inc()
    figures.seconds.observe(perf_counter() - began)


def again(handler: str) -> None:
    """Count an attempt that may not be the first."""
    _figures(handler).again.inc()


def unreadable() -> None:
    """Count a message that no handler could be found for: it is dead."""
    _figures(UNKNOWN).outcomes["dead"].inc()


def tell(handler: str, outcome: "Outcome") -> None:
    """Tell those who count on their own, such as of sagas."""
    for listener in listeners:
        listener(handler, outcome)
