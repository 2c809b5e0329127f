"""One trace for each saga, over all processes, where OpenTelemetry is asked for; else nothing, at the cost of
a look at a variable. What is said to OpenTelemetry itself is in `spans`.

The envelope's `trace` is the span that a message was put in: the first is put in the saga's root span, all
others in the span of the handling that put them. A message that is tried again is handled in another span
of the same parent.
"""

from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from threading import Thread
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from django.conf import settings

from pizzahouse.messaging.envelope import Envelope

if TYPE_CHECKING:
    from pizzahouse.messaging.inbox import Outcome
    from pizzahouse.messaging.models import InboxMessage
    from pizzahouse.messaging.spans import Spans

log = structlog.get_logger(__name__)
FLUSH_SECONDS = 5.0
INSTALL = "pip install -r requirements-otel.txt"
NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")

_spans: "Spans | None" = None


def start() -> None:
    """Trace from now on, if the settings say where to. Called once in each process."""
    if not settings.MESSAGING["OTLP_ENDPOINT"]:
        return
    if missing():
        log.warning("there will be no traces: OpenTelemetry is not installed", do=INSTALL)
        return
    from pizzahouse.messaging import spans

    use(spans.exporting())


def missing() -> bool:
    """Whether what tracing needs is not installed."""
    try:
        return not all(find_spec(name) for name in NEEDED)
    except ModuleNotFoundError:  # one of the packages they are in
        return True


def use(spans: "Spans | None") -> None:
    """Make spans so from now on; None: make none."""
    global _spans  # noqa: PLW0603  (a process has one)
    _spans = spans


def root(trace: str, name: str, saga: UUID | None) -> str:
    """The trace of a message that nothing has caused: with tracing on, its ids become those of a real span,
    which ends with the commit."""
    return trace if _spans is None else _spans.root(trace, name, saga)


def handling(envelope: Envelope, handler: str) -> AbstractContextManager[Envelope]:
    """The span in which a message is handled. Gives the envelope with this span as its trace, so that what
    it causes inherits it."""
    return nullcontext(envelope) if _spans is None else _spans.handling(envelope, handler)


def tell(outcome: "Outcome") -> None:
    """Tell the span what came of the message."""
    if _spans is not None:
        _spans.tell(outcome)


def failed(error: Exception, row: "InboxMessage") -> None:
    """Tell the span how it failed."""
    if _spans is not None:
        _spans.failed(error, row)


def flush() -> None:
    """Send what is not sent yet; a collector that does not answer holds nobody up for long."""
    if _spans is not None:
        flushing = Thread(target=_spans.flush, name="flush-spans", daemon=True)
        flushing.start()
        flushing.join(FLUSH_SECONDS)
