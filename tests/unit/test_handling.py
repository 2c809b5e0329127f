"""`@handles`: a command in, events out."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import dramatiq
import pytest
import structlog
from django.db import DataError
from structlog.testing import capture_logs

from kitchen.models import Stock
from pizzahouse.messaging import outbox
from pizzahouse.messaging.errors import DuplicateContract, InvalidMessage, UnknownDestination
from pizzahouse.messaging.handling import After, ask, correlation, handlers, handles, perform
from pizzahouse.messaging.handling import deliver as receive
from pizzahouse.messaging.messages import Command, Message
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.testing import deliver, hand, letters, sent
from tests.unit.postoffice import (
    SENDER,
    Counter,
    ParcelSent,
    SendParcel,
    claim,
    leave_a_trace,
    post,
    traces,
)
from waiter.models import Deed

A, B = ParcelSent(note="a"), ParcelSent(note="b")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("answer", "events"),
    [
        (None, []),
        (A, [A]),
        ([A, B], [A, B]),
        ((A, B), [A, B]),
        ([], []),
        (After(0, A), [A]),
        ([After(0, A), B], [A, B]),
        ([[A], [B]], [A, B]),
    ],
    ids=repr,
)
def test_whatever_a_handler_answers_is_sent_to_who_asked(
    counter: Counter, answer: Any, events: list[ParcelSent]
) -> None:
    counter.on_parcel = lambda command: answer
    letter = post()
    hand(letter)
    assert sent("ParcelSent") == events
    assert claim(letter).status == "done"


@pytest.mark.django_db
def test_an_event_after_a_pause_is_put_now_and_sent_later(counter: Counter) -> None:
    counter.on_parcel = lambda command: After(30, A)
    post()
    assert deliver() == 1
    assert sent("ParcelSent") == [A]
    assert deliver() == 0
    assert deliver(later=True) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("answer", [1, 1j, SendParcel(), "text", [1]], ids=str)
def test_an_answer_that_is_no_event_is_a_failure_and_nothing_is_done(counter: Counter, answer: Any) -> None:
    counter.on_parcel = lambda command: answer
    letter = post()
    hand(letter)
    assert claim(letter).status in ("failed", "dead")
    assert sent("ParcelSent") == []


@pytest.mark.django_db
def test_an_answer_that_breaks_its_contract_is_dead_at_once(counter: Counter) -> None:
    counter.on_parcel = lambda command: ParcelSent(note=1)  # type: ignore[arg-type]
    letter = post()
    hand(letter)
    assert claim(letter).status == "dead"


def test_a_second_handler_of_a_contract_at_its_address_is_refused() -> None:
    with pytest.raises(DuplicateContract, match=r"two handlers of tests\.SendParcel"):
        handles(SendParcel)(lambda command: None)


def test_a_handler_is_an_actor_on_its_modules_queue() -> None:
    actors = dramatiq.get_broker().actors
    assert set(handlers()) <= set(actors)
    assert actors["kitchen.DoPizza"].queue_name == "kitchen"
    assert actors["orders.table_service.PizzaDone"].queue_name == "orders"


def test_a_handler_stays_a_plain_function(counter: Counter) -> None:
    counter.on_parcel = lambda command: A
    assert handlers()["tests.SendParcel"].function(SendParcel()) == A


@pytest.mark.django_db
def test_a_question_without_one_answer_is_refused(counter: Counter) -> None:
    for answer in (None, [A], After(0, A)):
        counter.on_parcel = lambda command, answer=answer: answer  # type: ignore[misc]
        with pytest.raises(InvalidMessage, match="does not answer with one event"):
            ask(SendParcel())


@pytest.mark.django_db
def test_a_question_that_breaks_its_contract_is_refused(counter: Counter) -> None:
    counter.on_parcel = lambda command: A
    with pytest.raises(InvalidMessage, match="weight"):
        ask(SendParcel(weight=0))


def test_a_question_that_nobody_answers_says_so() -> None:
    lonely = type("Lonely", (Command,), {"__module__": "nowhere.contracts"})
    try:
        with pytest.raises(UnknownDestination, match="Lonely"):
            ask(lonely())
    finally:
        from pizzahouse.messaging import messages

        del messages._contracts["Lonely"]  # the system checks must not find it in other tests


UNREADABLE: list[dict[str, Any]] = [
    {},
    {"envelope": {}, "payload": {}},
    {"envelope": "x", "payload": {}},
    {"pizza": "margherita"},
]


@pytest.mark.django_db
@pytest.mark.parametrize("arguments", UNREADABLE, ids=repr)
def test_an_unreadable_envelope_is_kept_dead_and_once(arguments: dict[str, Any]) -> None:
    for _ in range(3):
        receive(handlers()["tests.SendParcel"], **arguments)
    kept = InboxMessage.objects.get()
    assert kept.status == "dead"
    assert kept.handler == "tests.SendParcel"
    assert kept.message == {"args": [], "kwargs": arguments}
    assert "its envelope is unreadable" in kept.error


@pytest.mark.django_db
def test_two_unreadable_messages_are_two_rows() -> None:
    for arguments in UNREADABLE:
        receive(handlers()["tests.SendParcel"], **arguments)
    assert InboxMessage.objects.count() == len(UNREADABLE)


@pytest.mark.django_db
def test_the_arguments_of_a_foreign_message_are_kept_as_well() -> None:
    receive(handlers()["tests.SendParcel"], 1, "two", three=3)
    assert InboxMessage.objects.get().message == {"args": [1, "two"], "kwargs": {"three": 3}}


@pytest.mark.django_db
def test_a_foreign_message_may_have_an_argument_of_any_name() -> None:
    actor = dramatiq.get_broker().get_actor("tests.SendParcel")
    actor(handler=1, envelope=3)
    assert InboxMessage.objects.get().status == "dead"


@pytest.mark.django_db
def test_positional_arguments_beside_a_good_envelope_do_not_disturb(counter: Counter) -> None:
    counter.on_parcel = lambda command: A
    envelope = {"message_id": str(UUID(int=1)), "type": "SendParcel", "destination": "tests"}
    receive(
        handlers()["tests.SendParcel"],
        "what is this?",
        envelope=envelope | {"reply_to": "tests.sender"},
        payload={},
    )
    assert sent("ParcelSent") == [A]


@pytest.mark.django_db
def test_every_line_a_handler_logs_carries_saga_and_message(counter: Counter) -> None:
    saga = UUID(int=5)
    log = structlog.get_logger("tests")
    counter.on_parcel = lambda command: log.warning("from the handler")
    letter = post(saga=saga)
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        hand(letter)
        log.warning("afterwards")
    inside = next(line for line in lines if line["event"] == "from the handler")
    assert (inside["saga"], inside["message"]) == (str(saga), str(letter.envelope.message_id))
    assert "saga" not in next(line for line in lines if line["event"] == "afterwards")


@pytest.mark.django_db
def test_messages_that_go_round_in_circles_are_noticed(counter: Counter) -> None:
    def ask_again(event: ParcelSent) -> None:
        outbox.put(SendParcel(), reply_to=SENDER)

    counter.on_parcel = lambda command: A
    counter.on_word = ask_again
    post()
    with pytest.raises(AssertionError, match="still not quiet after 10 messages"):
        deliver(limit=10)


@pytest.mark.django_db
def test_everything_delivered_twice_is_handled_once(counter: Counter) -> None:
    counter.on_parcel = lambda command: [A, B]
    post()
    assert deliver(twice=True) == 3
    assert sorted(InboxMessage.objects.values_list("repeats", flat=True)) == [1, 1, 1]
    assert sent("ParcelSent") == [A, B]
    assert traces() == 0


# --- What the database refuses --------------------------------------------------------------------


class ReserveParcel(Command, frozen=True):
    """Take a parcel, if there is one left; and another time if that is refused too."""

    note: str = ""


class ClaimParcel(Command, frozen=True):
    """The same, by a handler that does not say what is to be done where it is refused."""


def none_left(command: ReserveParcel) -> list[ParcelSent]:
    if command.note == "refused twice":
        outbox.add(Stock, {"code": "parcel"}, left=-1)
    leave_a_trace(f"{Deed.objects.count()} seen")
    return [ParcelSent(note="none left"), ParcelSent(note=str(correlation()))]


@handles(ReserveParcel, refused=none_left)
def reserve(command: ReserveParcel) -> ParcelSent:
    leave_a_trace("reserved")
    outbox.put(ParcelSent(note="put"))
    outbox.add(Stock, {"code": "parcel"}, left=-1)
    return ParcelSent(note="answered")


@handles(ClaimParcel)
def claim_parcel(command: ClaimParcel) -> ParcelSent:
    leave_a_trace("claimed")
    outbox.add(Stock, {"code": "parcel"}, left=-1)
    return ParcelSent(note="answered")


def notes() -> list[str]:
    return [message.note for message in sent("ParcelSent") if isinstance(message, ParcelSent)]


def stock(left: int) -> None:
    Stock.objects.create(code="parcel", left=left)


@pytest.mark.django_db
def test_what_the_database_takes_is_not_refused() -> None:
    stock(1)
    letter = post(ReserveParcel())
    hand(letter)
    assert notes() == ["put", "answered"]
    assert (claim(letter).status, traces()) == ("done", 1)
    assert Stock.objects.get(code="parcel").left == 0


@pytest.mark.django_db
@pytest.mark.parametrize("times", [1, 3])
def test_what_the_database_refuses_is_undone_and_answered_by_another_function(times: int) -> None:
    stock(0)
    letter = post(ReserveParcel(), saga=UUID(int=5))
    for _ in range(times):
        hand(letter)
    kept = claim(letter)
    assert notes() == ["none left", str(UUID(int=5))]
    assert list(Deed.objects.values_list("table", flat=True)) == ["0 seen"], "a transaction of its own"
    assert (kept.status, kept.attempts, kept.failures, kept.repeats) == ("done", 1, None, times - 1)
    assert Stock.objects.get(code="parcel").left == 0


@pytest.mark.django_db
def test_an_answer_to_what_was_refused_knows_its_cause() -> None:
    stock(0)
    letter = post(ReserveParcel(), saga=UUID(int=5))
    hand(letter)
    causes = {(each.envelope.causation, each.envelope.saga) for each in letters("ParcelSent")}
    assert causes == {(letter.envelope.message_id, UUID(int=5))}


@pytest.mark.django_db
def test_what_is_refused_twice_is_a_failure_and_nothing_is_done() -> None:
    stock(0)
    letter = post(ReserveParcel(note="refused twice"))
    hand(letter)
    assert (claim(letter).status, claim(letter).attempts) == ("failed", 1)
    assert claim(letter).error.startswith("IntegrityError")
    assert (notes(), traces()) == ([], 0)


@pytest.mark.django_db
def test_without_such_a_function_what_the_database_refuses_fails_until_it_takes_it() -> None:
    stock(0)
    letter = post(ClaimParcel())
    hand(letter)
    assert claim(letter).status == "failed"
    assert claim(letter).error.startswith("IntegrityError")
    assert (notes(), traces()) == ([], 0)
    Stock.objects.filter(code="parcel").update(left=1)
    hand(letter)
    assert (claim(letter).status, claim(letter).attempts) == ("done", 2)
    assert (notes(), traces()) == (["answered"], 1)


@pytest.mark.django_db
def test_another_error_is_not_taken_for_a_refusal(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: ReserveParcel) -> None:
        raise DataError("too long")

    handler = handlers()["tests.ReserveParcel"]
    monkeypatch.setitem(handlers(), handler.name, replace(handler, function=fail))
    letter = post(ReserveParcel())
    hand(letter)
    assert (claim(letter).status, notes(), traces()) == ("failed", [], 0)


# --- Here and now ---------------------------------------------------------------------------------


@pytest.mark.django_db
def test_what_is_performed_is_handled_at_once_and_needs_no_relay(counter: Counter) -> None:
    def handle(command: SendParcel) -> None:
        leave_a_trace(command.note)

    counter.on_parcel = handle
    row = perform(SendParcel(note="here"), saga=UUID(int=5))
    assert (row.status, row.handler, row.saga_id) == ("done", "tests.SendParcel", UUID(int=5))
    kept = OutboxMessage.objects.get(pk=row.message_id)
    assert kept.sent_at is not None
    assert (kept.available_at, kept.sends) == (None, 1)
    assert deliver() == deliver(later=True) == 0
    assert list(Deed.objects.values_list("table", flat=True)) == ["here"]


@pytest.mark.django_db
def test_an_event_can_be_performed_at_an_address(counter: Counter) -> None:
    seen: list[str] = []
    counter.on_word = lambda event: seen.append(event.note)
    assert perform(A, to=SENDER).handler == "tests.sender.ParcelSent"
    assert seen == ["a"]


@pytest.mark.django_db
def test_what_is_performed_in_vain_has_failed_and_is_tried_again(counter: Counter) -> None:
    counter.on_parcel = lambda command: 1 / 0
    row = perform(SendParcel())
    assert (row.status, row.attempts, row.error) == ("failed", 1, "ZeroDivisionError: division by zero")
    counter.on_parcel = lambda command: leave_a_trace()
    assert deliver(later=True) == 1
    row.refresh_from_db()
    assert (row.status, row.attempts, traces()) == ("done", 2, 1)


@pytest.mark.django_db
def test_what_is_performed_and_delivered_besides_is_handled_once(counter: Counter) -> None:
    counter.on_parcel = lambda command: leave_a_trace()
    row = perform(SendParcel())
    hand(letters("SendParcel")[0])
    row.refresh_from_db()
    assert (row.status, row.repeats, traces()) == ("done", 1, 1)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("message", "options", "error"),
    [
        (SendParcel(weight=0), {}, InvalidMessage),
        (SendParcel(), {"to": "nowhere"}, UnknownDestination),
        (A, {}, UnknownDestination),
    ],
    ids=["invalid", "nowhere", "to nobody"],
)
def test_what_cannot_be_put_cannot_be_performed(
    message: Message, options: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        perform(message, **options)  # type: ignore[arg-type]
    assert sent() == []
