"""Failures that are not a handler's: a message that kills its worker, and one that collides with others."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from sqlite3 import connect
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from pytest_django import Settings

from kitchen.contracts import PizzaDone
from orders.table_service import TableService
from pizzahouse.messaging import handling, outstanding, relay
from pizzahouse.messaging.envelope import Envelope, Letter
from pizzahouse.messaging.handling import handles
from pizzahouse.messaging.messages import Command
from pizzahouse.messaging.models import InboxMessage
from pizzahouse.messaging.testing import hand, sent
from tests.threads import meanwhile, wait_for_waiters
from tests.unit.postoffice import (
    Counter,
    ParcelSent,
    SendParcel,
    claim,
    committed,
    leave_a_trace,
    post,
    redeliver,
    traces,
)
from tests.unit.test_table_service import baking
from waiter.models import Deed

SAGA = UUID(int=5)
FIRST_ATTEMPTS = 4  # one that nobody suspects, and three that are watched
on_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite has one writer at a time, and no such error"
)


class Killed(BaseException):
    """Stands for the end of a worker: nothing that follows is run, and no outcome is recorded."""


def make_due() -> None:
    """The pauses of all that failed are over."""
    past = Now() - timedelta(seconds=1)
    InboxMessage.objects.filter(status="failed").update(next_attempt_at=past)


def work_through(letter: Letter) -> int:
    """Deliver until the broker has it acknowledged, and what the relay sends again after that. Returns how
    many workers that cost."""
    killed, queue, again = 0, [letter], False
    while queue:
        try:
            (redeliver if again else hand)(queue[0])
        except Killed:
            killed, again = killed + 1, True
            assert killed < 20, "it is delivered for ever"
            continue
        make_due()
        queue, again = relay.take_failed(10), False
    return killed


class Door:
    """A handler that waits where a test lets it in only when it likes, and then does as it is told."""

    def __init__(self, *then: Callable[[SendParcel], Any]) -> None:
        self.then = list(then)
        self.entered, self.open = threading.Event(), threading.Event()
        self.calls = 0

    def __call__(self, command: SendParcel) -> Any:
        self.calls += 1
        self.entered.set()
        assert self.open.wait(20)
        return self.then.pop(0)(command) if self.then else leave_a_trace()


def kill(command: SendParcel) -> None:
    raise Killed


def fail(command: SendParcel) -> None:
    raise OSError("the oven is cold")


# --- A message that kills its worker --------------------------------------------------------------


@committed
def test_a_message_that_always_kills_its_worker_is_dead_after_a_few_attempts(counter: Counter) -> None:
    counter.on_parcel = kill
    letter = post(SendParcel(note="poison"), saga=SAGA)
    assert work_through(letter) == FIRST_ATTEMPTS
    kept = claim(letter)
    assert (kept.status, kept.attempts, kept.started_at, kept.next_attempt_at) == ("dead", 3, None, None)
    assert kept.error.startswith("WorkerDied: The worker that handled this message ended")
    assert [each["error"][:10] for each in kept.failures or ()] == ["WorkerDied"] * 3
    assert kept.message["payload"]["note"] == "poison"
    assert [each.why for each in outstanding.of(SAGA)] == ["dead"]


@committed
def test_a_few_attempts_are_never_more_than_any_message_gets(counter: Counter, settings: Settings) -> None:
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 1}
    counter.on_parcel = kill
    letter = post()
    assert work_through(letter) == 2
    assert claim(letter).status == "dead"


@committed
def test_a_dead_message_that_is_delivered_again_kills_nobody(counter: Counter) -> None:
    counter.on_parcel = kill
    letter = post()
    work_through(letter)
    redeliver(letter)
    assert (claim(letter).status, claim(letter).repeats) == ("dead", 1)


@committed
def test_a_message_that_killed_its_workers_is_handled_once_the_cause_is_mended(counter: Counter) -> None:
    counter.on_parcel = kill
    letter = post()
    work_through(letter)
    counter.on_parcel = lambda command: leave_a_trace()
    outstanding.resend([letter.envelope.message_id])
    (again,) = relay.take_failed(10)
    hand(again)
    assert (claim(letter).status, claim(letter).attempts, traces()) == ("done", 4, 1)


@committed
def test_a_message_that_kills_one_worker_only_is_handled(counter: Counter) -> None:
    """The kernel was out of memory, or somebody pulled the plug: it was none of the message's fault."""
    door = Door(kill)
    door.open.set()
    counter.on_parcel = door
    letter = post()
    assert work_through(letter) == 1
    kept = claim(letter)
    assert (kept.status, kept.attempts, kept.failures, kept.started_at) == ("done", 1, None, None)
    assert traces() == 1


