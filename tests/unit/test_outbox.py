"""The outbox: a message is written with the change that it tells of, or not at all."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from kitchen.contracts import DoPizza
from kitchen.models import Stock
from menu.contracts import GetMenu
from pizzahouse.messaging import outbox, relay
from pizzahouse.messaging.envelope import Envelope
from pizzahouse.messaging.errors import OutsideTransaction, UnknownDestination
from pizzahouse.messaging.handling import After, ask, correlation
from pizzahouse.messaging.messages import Event
from pizzahouse.messaging.models import OutboxMessage
from pizzahouse.messaging.testing import deliver, hand, letters, sent
from tests.unit.postoffice import (
    OFFICE,
    SENDER,
    Counter,
    ParcelSent,
    SendParcel,
    claim,
    committed,
    leave_a_trace,
    post,
    traces,
)
from waiter.models import Deed, Question

SAGA = UUID(int=5)


class Undone(Exception):
    """Raised to roll back."""


@committed
def test_a_message_outside_a_transaction_is_refused_and_told_how_to_mend_it() -> None:
    with pytest.raises(OutsideTransaction, match=r"with transaction\.atomic\(\).*\(SendParcel\)"):
        outbox.put(SendParcel())
    assert not OutboxMessage.objects.exists()


@committed
def test_a_transaction_that_is_rolled_back_sends_nothing() -> None:
    with suppress(Undone), transaction.atomic():
        outbox.put(SendParcel())
        raise Undone
    assert deliver() == 0
    assert sent() == []


@pytest.mark.django_db
def test_a_savepoint_that_is_rolled_back_takes_its_message_with_it() -> None:
    with transaction.atomic():
        outbox.put(SendParcel(note="before"))
        with suppress(Undone), transaction.atomic():
            outbox.put(SendParcel(note="undone"))
            raise Undone
        outbox.put(SendParcel(note="after"))
    assert [message.note for message in sent()] == ["before", "after"]


@committed
@pytest.mark.parametrize("durable_savepoint", [True, False])
def test_in_a_handler_a_rolled_back_savepoint_does_not_send_its_message_while_the_rest_is_sent(
    counter: Counter, durable_savepoint: bool
) -> None:
    def handle(command: SendParcel) -> ParcelSent:
        outbox.put(ParcelSent(note="before"))
        with suppress(IntegrityError), transaction.atomic():
            outbox.put(ParcelSent(note="undone"))
            outbox.record(Deed(id=1, kind="undone", table="T1"))
            if not durable_savepoint:
                with transaction.atomic(savepoint=False):
                    outbox.put(ParcelSent(note="undone, too"))
                    raise IntegrityError
            raise IntegrityError
        with transaction.atomic():
            outbox.put(ParcelSent(note="kept"))
            outbox.record(Deed(kind="kept", table="T1"))
        return ParcelSent(note="after")

    counter.on_parcel = handle
    hand(post())
    assert sorted(message.note for message in sent("ParcelSent")) == ["after", "before", "kept"]
    assert list(Deed.objects.values_list("kind", flat=True)) == ["kept"]


@committed
def test_a_handler_that_raises_sends_nothing(counter: Counter) -> None:
    def handle(command: SendParcel) -> None:
        outbox.put(ParcelSent(note="too early"))
        with transaction.atomic():
            outbox.put(ParcelSent(note="in a savepoint"))
        raise RuntimeError

    counter.on_parcel = handle
    hand(post())
    assert sent("ParcelSent") == []


@pytest.mark.django_db
def test_a_message_with_a_delay_waits_for_its_time() -> None:
    before = timezone.now()
    post(delay=3600)
    row = OutboxMessage.objects.get()
    assert row.due_at is not None
    assert timedelta(minutes=59) < row.due_at - before < timedelta(minutes=61)
    assert abs(row.available_at - row.due_at) < timedelta(milliseconds=50)
    assert deliver() == 0
    assert deliver(later=True) == 0
    assert deliver(later=timedelta(hours=2)) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("delay", [0, -1, -0.001])
def test_a_delay_that_is_over_is_none(delay: float) -> None:
    post(delay=delay)
    assert OutboxMessage.objects.get().due_at is None
    assert deliver() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("delay", [float("inf"), float("nan"), 1e15])
def test_a_delay_that_is_no_time_is_refused_when_put(delay: float) -> None:
    with pytest.raises((ValueError, OverflowError)), transaction.atomic():
        outbox.put(SendParcel(), delay=delay)


@pytest.mark.django_db
def test_what_was_put_can_be_taken_at_once() -> None:
    for _ in range(200):
        with transaction.atomic():
            outbox.put(SendParcel())
        assert len(relay.take_pending(10)) == 1


@pytest.mark.django_db
def test_a_long_chain_of_messages_is_delivered_to_its_end(counter: Counter) -> None:
    def pass_on(event: ParcelSent) -> None:
        if OutboxMessage.objects.count() < 100:
            outbox.put(SendParcel(), reply_to=SENDER)

    counter.on_parcel = lambda command: ParcelSent()
    counter.on_word = pass_on
    post()
    assert deliver() == 100


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("to", "suggestion"),
    [
        ("kichen", "did you mean 'kitchen'"),
        ("Kitchen", "did you mean 'kitchen'"),
        ("kitchen ", "did you mean 'kitchen'"),
        ("waiter", None),
        ("kitchen.oven", "did you mean 'kitchen'"),
        ("xxxxxxxxxxxxxxxxxxxxxxxxxx", None),
    ],
)
def test_an_unknown_destination_is_refused_with_the_likely_one(to: str, suggestion: str | None) -> None:
    with pytest.raises(UnknownDestination) as refusal, transaction.atomic():
        outbox.put(DoPizza(UUID(int=1), "pmghr", "xl"), to=to)
    assert f"DoPizza to {to!r}" in str(refusal.value)
    if suggestion:
        assert suggestion in str(refusal.value)
    assert sent() == []


class NobodyHandlesThis(Event, frozen=True):
    """An event without a handler."""


@pytest.mark.django_db
def test_a_message_that_nobody_handles_is_refused() -> None:
    with pytest.raises(UnknownDestination), transaction.atomic():
        outbox.put(NobodyHandlesThis(), to=SENDER)


@pytest.mark.django_db
def test_an_event_that_nobody_asked_for_needs_an_address() -> None:
    with pytest.raises(UnknownDestination), transaction.atomic():
        outbox.put(ParcelSent())


@pytest.mark.django_db
def test_a_command_goes_to_its_module_and_its_answer_to_who_asked(counter: Counter) -> None:
    counter.on_parcel = lambda command: ParcelSent()
    asked = post(saga=SAGA)
    hand(asked)
    answer = letters("ParcelSent")[0]
    assert asked.envelope.destination == OFFICE
    assert answer.envelope.destination == SENDER == asked.envelope.reply_to


@pytest.mark.django_db
def test_an_answer_inherits_saga_cause_and_trace(counter: Counter) -> None:
    counter.on_parcel = lambda command: ParcelSent()
    asked = post(saga=SAGA).envelope
    deliver()
    answer = letters("ParcelSent")[0].envelope
    assert (asked.saga, asked.causation) == (SAGA, None)
    assert (answer.saga, answer.causation) == (SAGA, asked.message_id)
    assert answer.trace == asked.trace
    assert re.fullmatch(rf"00-{SAGA.hex}-[0-9a-f]{{16}}-01", asked.trace)
    assert answer.reply_to == ""


@pytest.mark.django_db
def test_a_message_without_a_saga_is_a_trace_of_its_own() -> None:
    first, second = post().envelope, post().envelope
    assert first.trace.split("-")[1] == first.message_id.hex
    assert first.trace != second.trace


@pytest.mark.django_db
def test_a_chain_of_messages_stays_one_saga_and_one_trace(counter: Counter) -> None:
    def pass_on(event: ParcelSent) -> None:
        if event.note != "2":
            outbox.put(SendParcel(note=str(len(event.note) + 1)), reply_to=SENDER)

    counter.on_parcel = lambda command: ParcelSent(note=command.note)
    counter.on_word = pass_on
    first = post(SendParcel(note="x"), saga=SAGA).envelope
    assert deliver() == 4
    chain = [letter.envelope for letter in letters()]
    assert {each.saga for each in chain} == {SAGA}
    assert {each.trace for each in chain} == {first.trace}
    assert [each.causation for each in chain[1:]] == [each.message_id for each in chain[:-1]]


@pytest.mark.django_db
def test_another_saga_can_be_named_in_a_handler(counter: Counter) -> None:
    other = UUID(int=6)
    counter.on_parcel = lambda command: outbox.put(ParcelSent(), to=SENDER, saga=other) and None
    hand(post(saga=SAGA))
    assert letters("ParcelSent")[0].envelope.saga == other


@pytest.mark.django_db
def test_after_a_handler_its_envelope_is_forgotten(counter: Counter) -> None:
    seen: list[UUID | None] = []
    counter.on_parcel = lambda command: seen.append(correlation())
    hand(post(saga=SAGA))
    assert seen == [SAGA]
    assert correlation() is None
    assert post().envelope.causation is None


@pytest.mark.django_db
def test_the_id_is_made_when_the_message_is_put_and_stays() -> None:
    with transaction.atomic():
        message_id = outbox.put(SendParcel())
    before = letters()[0].envelope
    deliver(twice=True)
    after = letters()[0].envelope
    assert before.message_id == after.message_id == message_id
    assert OutboxMessage.objects.get().sends == 1


@pytest.mark.django_db
def test_ids_grow_in_the_order_of_putting() -> None:
    with transaction.atomic():
        ids = [outbox.put(SendParcel()) for _ in range(50)]
    assert ids == sorted(ids)


@pytest.mark.django_db
def test_what_a_question_changes_is_undone(counter: Counter) -> None:
    def handle(command: SendParcel) -> ParcelSent:
        leave_a_trace()
        outbox.record(Deed(kind="recorded", table="T1"))
        outbox.put(SendParcel(note="put"))
        return ParcelSent(note="an answer")

    counter.on_parcel = handle
    assert ask(SendParcel()) == ParcelSent(note="an answer")
    assert traces() == 0
    assert sent() == []


@pytest.mark.django_db
def test_a_question_inside_a_handler_leaves_nothing_either(counter: Counter) -> None:
    def handle(command: SendParcel) -> ParcelSent:
        if command.note == "asked":
            outbox.record(Deed(kind="asked", table="T1"))
            outbox.put(ParcelSent(note="asked"), to=SENDER)
            return ParcelSent(note="the answer")
        answer = ask(SendParcel(note="asked"))
        leave_a_trace()
        assert isinstance(answer, ParcelSent)
        return answer

    counter.on_parcel = handle
    hand(post())
    assert sent("ParcelSent") == [ParcelSent(note="the answer")]
    assert traces() == 1


@pytest.mark.django_db
def test_a_thousand_messages_of_one_handler_are_all_sent(counter: Counter) -> None:
    counter.on_parcel = lambda command: [ParcelSent(note=str(n)) for n in range(2500)]
    hand(post())
    assert {message.note for message in sent("ParcelSent")} == {str(n) for n in range(2500)}


# --- Rows that are recorded with a handler's last statement ---------------------------------------


@pytest.mark.django_db
def test_rows_of_one_model_with_and_without_given_values_are_recorded_as_given(counter: Counter) -> None:
    moment = timezone.now() - timedelta(days=365)

    def handle(command: SendParcel) -> None:
        outbox.record(Deed(kind="default", table="A"), Deed(kind="given", table="B", at=moment))
        outbox.record(Deed(kind="given", table="C", at=moment), Deed(kind="default", table="D"))

    counter.on_parcel = handle
    hand(post())
    given = dict(Deed.objects.values_list("table", "at"))
    assert given["B"] == given["C"] == moment
    assert given["A"] > moment
    assert given["D"] > moment


@pytest.mark.django_db
def test_a_recorded_value_can_be_left_to_the_database(counter: Counter) -> None:
    before = timezone.now()
    counter.on_parcel = lambda command: outbox.record(Deed(kind="now", table="T1", at=Now()))
    letter = post()
    hand(letter)
    assert claim(letter).status == "done"
    assert abs(Deed.objects.get().at - before) < timedelta(minutes=1)


@pytest.mark.django_db
def test_recorded_rows_are_what_saved_ones_would_be(counter: Counter) -> None:
    menu = {"EUR": 12400, "ä": [None, 1.5, "\\u0000"]}
    values = {"table": "TBL1", "visit": SAGA, "menu": menu, "reply": {}}

    def handle(command: SendParcel) -> None:
        outbox.record(Question(**values))
        Question.objects.create(**values)

    counter.on_parcel = handle
    hand(post())
    recorded, saved = Question.objects.values(*values)
    assert recorded == saved == values


@pytest.mark.django_db
def test_rows_of_several_models_are_recorded_in_turn(counter: Counter) -> None:
    def handle(command: SendParcel) -> None:
        for number in range(3):
            outbox.record(Deed(kind="in turn", table=str(number)))
            outbox.record(OutboxMessage(type="in turn", destination="nowhere", payload={}))

    counter.on_parcel = handle
    hand(post())
    assert claim(letters("SendParcel")[0]).status == "done"
    assert Deed.objects.filter(kind="in turn").count() == 3
    assert OutboxMessage.objects.filter(type="in turn").count() == 3


@pytest.mark.django_db
def test_more_rows_than_one_statement_takes_are_all_recorded(counter: Counter) -> None:
    counter.on_parcel = lambda command: outbox.record(
        *(Deed(kind="many", table=str(number)) for number in range(2100))
    )
    hand(post())
    assert traces() == 2100


@pytest.mark.django_db
def test_a_recorded_value_that_is_too_long_is_an_error_and_never_cut(counter: Counter) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite keeps texts of any length")
    counter.on_parcel = lambda command: outbox.record(Deed(kind="long", table="x" * 30))
    letter = post()
    hand(letter)
    assert list(Deed.objects.values_list("table", flat=True)) == []
    assert claim(letter).status == "failed"


@pytest.mark.django_db
def test_outside_a_handler_rows_are_saved_at_once() -> None:
    outbox.record(Deed(kind="now", table="T1"))
    assert traces() == 1


@pytest.mark.django_db
def test_a_generator_can_answer(counter: Counter) -> None:
    def handle(command: SendParcel) -> Iterator[Event | After]:
        leave_a_trace()
        yield ParcelSent(note="now")
        yield After(60, ParcelSent(note="later"))

    counter.on_parcel = handle
    hand(post())
    assert [message.note for message in sent("ParcelSent")] == ["now", "later"]
    assert traces() == 1


@pytest.mark.django_db
def test_the_menu_answers_a_question_at_the_edge() -> None:
    answer = ask(GetMenu())
    assert len(answer.menu) == 10  # type: ignore[attr-defined]


# --- An answer that took until now ----------------------------------------------------------------


@pytest.mark.django_db
def test_an_answer_that_took_until_now_goes_to_who_asked_and_is_of_the_same_story() -> None:
    asked = post(saga=SAGA).envelope
    with transaction.atomic():
        outbox.put(ParcelSent(), cause=asked)
    answer = letters("ParcelSent")[0].envelope
    assert (answer.destination, answer.reply_to) == (SENDER, "")
    assert (answer.saga, answer.causation, answer.trace) == (SAGA, asked.message_id, asked.trace)


@pytest.mark.django_db
def test_in_a_handler_a_named_cause_goes_before_what_is_being_handled(counter: Counter) -> None:
    asked = post(SendParcel(note="asked"), saga=SAGA).envelope
    counter.on_parcel = lambda command: outbox.put(ParcelSent(), cause=asked) and None
    hand(post(saga=UUID(int=6)))
    answer = letters("ParcelSent")[0].envelope
    assert (answer.saga, answer.causation, answer.trace) == (SAGA, asked.message_id, asked.trace)


@pytest.mark.django_db
def test_a_cause_does_not_override_what_is_said() -> None:
    asked = post(saga=SAGA).envelope
    with transaction.atomic():
        outbox.put(SendParcel(), cause=asked, to=OFFICE, reply_to="tests.other", saga=UUID(int=6))
    envelope = letters("SendParcel")[1].envelope
    assert (envelope.destination, envelope.reply_to, envelope.saga) == (OFFICE, "tests.other", UUID(int=6))
    assert envelope.causation == asked.message_id


@pytest.mark.django_db
def test_the_envelope_of_what_is_handled_can_be_kept_for_later(counter: Counter) -> None:
    kept: list[Envelope | None] = []
    counter.on_parcel = lambda command: kept.append(outbox.current_envelope())
    letter = post(saga=SAGA)
    hand(letter)
    assert kept == [letter.envelope]
    assert outbox.current_envelope() is None


# --- Sums that are added with a handler's last statement ------------------------------------------


def left(code: str = "parcel") -> int:
    return Stock.objects.get(code=code).left


@pytest.fixture
def stock() -> None:
    Stock.objects.create(code="parcel", left=10)
    Stock.objects.create(code="letter", left=10)


@pytest.mark.django_db
@pytest.mark.usefixtures("stock")
def test_outside_a_handler_a_sum_is_added_at_once() -> None:
    outbox.add(Stock, {"code": "parcel"}, left=-3)
    assert (left(), left("letter")) == (7, 10)
    with pytest.raises(IntegrityError), transaction.atomic():
        outbox.add(Stock, {"code": "parcel"}, left=-8)
    assert left() == 7


@pytest.mark.django_db
@pytest.mark.usefixtures("stock")
def test_in_a_handler_sums_are_added_once_with_what_it_answers(counter: Counter) -> None:
    def handle(command: SendParcel) -> ParcelSent:
        outbox.add(Stock, {"code": "parcel"}, left=-3)
        outbox.add(Stock, {"code": "letter"}, left=2)
        return ParcelSent()

    counter.on_parcel = handle
    letter = post()
    hand(letter)
    hand(letter)
    assert (left(), left("letter")) == (7, 12)
    assert len(sent("ParcelSent")) == 1


@pytest.mark.django_db
@pytest.mark.usefixtures("stock")
def test_a_handler_that_raises_adds_nothing(counter: Counter) -> None:
    def handle(command: SendParcel) -> None:
        outbox.add(Stock, {"code": "parcel"}, left=-3)
        raise RuntimeError

    counter.on_parcel = handle
    hand(post())
    assert left() == 10


@pytest.mark.django_db
@pytest.mark.usefixtures("stock")
def test_a_sum_of_a_savepoint_that_is_rolled_back_is_not_added(counter: Counter) -> None:
    def handle(command: SendParcel) -> None:
        with suppress(Undone), transaction.atomic():
            outbox.add(Stock, {"code": "parcel"}, left=-3)
            raise Undone
        with transaction.atomic():
            outbox.add(Stock, {"code": "parcel"}, left=-1)

    counter.on_parcel = handle
    letter = post()
    hand(letter)
    assert (claim(letter).status, left()) == ("done", 9)


@pytest.mark.django_db
@pytest.mark.usefixtures("stock")
def test_adding_to_a_row_that_does_not_exist_changes_nothing(counter: Counter) -> None:
    def handle(command: SendParcel) -> ParcelSent:
        outbox.add(Stock, {"code": "nothing"}, left=-3)
        return ParcelSent()

    counter.on_parcel = handle
    letter = post()
    hand(letter)
    outbox.add(Stock, {"code": "nothing"}, left=-3)
    assert (claim(letter).status, len(sent("ParcelSent"))) == ("done", 1)
    assert (left(), left("letter")) == (10, 10)
    assert not Stock.objects.filter(code="nothing").exists()


@pytest.mark.django_db
@pytest.mark.usefixtures("stock")
def test_a_row_to_add_to_is_found_by_several_values(counter: Counter) -> None:
    made = [Deed.objects.create(kind=kind, table="T1", visit=SAGA) for kind in ("a", "b")]
    counter.on_parcel = lambda command: outbox.add(Deed, {"visit": SAGA, "kind": "b"}, pizzas=2)
    hand(post())
    assert [Deed.objects.get(pk=each.pk).pizzas for each in made] == [0, 2]


@pytest.mark.django_db
@pytest.mark.usefixtures("stock")
def test_sums_that_are_added_twice_to_a_row_in_one_handler_are_both_added(counter: Counter) -> None:
    def handle(command: SendParcel) -> None:
        outbox.add(Stock, {"code": "parcel"}, left=-3)
        outbox.add(Stock, {"code": "parcel"}, left=-1)

    counter.on_parcel = handle
    hand(post())
    assert left() == 6


# --- Taken back -----------------------------------------------------------------------------------


def make_due(message_id: UUID) -> None:
    """The time of what was put with a delay has come."""
    then = timezone.now() - timedelta(seconds=1)
    OutboxMessage.objects.filter(pk=message_id).update(due_at=then, available_at=then)


def taken(message_id: UUID) -> None:
    """A relay has leased it."""
    make_due(message_id)
    assert len(relay.take_pending(10)) == 1


def confirmed(message_id: UUID) -> None:
    """The broker has it."""
    taken(message_id)
    relay.mark_sent([message_id])


TOO_LATE: list[Callable[[UUID], None]] = [taken, confirmed]


@pytest.mark.django_db
@pytest.mark.parametrize("due", [False, True])
def test_what_still_waits_is_taken_back_in_time_and_never_sent(due: bool) -> None:
    message_id = post(delay=60).envelope.message_id
    other = post(delay=60).envelope.message_id
    if due:
        make_due(message_id)
    assert outbox.take_back(message_id)
    assert not outbox.take_back(message_id), "it is gone"
    assert list(OutboxMessage.objects.values_list("id", flat=True)) == [other]
    assert deliver() == 0


@pytest.mark.django_db
@pytest.mark.parametrize("how", TOO_LATE)
def test_what_a_relay_has_taken_is_too_late_to_take_back(
    counter: Counter, how: Callable[[UUID], None]
) -> None:
    counter.on_parcel = lambda command: leave_a_trace()
    letter = post(delay=60)
    how(letter.envelope.message_id)
    assert not outbox.take_back(letter.envelope.message_id)
    outbox.forget(letter.envelope.message_id)
    hand(letter)
    assert (claim(letter).status, traces()) == ("done", 1)
    assert OutboxMessage.objects.count() == 1


@pytest.mark.django_db
def test_what_was_put_without_a_delay_is_not_taken_back() -> None:
    assert not outbox.take_back(post().envelope.message_id)
    assert not outbox.take_back(UUID(int=1))
    assert OutboxMessage.objects.count() == 1


@pytest.mark.django_db
def test_outside_a_handler_what_still_waits_is_forgotten_at_once() -> None:
    outbox.forget(post(delay=60).envelope.message_id)
    assert not OutboxMessage.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["alone", "several", "in a savepoint"])
def test_in_a_handler_what_still_waits_is_forgotten_with_what_it_answers(counter: Counter, how: str) -> None:
    waiting = [post(ParcelSent(), to=SENDER, delay=60).envelope.message_id for _ in range(2)]

    def handle(command: SendParcel) -> ParcelSent:
        if how == "in a savepoint":
            with transaction.atomic():
                outbox.forget(waiting[0])
        else:
            for message_id in waiting if how == "several" else waiting[:1]:
                outbox.forget(message_id)
            assert OutboxMessage.objects.filter(type="ParcelSent").count() == 2, "not yet"
        return ParcelSent(note="instead")

    counter.on_parcel = handle
    letter = post()
    hand(letter)
    assert claim(letter).status == "done"
    left_over = [] if how == "several" else [ParcelSent()]
    assert sent("ParcelSent") == [*left_over, ParcelSent(note="instead")]


@pytest.mark.django_db
def test_a_handler_that_raises_forgets_nothing(counter: Counter) -> None:
    waiting = post(ParcelSent(), to=SENDER, delay=60).envelope.message_id

    def handle(command: SendParcel) -> None:
        outbox.forget(waiting)
        raise RuntimeError

    counter.on_parcel = handle
    hand(post())
    assert OutboxMessage.objects.filter(pk=waiting).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("how", TOO_LATE)
def test_in_a_handler_what_is_too_late_to_forget_stays_and_disturbs_nobody(
    counter: Counter, how: Callable[[UUID], None]
) -> None:
    waiting = post(ParcelSent(), to=SENDER, delay=60).envelope.message_id
    how(waiting)
    counter.on_parcel = lambda command: outbox.forget(waiting)
    letter = post()
    hand(letter)
    assert claim(letter).status == "done"
    assert OutboxMessage.objects.filter(pk=waiting).exists()
