"""Traces: none, at no cost, until they are asked for; then one for each saga, over all its messages."""

import sys
from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from threading import Event
from uuid import UUID

import msgspec
import pytest
from django.db import OperationalError, transaction
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from pytest_django import Settings
from uuid_utils.compat import uuid7

from orders.contracts import Cancel, StartTableService
from orders.table_service import TableService
from pizzahouse.messaging import checks, outbox, testing, tracing
from pizzahouse.messaging.envelope import Letter
from pizzahouse.messaging.models import OutboxMessage
from pizzahouse.messaging.spans import Spans
from tests.house import WHOLE_STORY
from tests.unit import elsewhere
from tests.unit.postoffice import Counter, SendParcel, committed, post, redeliver
from tests.unit.test_failures import fail
from tests.unit.test_table_service import baking

pytestmark = committed  # a root span ends with the commit
SAGA = UUID("01a2140c-7c5b-7c1e-9f0e-3a6d0f6c2b11")


class Traced:
    """What is exported while it lasts."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        tracing.use(Spans(SimpleSpanProcessor(self.exporter)))

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    def of(self, letter: Letter) -> list[ReadableSpan]:
        """The spans in which a message was handled, in their order."""
        wanted = str(letter.envelope.message_id)
        return [span for span in self.spans if told(span, "messaging.message.id") == wanted]


@pytest.fixture(autouse=True)
def _off_at_last() -> Iterator[None]:
    yield
    tracing.use(None)


@pytest.fixture
def traced() -> Traced:
    return Traced()


def told(span: ReadableSpan, attribute: str) -> object:
    return (span.attributes or {}).get(attribute)


def ids(span: ReadableSpan) -> tuple[int, int]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def serve_a_table() -> UUID:
    with transaction.atomic():
        saga = TableService.begin(StartTableService(table="TBL1"))
    testing.deliver()
    return saga


# --- Off ------------------------------------------------------------------------------------------


def test_without_a_collector_nothing_of_opentelemetry_is_imported(tmp_path: object) -> None:
    script = """
import sys
from django.core.management import call_command
from django.db import transaction
from orders.contracts import StartTableService
from orders.table_service import TableService
from pizzahouse.messaging import testing
call_command("migrate", verbosity=0)
with transaction.atomic():
    TableService.begin(StartTableService(table="TBL1"))