@committed
def test_what_another_message_took_with_it_is_handled_after_a_pause_of_its_own(counter: Counter) -> None:
    counter.on_parcel = kill
    letter = post()
    with suppress(Killed):  # it was on another thread of that worker, twice
        hand(letter)
    with suppress(Killed):
        redeliver(letter)
    counter.on_parcel = lambda command: leave_a_trace()
    redeliver(letter)
    kept = claim(letter)
    assert (kept.status, kept.attempts, kept.started_at) == ("failed", 1, None)
    assert kept.next_attempt_at is not None
    assert traces() == 0, "not now: what killed the worker may be delivered beside it again"
    make_due()
    (again,) = relay.take_failed(10)
    hand(again)
    assert (claim(letter).status, claim(letter).attempts, traces()) == ("done", 2, 1)


@committed
def test_what_was_only_prefetched_when_the_worker_died_is_handled_at_once(counter: Counter) -> None:
    counter.on_parcel = lambda command: leave_a_trace()
    letter = post()
    redeliver(letter)
    kept = claim(letter)
    assert (kept.status, kept.attempts, kept.repeats, kept.failures) == ("done", 1, 0, None)
    assert (kept.started_at, kept.next_attempt_at) == (None, None)
    assert traces() == 1


@committed
def test_deaths_and_other_failures_are_told_apart(counter: Counter) -> None:
    counter.on_parcel = Door(kill, kill, fail, kill)
    counter.on_parcel.open.set()
    letter = post()
    assert work_through(letter) == 3
    kept = claim(letter)
    assert [each["error"].partition(":")[0] for each in kept.failures or ()] == [
        *("WorkerDied", "OSError", "WorkerDied"),
    ]
    assert (kept.status, kept.attempts) == ("done", 4)


@committed
def test_a_message_that_its_worker_and_the_broker_lost_comes_back(counter: Counter) -> None:
    counter.on_parcel = kill
    letter = post()
    with suppress(Killed):
        redeliver(letter)
    assert relay.take_failed(10) == [], "its worker may still be at it"
    make_due()
    counter.on_parcel = lambda command: leave_a_trace()
    for _ in range(2):
        (again,) = relay.take_failed(10)
        hand(again)
        make_due()
    assert (claim(letter).status, traces()) == ("done", 1)


def noted(letter: Letter) -> bool:
    """Whether it is on record that a worker has begun with it."""
    seen = InboxMessage.objects.filter(message_id=letter.envelope.message_id).first()
    return seen is not None and seen.started_at is not None


def since(envelope: Envelope, **age: float) -> Envelope:
    then = datetime.now(UTC) - timedelta(**age)
    return msgspec.structs.replace(envelope, created_at=then)


DELIVERIES: dict[str, tuple[Callable[[Envelope], Envelope], bool]] = {
    "fresh": (lambda envelope: envelope, False),
    "a minute old": (lambda envelope: since(envelope, minutes=1), False),
    "sent before": (lambda envelope: msgspec.structs.replace(envelope, sends=1), True),
    "two hours old": (lambda envelope: since(envelope, hours=2), True),
    "due a minute ago": (
        lambda envelope: msgspec.structs.replace(since(envelope, days=9), due_at=datetime.now(UTC)),
        False,
    ),
}


@committed
@pytest.mark.parametrize(("change", "suspected"), DELIVERIES.values(), ids=DELIVERIES)
def test_only_what_may_not_be_the_first_delivery_is_noted_before_it_is_handled(
    counter: Counter, change: Callable[[Envelope], Envelope], suspected: bool
) -> None:
    letter = post()
    delivered = msgspec.structs.replace(letter, envelope=change(letter.envelope))
    seen: list[bool] = []
    counter.on_parcel = lambda command: seen.append(noted(letter))
    hand(delivered)
    assert seen == [suspected]
    assert claim(letter).status == "done"


@committed
def test_a_poison_message_does_not_kill_every_later_start_of_an_embedded_house(counter: Counter) -> None:
    def handle(command: SendParcel) -> None:
        if command.note == "poison":
            raise Killed
        leave_a_trace()

    counter.on_parcel = handle
    poison = post(SendParcel(note="poison"))
    outcomes = [start_an_embedded_house() for _ in range(8)]
    assert sum(outcome == "killed" for outcome in outcomes) <= FIRST_ATTEMPTS
    assert outcomes[-1] == "quiet"
    assert claim(poison).status == "dead"
    assert traces() == len(outcomes), "each start had something else to do, and did it in the end"


def start_an_embedded_house() -> str:
    """A command of a process whose broker is empty, with a parcel of its own."""
    post()
    outstanding.recover()
    make_due()
    for letter in [*relay.take_pending(100), *relay.take_failed(100)]:
        try:
            hand(letter)
        except Killed:
            return "killed"
    return "quiet"


