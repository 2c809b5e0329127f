"""The sentence that answers why a process waits."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pytest_django import DjangoAssertNumQueries, Settings

from orders.contracts import Decide
from orders.office.why import Why, why
from orders.saga import OVERDUE, STOPPED, Saga
from orders.simple_serving import SimpleServing
from orders.steps import NEW, table_of
from orders.table_service import (
    BAKING,
    BILLING,
    CALLED_OFF,
    CLOSED,
    NEEDS_MANAGER,
    ORDERING,
    SERVING,
    SHOWING_MENU,
    TableService,
)
from pizzahouse.messaging import outstanding
from pizzahouse.messaging.outstanding import Outstanding
from pizzahouse.messaging.queues import Queue

NOW = datetime(2026, 5, 4, 12, 35, tzinfo=UTC)
OVEN = "OSError: the oven is cold"
DEAD, FAILED, PENDING = outstanding.Why.DEAD, outstanding.Why.FAILED, outstanding.Why.PENDING
SENT, SCHEDULED = outstanding.Why.SENT, outstanding.Why.SCHEDULED
BUSY = Queue("kitchen", messages=12, consumers=2)
DESERTED = Queue("kitchen", messages=12, consumers=0)
FETCHED = Queue("kitchen", messages=0, consumers=1)


def ago(**time: float) -> datetime:
    return NOW - timedelta(**time)


def later(**time: float) -> datetime:
    return NOW + timedelta(**time)


def a_table(state: str = BAKING, **known: Any) -> TableService:
    """A process that came into this state four minutes ago, and has half an hour left."""
    times = {"started_at": ago(minutes=5), "updated_at": ago(minutes=4), "deadline_at": later(minutes=30)}
    return TableService(table="TBL1", state=state, **times | known)


def message(
    place: outstanding.Why = SENT, name: str = "DoPizza", to: str = "kitchen", **known: Any
) -> Outstanding:
    return Outstanding(UUID(int=1), name, to, place, **{"since": ago(minutes=4)} | known)


def dead(name: str = "DoPizza", **known: Any) -> Outstanding:
    return message(DEAD, name, **{"attempts": 5, "error": OVEN} | known)


def asked(saga: Saga, *waiting: Outstanding, kitchen: Queue | None = BUSY) -> Why:
    """kitchen: its queue; None where the broker does not answer."""
    return why(saga, waiting, {"kitchen": kitchen, "orders": Queue("orders", 0, 3)} if kitchen else None, NOW)


# --- It has ended, or needs somebody --------------------------------------------------------------


def test_of_what_is_completed_it_tells_when_and_after_how_long() -> None:
    answer = asked(a_table(CLOSED, finished_at=ago(minutes=1)))
    assert answer == Why("It was completed at 12:34:00, after 4 minutes.", "", "good")


def test_of_what_ended_otherwise_it_tells_the_outcome_and_the_reason() -> None:
    answer = asked(a_table(CALLED_OFF, finished_at=ago(days=2), started_at=ago(days=2), off_because="rain"))
    assert answer == Why("It ended called off at 2026-05-02 12:35:00, after 0 seconds: rain.", "", "calm")


def test_what_is_dead_after_the_end_is_not_hidden_by_it() -> None:
    answer = asked(a_table(CLOSED, finished_at=NOW), dead(), dead())
    assert (
        answer.text
        == f"It was completed at 12:35:00, after 5 minutes. 2 x DoPizza are dead all the same: {OVEN}."
    )
    assert (answer.advice, answer.tone) == ("Mend the cause and retry, or discard what is dead.", "warn")


def test_what_needs_the_manager_tells_where_it_stopped_since_when_and_why() -> None:
    saga = a_table(NEEDS_MANAGER, standing=STOPPED, stopped_in=BILLING, declined=3, deadline_at=None)
    assert asked(saga) == Why(
        "It needs the manager: it stopped in billing at 12:31:00 (4 minutes ago): "
        "the payment was declined 3 times.",
        "Decide: try again, or write off.",
        "warn",
    )


def test_a_manager_is_told_what_is_dead_too() -> None:
    saga = a_table(NEEDS_MANAGER, stopped_in=SERVING, deadline_at=None)
    answer = asked(saga, dead("ServePizzas", to="waiter"))
    assert answer.text.startswith("It needs the manager: it stopped in serving at 12:31:00 (4 minutes ago). ")
    assert f"ServePizzas is dead after 5 attempts: {OVEN}." in answer.text
    assert answer.advice == "Mend the cause, then decide: try again, or write off."
    assert answer.tone == "bad"


def test_a_scenario_whose_manager_decides_nothing_gets_no_advice_to_decide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = {key: step for key, step in table_of(SimpleServing).items() if key[0] is not Decide}
    monkeypatch.setattr(SimpleServing, "steps", lambda _saga: steps)
    saga = SimpleServing(state=NEEDS_MANAGER, stopped_in=BILLING, updated_at=ago(minutes=4))
    assert asked(saga).advice == "Tell the process how to go on."


# --- A message is dead, or fails ------------------------------------------------------------------


def test_a_dead_message_is_named_with_its_error_and_its_attempts() -> None:
    assert asked(a_table(), dead(error=f"{OVEN}\nand more")) == Why(
        f"DoPizza is dead after 5 attempts: {OVEN}. It has waited for somebody for 4 minutes.",
        "Mend the cause, then retry.",
        "bad",
    )


def test_what_died_just_now_has_not_waited_yet() -> None:
    assert asked(a_table(), dead(since=ago(seconds=1))).text == f"DoPizza is dead after 5 attempts: {OVEN}."


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("InvalidMessage: The message is not what its contract says.", "Edit the message"),
        ("UnknownMessage: No contract of this name is installed here.", "Deploy the code"),
        ("WorkerDied: The worker ended before the message did.", "Look at the worker's last log lines"),
    ],
)
def test_what_helps_depends_on_the_error(error: str, advice: str) -> None:
    answer = asked(a_table(), dead(error=error))
    assert answer.advice.startswith(advice)
    assert ".." not in answer.text


def test_messages_of_a_kind_are_counted() -> None:
    assert asked(a_table(), dead(), dead(), dead()).text == (
        f"3 x DoPizza are dead after 5 attempts: {OVEN}. They have waited for somebody for 4 minutes."
    )


def test_the_oldest_kind_is_named_and_the_others_are_counted() -> None:
    newer = [dead("ServePizzas", since=ago(minutes=1)), dead(error="another", since=ago(minutes=2))]
    assert asked(a_table(), *newer, dead()).text.startswith(
        "DoPizza and 2 more are dead after 5 attempts: OSErr"
    )


def test_a_long_error_is_shortened() -> None:
    assert len(asked(a_table(), dead(error=OVEN * 100)).text) < 300


def test_of_a_failing_message_it_tells_the_attempt_the_error_and_when_the_next_one_is() -> None:
    answer = asked(a_table(), message(FAILED, attempts=2, error=OVEN, until=later(seconds=3)))
    assert answer.text == f"DoPizza failed at attempt 2: {OVEN}. It is tried again at 12:35:03 at the latest."
    assert answer.advice
    assert answer.tone == "warn"


def test_a_next_attempt_that_is_long_due_says_that_nobody_makes_it() -> None:
    answer = asked(a_table(), message(FAILED, attempts=2, error=OVEN, until=ago(minutes=2)))
    assert answer.text.endswith("The next attempt was due 2 minutes ago: no relay has sent it.")
    assert "manage.py rundramatiq" in answer.advice
    assert answer.tone == "bad"


def test_a_message_that_a_worker_is_at_has_not_failed() -> None:
    begun = {"attempts": 0, "until": later(seconds=50)}
    answer = asked(a_table(), message(FAILED, since=ago(seconds=10), **begun))
    assert answer == Why(
        "A worker began with DoPizza 10 seconds ago and has not come to an end."
        " Should it have died, the next attempt is at 12:35:50.",
        "",
        "calm",
    )
    assert asked(a_table(), message(FAILED, **begun)).tone == "warn"


# --- A message is not sent, or not handled --------------------------------------------------------


def test_what_was_just_put_is_no_trouble() -> None:
    answer = asked(a_table(), message(PENDING, since=ago(seconds=1)))
    assert answer == Why("DoPizza was put 1 second ago, and is sent next.", "", "calm")


def test_what_happened_this_second_happened_just_now() -> None:
    answer = asked(a_table(), message(PENDING, since=NOW), message(PENDING, since=NOW))
    assert answer.text == "2 x DoPizza were put just now, and are sent next."


def test_what_is_not_sent_for_long_tells_for_how_long_the_outbox_holds_it() -> None:
    answer = asked(a_table(), message(PENDING), message(PENDING))
    assert answer.text == (
        "2 x DoPizza have been in the outbox for 4 minutes:"
        " no relay has sent them, or the broker does not confirm them."
    )
    assert "manage.py rundramatiq" in answer.advice
    assert answer.tone == "bad"


def test_a_broker_that_does_not_answer_is_named_at_once() -> None:
    answer = asked(a_table(), message(PENDING, since=ago(seconds=5)), kitchen=None)
    assert answer.text == "DoPizza has been in the outbox for 5 seconds: the broker does not answer."
    assert "RabbitMQ" in answer.advice
    assert answer.tone == "bad"


def test_a_queue_that_nobody_consumes_is_named_with_its_depth() -> None:
    answer = asked(a_table(), message(), kitchen=DESERTED)
    assert answer == Why(
        "DoPizza was sent 4 minutes ago; the kitchen queue holds 12 messages and nobody consumes it.",
        "Start a worker for it: manage.py rundramatiq --queues kitchen",
        "bad",
    )


def test_the_worker_to_start_consumes_the_queue_by_its_whole_name(settings: Settings) -> None:
    settings.MESSAGING = settings.MESSAGING | {"QUEUE_PREFIX": "house1."}
    assert asked(a_table(), message(), kitchen=DESERTED).advice.endswith("--queues house1.kitchen")


def test_a_long_queue_is_told_with_its_consumers() -> None:
    answer = asked(a_table(), message(), message(), message())
    assert answer.text == (
        "3 x DoPizza were sent 4 minutes ago; the kitchen queue holds 12 messages and 2 consumers are at it."
    )
    assert answer.tone == "warn"
    assert asked(a_table(), message(since=ago(seconds=2))).tone == "calm"


def test_what_is_in_no_queue_any_more_is_with_a_worker_or_lost_and_is_sent_again(settings: Settings) -> None:
    settings.MESSAGING = settings.MESSAGING | {"RESEND_SECONDS": 300.0}
    answer = asked(a_table(), message(), kitchen=FETCHED)
    assert answer.text == (
        "DoPizza was sent 4 minutes ago; the kitchen queue is empty: a worker has fetched it, or it was lost."
        " It is sent again by itself, not before 12:36:00."
    )
    assert answer.tone == "warn"
    later_on = asked(a_table(), message(since=ago(minutes=6)), kitchen=FETCHED)
    assert later_on.text.endswith("It is sent again by itself, after ever longer pauses.")


def test_where_the_broker_does_not_answer_nobody_knows_the_queue() -> None:
    answer = asked(a_table(), message(), kitchen=None)
    assert "the broker does not answer, so nobody knows how long the kitchen queue is." in answer.text
    assert answer.tone == "bad"


def test_a_queue_that_nobody_knows_is_one_that_nobody_consumes() -> None:
    answer = asked(a_table(), message(to="bar.counter"))
    assert answer.text.endswith("the bar queue is empty and nobody consumes it.")


def test_an_answer_on_its_way_back_is_looked_for_in_the_queue_of_the_orders() -> None:
    answer = asked(a_table(), message(name="PizzaDone", to="orders.table_service"))
    assert "the orders queue is empty" in answer.text


# --- It waits for its time, or for a guest --------------------------------------------------------


def test_a_pause_is_told_with_its_end() -> None:
    pizza = message(SCHEDULED, "PizzaDone", "orders.table_service", until=later(seconds=65))
    assert asked(a_table(), pizza) == Why("It is baking until 12:36:05: PizzaDone is due then.", "", "calm")


def test_of_several_pauses_the_last_one_counts() -> None:
    pizzas = [message(SCHEDULED, "PizzaDone", until=later(seconds=seconds)) for seconds in (5, 60, 30)]
    assert asked(a_table(), *pizzas).text == "It is baking until 12:36:00: 3 x PizzaDone are due until then."


def test_guests_who_were_asked_are_waited_for() -> None:
    saga = a_table(ORDERING, updated_at=ago(minutes=3))
    assert asked(saga) == Why(
        "The guests were asked for their order 3 minutes ago, and have not answered yet."
        " At 13:05:00 it asks again.",
        "",
        "calm",
    )
    assert asked(a_table(BILLING)).text.startswith("The guests were asked to pay 4 minutes ago")


def test_a_guest_who_takes_their_time_is_told_with_its_end() -> None:
    answer = asked(a_table(ORDERING), message(SCHEDULED, "OrderPlaced", until=later(seconds=1)))
    assert (
        answer.text == "The guests were asked for their order 4 minutes ago; OrderPlaced is due at 12:35:01."
    )


def test_a_question_that_was_not_even_asked_is_not_waited_for() -> None:
    answer = asked(a_table(ORDERING), message(name="PlaceOrder", to="waiter"))
    assert (
        answer.text == "PlaceOrder was sent 4 minutes ago; the waiter queue is empty and nobody consumes it."
    )


# --- It waits for nothing -------------------------------------------------------------------------


def test_where_nothing_is_on_its_way_it_says_how_that_can_be_and_what_helps() -> None:
    answer = asked(a_table())
    assert answer == Why(
        "Every message of it was handled, and none is on its way: an answer is still to come from outside,"
        " or was never put. At 13:05:00 it asks again.",
        "A retry finds nothing to send. Look what came last in the timeline, or cancel it.",
        "warn",
    )
    assert "cancel" not in asked(a_table(SERVING)).advice
    assert asked(a_table(deadline_at=None)).tone == "bad"


# --- Its deadline ---------------------------------------------------------------------------------


def test_what_is_overdue_tells_when_it_asked_and_what_comes_next() -> None:
    saga = a_table(standing=OVERDUE, updated_at=ago(minutes=2))
    answer = asked(saga, message())
    assert answer.text.endswith(
        " It is overdue: it asked again 2 minutes ago, and goes on to recalling or apologizing at 13:05:00."
    )
    assert answer.tone == "warn"


def test_what_keeps_asking_does_so_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TableService, "steps", dict)
    saga = a_table(standing=OVERDUE, updated_at=ago(minutes=2))
    assert asked(saga, message()).text.endswith(
        "it asked again 2 minutes ago, and asks once more at 13:05:00."
    )


def test_a_guest_who_is_overdue_is_more_than_calm() -> None:
    assert asked(a_table(ORDERING, standing=OVERDUE)).tone == "warn"


def test_a_deadline_that_passed_and_that_nobody_has_handled_is_told() -> None:
    answer = asked(a_table(ORDERING, deadline_at=ago(minutes=3)))
    assert answer.text.endswith("Its deadline passed 3 minutes ago, and nobody has handled that.")
    assert answer.tone == "warn"


# --- Of everything the most important -------------------------------------------------------------


def test_what_is_dead_goes_before_what_fails_and_that_before_what_was_not_sent() -> None:
    failing = message(FAILED, "ShowMenu", attempts=1, error=OVEN, until=later(seconds=1))
    everything = [message(), message(SCHEDULED, until=NOW), message(PENDING, "GetMenu"), failing, dead()]
    starts = []
    while everything:
        starts.append(asked(a_table(), *everything).text.split()[0:3])
        everything.pop()
    assert [" ".join(words) for words in starts] == [
        "DoPizza is dead",
        "ShowMenu failed at",
        "GetMenu has been",
        "DoPizza was sent",
        "DoPizza was sent",
    ]


def test_trouble_is_not_hidden_by_what_is_just_on_its_way() -> None:
    answer = asked(a_table(), message(PENDING, "CancelPizza", since=NOW), message(), kitchen=DESERTED)
    assert answer.text.startswith("DoPizza was sent 4 minutes ago")


def test_what_has_not_begun_says_so() -> None:
    start = message(name="StartTableService", to="orders.table_service", since=ago(seconds=2))
    answer = asked(a_table(NEW, deadline_at=None), start)
    assert answer.text.startswith("StartTableService was sent 2 seconds ago; the orders queue is empty")
    assert answer.text.endswith(" It has not begun yet.")


def test_the_answer_asks_nothing_of_the_database(
    django_assert_num_queries: DjangoAssertNumQueries, db: None
) -> None:
    with django_assert_num_queries(0):
        asked(a_table(SHOWING_MENU), message(), dead())
        asked(a_table(NEEDS_MANAGER, stopped_in=BILLING, declined=1))
        asked(a_table(CALLED_OFF, off_because="the guests left"))