print(testing.deliver() > 20, [name for name in sys.modules if name.startswith("opentelemetry")])
"""
    url = f"sqlite:///{tmp_path}/house.sqlite3"
    assert elsewhere.run(script, DATABASE_URL=url, PIZZAHOUSE_PACE="0").strip() == "True []"


def test_without_a_collector_all_messages_of_a_saga_carry_the_trace_of_its_first() -> None:
    saga = serve_a_table()
    traces = set(OutboxMessage.objects.filter(saga_id=saga).values_list("trace", flat=True))
    first = OutboxMessage.objects.get(type="StartTableService")
    assert traces == {f"00-{saga.hex}-{first.id.hex[16:]}-01"}


def test_where_opentelemetry_is_not_installed_that_is_said_and_the_house_works(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.MESSAGING = settings.MESSAGING | {"OTLP_ENDPOINT": "http://127.0.0.1:1"}
    assert checks.check_tracing(None) == []
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    [found] = checks.check_tracing(None)
    assert (found.id, "pip install -r requirements-otel.txt" in (found.hint or "")) == (
        "messaging.E009",
        True,
    )
    tracing.start()
    assert "pip install -r requirements-otel.txt" in caplog.text
    serve_a_table()
    assert TableService.objects.get().state == "closed"


# --- On: one trace for each saga ------------------------------------------------------------------


def test_a_saga_is_one_trace_and_each_message_a_child_of_what_caused_it(traced: Traced) -> None:
    saga = serve_a_table()
    assert {ids(span)[0] for span in traced.spans} == {saga.int}
    [root] = [span for span in traced.spans if span.parent is None]
    assert (root.name, root.kind, told(root, "saga.id")) == (
        "put StartTableService",
        SpanKind.PRODUCER,
        str(saga),
    )
    handled = {told(span, "messaging.message.id"): span for span in traced.spans if span is not root}
    assert Tally(told(span, "message.type") for span in handled.values()) == WHOLE_STORY
    for row in OutboxMessage.objects.filter(saga_id=saga).exclude(type="DeadlinePassed"):
        span = handled[str(row.id)]
        cause = handled[str(row.causation_id)] if row.causation_id else root
        assert parent(span) == ids(cause)[1]
        assert row.trace == f"00-{saga.hex}-{ids(cause)[1]:016x}-01"
        assert span.kind is SpanKind.CONSUMER
        assert span.status.status_code is StatusCode.UNSET


def test_a_step_tells_where_the_saga_went(traced: Traced) -> None:
    serve_a_table()
    [span] = [span for span in traced.spans if told(span, "message.type") == "OrderPlaced"]
    names = ("outcome", "saga.step", "saga.state.before", "saga.state.after", "handler", "message.attempt")
    assert [told(span, name) for name in names] == [
        *("done", "do_pizzas", "ordering", "baking"),
        *("orders.table_service.OrderPlaced", 1),
    ]


def test_two_sagas_are_two_traces(traced: Traced) -> None:
    sagas = {serve_a_table().int, serve_a_table().int}
    assert {ids(span)[0] for span in traced.spans} == sagas


def test_a_message_of_no_saga_is_a_trace_of_its_own(traced: Traced) -> None:
    letters = [post(), post()]
    for letter in letters:
        testing.hand(letter)
    assert {ids(span)[0] for span in traced.spans} == {letter.envelope.message_id.int for letter in letters}
    assert len(traced.spans) == 4


def test_a_message_that_names_no_trace_joins_its_sagas(traced: Traced, counter: Counter) -> None:
    letter = post(saga=SAGA)
    traced.exporter.clear()
    for trace in ("", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "what a trace is nobody told me"):
        envelope = msgspec.structs.replace(letter.envelope, trace=trace)
        testing.hand(Letter(envelope, letter.payload))
    assert [(ids(span)[0], span.parent) for span in traced.spans] == [(SAGA.int, None)] * 3


# --- How it went ----------------------------------------------------------------------------------


def test_attempts_are_spans_side_by_side_and_those_that_failed_say_how(
    traced: Traced, counter: Counter
) -> None:
    letter = post(saga=SAGA)
    counter.on_parcel = fail
    testing.deliver()
    counter.on_parcel = lambda command: None
    testing.deliver(later=True)
    failed, done = traced.of(letter)
    assert parent(failed) == parent(done) is not None
    assert (told(failed, "message.attempt"), told(done, "message.attempt")) == (1, 2)
    assert (told(failed, "outcome"), told(done, "outcome")) == ("failed", "done")
    assert (failed.status.status_code, done.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
    assert failed.status.description == "OSError: the oven is cold"
    [exception] = failed.events
    assert exception.attributes is not None
    assert exception.attributes["exception.type"] == "OSError"
    assert "in fail" in str(exception.attributes["exception.stacktrace"])


def test_a_message_that_is_dead_has_failed(traced: Traced, counter: Counter, settings: Settings) -> None:
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 1}
    counter.on_parcel = fail
    letter = post()
    testing.hand(letter)
    [span] = traced.of(letter)
    assert (told(span, "outcome"), span.status.status_code) == ("dead", StatusCode.ERROR)


def test_what_is_ignored_or_was_handled_before_has_not_failed(traced: Traced, counter: Counter) -> None:
    parcel, late = post(), baking().tell(StartTableService("TBL1"))
    testing.hand(parcel)
    redeliver(parcel)
    testing.hand(late)
    _, repeated = traced.of(parcel)
    [ignored] = traced.of(late)
    assert (told(repeated, "outcome"), told(ignored, "outcome")) == ("repeated", "ignored")
    assert {span.status.status_code for span in traced.spans} == {StatusCode.UNSET}


def test_what_the_database_could_not_take_has_failed(
    traced: Traced, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pizzahouse.messaging.handling.PAUSE_WITHOUT_DATABASE", 0)

    def refuse(command: SendParcel) -> None:
        raise OperationalError("database is locked")

    counter.on_parcel = refuse
    letter = post()
    with pytest.raises(OperationalError):
        testing.hand(letter)
    [span] = traced.of(letter)
    assert (told(span, "outcome"), span.status.status_code) == (None, StatusCode.ERROR)


def test_what_a_message_says_is_in_no_span(traced: Traced, counter: Counter) -> None:
    for deed in (lambda command: None, fail):
        counter.on_parcel = deed
        testing.hand(post(SendParcel(note="the code of the door is 4711"), saga=SAGA))
    exported = "".join(span.to_json() for span in traced.spans)
    assert SAGA.hex in exported
    assert "4711" not in exported


# --- What never happened --------------------------------------------------------------------------


def test_a_message_that_is_rolled_back_was_never_put(traced: Traced) -> None:
    with transaction.atomic():
        outbox.put(SendParcel(), saga=SAGA)
        transaction.set_rollback(True)
    assert traced.spans == ()


def test_a_preview_leaves_no_trace(traced: Traced) -> None:
    table = baking()
    traced.exporter.clear()
    outcome, letters = TableService.preview(table.id, Cancel(reason="rain", by="guest"))
    assert (outcome.to_state, len(letters) > 1) == ("recalling", True)
    assert traced.spans == ()


# --- OpenTelemetry's own variables ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "sampled"),
    [("OTEL_SDK_DISABLED", "true", "01"), ("OTEL_TRACES_SAMPLER", "always_off", "00")],
)
def test_who_wants_no_spans_gets_none_and_messages_still_name_their_sagas_trace(
    variable: str, value: str, sampled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    traced = Traced()
    saga = serve_a_table()
    assert traced.spans == ()
    traces = OutboxMessage.objects.filter(saga_id=saga).values_list("trace", flat=True)
    assert {(trace[3:35], trace[-2:]) for trace in traces} == {(saga.hex, sampled)}


def test_a_share_of_the_sagas_is_traced_and_each_of_them_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    traced = Traced()
    letters = [post(saga=uuid7()) for _ in range(100)]
    for letter in letters:
        testing.hand(letter)
    spans = Tally(ids(span)[0] for span in traced.spans)
    assert 10 < len(spans) < 90  # all but one in 10**17 times
    assert set(spans.values()) == {2}


def test_the_service_has_the_name_that_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    serve_a_table()
    for variables, name in (({}, "pizzahouse"), ({"OTEL_SERVICE_NAME": "kitchen"}, "kitchen")):
        for variable, value in variables.items():
            monkeypatch.setenv(variable, value)
        traced = Traced()
        testing.hand(post())
        assert {span.resource.attributes["service.name"] for span in traced.spans} == {name}


def test_a_collector_that_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Event()

    class Silent(SpanProcessor):
        def force_flush(self, timeout_millis: int = 30000) -> bool:
            return answers.wait(30)

    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.01)
    tracing.use(Spans(Silent()))
    tracing.flush()
    assert not answers.is_set()
    answers.set()