# --- Handled here and delivered there -------------------------------------------------------------


@committed
def test_a_message_that_is_being_handled_elsewhere_is_waited_for_and_is_no_failure(counter: Counter) -> None:
    counter.on_parcel = door = Door()
    letter = post()
    with meanwhile(lambda: redeliver(letter)):
        assert door.entered.wait(10)
        with meanwhile(lambda: redeliver(letter), lambda: redeliver(letter)):
            wait_for_waiters(2)
            door.open.set()
    kept = claim(letter)
    assert (kept.status, kept.attempts, kept.repeats, kept.failures) == ("done", 1, 2, None)
    assert (kept.started_at, door.calls, traces()) == (None, 1, 1)


@committed
def test_a_message_that_fails_while_another_delivery_waits_has_failed_once(counter: Counter) -> None:
    counter.on_parcel = door = Door(fail)
    letter = post()
    with meanwhile(lambda: redeliver(letter)):
        assert door.entered.wait(10)
        with meanwhile(lambda: redeliver(letter)):
            wait_for_waiters()
            door.open.set()
    kept = claim(letter)
    assert [each["error"] for each in kept.failures or ()] == ["OSError: the oven is cold"]
    assert (kept.status, kept.attempts, traces()) == ("done", 2, 1)


class WeighParcel(Command, frozen=True):
    """Weigh a parcel; the scales refuse it."""


scales = Door()


def too_heavy(command: WeighParcel) -> None:
    leave_a_trace()


@handles(WeighParcel, refused=too_heavy)
def weigh(command: WeighParcel) -> None:
    scales(SendParcel())
    raise IntegrityError


@committed
def test_a_message_that_is_refused_while_another_delivery_waits_is_no_failure() -> None:
    scales.__init__(lambda command: None)  # type: ignore[misc]
    letter = post(WeighParcel())
    with meanwhile(lambda: redeliver(letter)):
        assert scales.entered.wait(10)
        with meanwhile(lambda: redeliver(letter)):
            wait_for_waiters()
            scales.open.set()
    kept = claim(letter)
    assert (kept.status, kept.attempts, kept.repeats, kept.failures) == ("done", 1, 1, None)
    assert traces() == 1


# --- Contention -----------------------------------------------------------------------------------


def collide(sqlstate: str) -> None:
    """What the database says to a transaction that met another one."""
    with connection.cursor() as cursor:
        cursor.execute(f"DO $$ BEGIN RAISE 'collision' USING ERRCODE = '{sqlstate}'; END $$")


class Collides:
    """A handler that leaves a trace, and then collides so many times."""

    def __init__(self, times: int, sqlstate: str) -> None:
        self.left, self.sqlstate = times, sqlstate

    def __call__(self, command: SendParcel) -> ParcelSent:
        leave_a_trace()
        if self.left:
            self.left -= 1
            collide(self.sqlstate)
        return ParcelSent()


def assert_handled_as_if_alone(letter: Letter) -> None:
    kept = claim(letter)
    assert (kept.status, kept.attempts, kept.failures) == ("done", 1, None)
    assert (kept.error, kept.started_at, kept.next_attempt_at) == ("", None, None)
    assert traces() == 1
    assert sent("ParcelSent") == [ParcelSent()]


@on_postgresql
@pytest.mark.django_db
@pytest.mark.parametrize("deliver", [hand, redeliver])
@pytest.mark.parametrize("sqlstate", ["40P01", "40001", "55P03"])
def test_what_collides_with_others_is_tried_again_at_once_and_is_no_failure(
    counter: Counter, sqlstate: str, deliver: Callable[[Letter], None]
) -> None:
    counter.on_parcel = Collides(4, sqlstate)
    letter = post()
    deliver(letter)
    assert_handled_as_if_alone(letter)


@on_postgresql
@committed
def test_what_collides_without_end_goes_back_to_the_broker_and_is_no_failure(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handling, "PAUSE_WITHOUT_DATABASE", 0.0)
    counter.on_parcel = Collides(22, "55P03")
    letter = post()
    for number in range(4):
        with pytest.raises(OperationalError, match="collision"):
            (redeliver if number else hand)(letter)
    redeliver(letter)
    assert_handled_as_if_alone(letter)


@on_postgresql
@committed
def test_a_collision_while_a_failure_is_recorded_is_none_either(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handling, "PAUSE_WITHOUT_DATABASE", 0.0)

    counter.on_parcel = Collides(1, "58000")  # an error of the disk
    letter = post()
    InboxMessage.objects.create(
        message_id=letter.envelope.message_id, handler="tests.SendParcel", type="SendParcel", status="failed"
    )
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")
    with locked(InboxMessage.objects.get()), pytest.raises(OperationalError, match="lock timeout"):
        hand(letter)
    connection.close()
    assert claim(letter).failures is None


