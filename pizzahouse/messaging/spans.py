"""Spans, by OpenTelemetry's SDK. Imported only where traces are made."""

import atexit
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from pizzahouse.messaging import tracing
from pizzahouse.messaging.envelope import Envelope
from pizzahouse.messaging.inbox import Outcome
from pizzahouse.messaging.models import InboxMessage

# https://www.w3.org/TR/trace-context/#traceparent-header
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
Ids = tuple[int, int | None]  # of a trace, and of its first span

_wanted: ContextVar[Ids | None] = ContextVar("wanted", default=None)


class _Ids(RandomIdGenerator):
    """Random ids, but for a root span: those that it is wanted to have."""

    def generate_trace_id(self) -> int:
        wanted = _wanted.get()
        return wanted[0] if wanted else super().generate_trace_id()

    def generate_span_id(self) -> int:
        wanted = _wanted.get()
        return (wanted and wanted[1]) or super().generate_span_id()

    def is_trace_id_random(self) -> bool:
        return False  # a saga's id begins with the time


class _Even(Sampler):
    """Another sampler, asked with ids that are spread evenly. One that takes a share of the traces looks at
    the lower half of their ids; in a UUID that half begins with the same two bits (RFC 9562, variant)."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler

    def should_sample(
        self, parent_context: Context | None, trace_id: int, *rest: Any, **named: Any
    ) -> SamplingResult:
        return self.sampler.should_sample(parent_context, trace_id << 2, *rest, **named)

    def get_description(self) -> str:
        return self.sampler.get_description()


class Spans:
    """Makes spans and hands them to a processor."""

    def __init__(self, processor: SpanProcessor) -> None:
        own = Resource({"service.name": __name__.partition(".")[0], "process.pid": os.getpid()})
        self.provider = TracerProvider(
            resource=own.merge(OTELResourceDetector().detect()), id_generator=_Ids(), shutdown_on_exit=False
        )
        self.provider.sampler = _Even(self.provider.sampler)
        self.provider.add_span_processor(processor)
        self.tracer = self.provider.get_tracer("pizzahouse.messaging")

    def root(self, traceparent: str, name: str, saga: UUID | None) -> str:
        """Begin the span of a message that nothing has caused, with these ids; it ends with the commit, and
        is never told of without one. Returns its traceparent: only the flag may be another."""
        parent = _context(traceparent)
        assert parent is not None
        attributes = {"messaging.operation.type": "send", "message.type": name, "saga.id": str(saga or "")}
        with _ids((parent.trace_id, parent.span_id)):
            span = self.tracer.start_span(
                f"put {name}", context=Context(), kind=SpanKind.PRODUCER, attributes=attributes
            )
        transaction.on_commit(span.end, robust=True)
        return _traceparent(span, traceparent)

    @contextmanager
    def handling(self, envelope: Envelope, handler: str) -> Iterator[Envelope]:
        """The span in which a message is handled, a child of the one it was put in; a message that names
        none joins its saga's trace."""
        parent = _context(envelope.trace)
        context = trace.set_span_in_context(NonRecordingSpan(parent), Context()) if parent else Context()
        attributes: dict[str, AttributeValue] = {
            "messaging.operation.type": "process",
            "messaging.destination.name": envelope.destination,
            "messaging.message.id": str(envelope.message_id),
            "message.type": envelope.type,
            "message.attempt": envelope.sends + 1,
            "handler": handler,
            "saga.id": str(envelope.saga or ""),
        }
        with _ids(((envelope.saga or envelope.message_id).int, None)):
            span = self.tracer.start_span(
                f"{envelope.type} {envelope.destination}", context, SpanKind.CONSUMER, attributes
            )
        with trace.use_span(span, end_on_exit=True):
            yield msgspec.structs.replace(envelope, trace=_traceparent(span, envelope.trace))

    def tell(self, outcome: Outcome) -> None:
        """Tell the present span what came of its message."""
        span = trace.get_current_span()
        span.set_attribute("outcome", str(outcome.status))
        if outcome.step:
            span.set_attribute("saga.step", outcome.step)
            span.set_attribute("saga.state.before", outcome.from_state)
            span.set_attribute("saga.state.after", outcome.to_state)

    def failed(self, error: Exception, row: InboxMessage) -> None:
        """Tell the present span how its message failed: as it was recorded, which any encoding can take."""
        span = trace.get_current_span()
        span.set_attribute("message.attempt", row.attempts)
        exception = {
            "exception.type": type(error).__name__,
            "exception.message": row.error,
            "exception.stacktrace": row.traceback,
        }
        span.add_event("exception", exception)
        span.set_status(StatusCode.ERROR, row.error)

    def flush(self) -> None:
        """Send what is not sent yet."""
        self.provider.force_flush()


def exporting() -> Spans:
    """Spans that go to where OTEL_EXPORTER_OTLP_ENDPOINT says, at the latest when this process ends."""
    atexit.register(tracing.flush)
    return Spans(BatchSpanProcessor(OTLPSpanExporter()))


@contextmanager
def _ids(wanted: Ids) -> Iterator[None]:
    token = _wanted.set(wanted)
    try:
        yield
    finally:
        _wanted.reset(token)


def _context(traceparent: str) -> SpanContext | None:
    """The span that a traceparent names; None where it names none."""
    found = TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    sampled = TraceFlags(flags & TraceFlags.SAMPLED)
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=sampled)
    return context if context.is_valid else None


def _traceparent(span: trace.Span, otherwise: str) -> str:
    """Where OTEL_SDK_DISABLED says so, a span is none."""
    context = span.get_span_context()
    if not context.is_valid:
        return otherwise
    sampled = int(context.trace_flags) & TraceFlags.SAMPLED
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{sampled:02x}"
