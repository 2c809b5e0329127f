"""`@handles`: a command in, events out."""

from typing import Any
from uuid import UUID

import dramatiq
import pytest
import structlog
from structlog.testing import capture_logs

from pizzahouse.messaging import outbox
from pizzahouse.messaging.errors import DuplicateContract, InvalidMessage, UnknownDestination
from pizzahouse.messaging.handling import After, ask, handlers, handles
from pizzahouse.messaging.handling import deliver as receive
from pizzahouse.messaging.messages import Command
from pizzahouse.messaging.models import InboxMessage
from pizzahouse.messaging.testing import deliver, hand, sent
from tests.unit.postoffice import SENDER, Counter, ParcelSent, SendParcel, claim, post, traces

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
    counter.on_parcel = lambda command: After(3600, A)
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