@on_postgresql
@pytest.mark.django_db
def test_another_error_of_the_database_is_a_failure(counter: Counter) -> None:
    counter.on_parcel = Collides(1, "53100")  # the disk is full
    letter = post()
    hand(letter)
    assert (claim(letter).status, claim(letter).error[:16]) == ("failed", "OperationalError")


@on_postgresql
@committed
def test_a_worker_whose_connection_is_ended_while_it_handles_a_redelivered_message_has_not_died(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handling, "PAUSE_WITHOUT_DATABASE", 0.0)
    ended: list[int] = []

    def handle(command: SendParcel) -> ParcelSent:
        leave_a_trace()
        if len(ended) < 3:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                ended.append(cursor.fetchone()[0])
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return ParcelSent()

    counter.on_parcel = handle
    letter = post()
    for _ in range(3):
        with pytest.raises(OperationalError):
            redeliver(letter)
    redeliver(letter)
    assert len(set(ended)) == 3
    assert_handled_as_if_alone(letter)


@contextmanager
def locked(row: Any) -> Iterator[None]:
    """Another connection has it, SELECT ... FOR UPDATE, for as long as this lasts."""
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            type(row)._default_manager.select_for_update().get(pk=row.pk)
            taken.set()
            assert done.wait(20)

    with meanwhile(hold):
        try:
            assert taken.wait(10)
            yield
        finally:
            done.set()


@on_postgresql
@committed
@pytest.mark.parametrize("deliver", [hand, redeliver])
def test_a_message_that_meets_its_sagas_lock_waits_and_is_no_failure(
    deliver: Callable[[Letter], None],
) -> None:
    table = baking()
    letter = table.tell(PizzaDone(table.pizzas()[0]))
    before = table.saga.version
    with ExitStack() as stack, locked(table.saga):
        stack.enter_context(meanwhile(lambda: deliver(letter)))
        wait_for_waiters()
        assert table.saga.version == before
    kept = claim(letter)
    assert (kept.status, kept.attempts, kept.failures, kept.started_at) == ("done", 1, None, None)
    assert table.saga.version == before + 1


@on_postgresql
@committed
def test_a_saga_that_asks_again_does_not_wait_for_a_message_that_waits_for_the_saga() -> None:
    """Else both would, and one would have to be rolled back."""
    table = baking()
    letter = table.tell(PizzaDone(table.pizzas()[0]))
    with ExitStack() as stack, transaction.atomic():
        TableService.objects.select_for_update().get(pk=table.id)
        stack.enter_context(meanwhile(lambda: redeliver(letter)))
        wait_for_waiters()
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '300ms'")
        again = outstanding.send_again(table.id)
    assert letter.envelope.message_id in {each.message_id for each in again}
    assert claim(letter).status == "done"


@on_postgresql
@committed
def test_two_handlers_that_lock_each_other_out_are_both_handled(counter: Counter) -> None:
    first, second = post(SendParcel(note="a")), post(SendParcel(note="b"))
    rows = {note: Deed.objects.create(kind="row", table=note).pk for note in "ab"}
    both = threading.Barrier(2)
    calls: list[str] = []

    def handle(command: SendParcel) -> ParcelSent:
        calls.append(command.note)
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL deadlock_timeout = '50ms'")
        for number, note in enumerate(sorted("ab", reverse=command.note == "b")):
            if number and len(calls) <= 2:
                both.wait(10)
            Deed.objects.filter(pk=rows[note]).update(pizzas=F("pizzas") + 1)
        return ParcelSent()

    counter.on_parcel = handle
    with meanwhile(lambda: hand(first), lambda: hand(second)):
        pass
    assert len(calls) == 3, "one of them was chosen as the victim, and tried again"
    assert list(Deed.objects.values_list("pizzas", flat=True)) == [2, 2]
    assert list(InboxMessage.objects.values_list("status", "attempts")) == [("done", 1)] * 2


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL has many writers at a time")
@committed
def test_a_database_that_is_locked_by_another_process_is_waited_for_and_is_no_failure(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handling, "PAUSE_WITHOUT_DATABASE", 0.0)
    counter.on_parcel = Collides(0, "")
    letter = post()
    with closing(connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 20")
        with pytest.raises(OperationalError, match="database is locked"):
            hand(letter)
    assert not InboxMessage.objects.exists()
    redeliver(letter)
    assert_handled_as_if_alone(letter)
