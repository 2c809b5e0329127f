"""What was put and not handled yet: why, and how it is sent again or taken back."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import Settings

from pizzahouse.messaging import outbox, outstanding, relay
from pizzahouse.messaging.envelope import Letter
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.outstanding import Outstanding, Why
from pizzahouse.messaging.testing import deliver, hand, sent
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

pytestmark = pytest.mark.django_db
SAGA, OTHER = UUID(int=5), UUID(int=6)


def fail(command: SendParcel) -> None:
    raise OSError("the oven is cold")


def scheduled() -> Letter:
    return post(saga=SAGA, delay=3600)


def pending() -> Letter:
    return post(saga=SAGA)


def with_the_broker() -> Letter:
    letter = post(saga=SAGA)
    relay.mark_sent([message.envelope.message_id for message in relay.take_pending(10)])
    return letter


def failed() -> Letter:
    letter = with_the_broker()
    hand(letter)
    assert claim(letter).status == "failed"
    return letter


def dead() -> Letter:
    letter = failed()
    InboxMessage.objects.filter(message_id=letter.envelope.message_id).update(
        status="dead", next_attempt_at=None
    )
    return letter


def sent_and_handled() -> Letter:
    letter = with_the_broker()
    hand(letter)
    InboxMessage.objects.filter(message_id=letter.envelope.message_id).update(status="done", attempts=1)
    return letter


Made = dict[Why, Letter]


@pytest.fixture
def made(counter: Counter) -> Made:
    """A saga's messages, one of each kind, the oldest first; and others that were handled. What is handled
    from now on leaves a trace."""
    counter.on_parcel = lambda command: None
    hand(post(saga=SAGA))
    relay.mark_sent(list(OutboxMessage.objects.values_list("id", flat=True)))
    counter.on_parcel = fail
    made = {Why.DEAD: dead(), Why.FAILED: failed(), Why.SENT: with_the_broker()}
    made |= {Why.SCHEDULED: scheduled(), Why.PENDING: pending()}
    counter.on_parcel = lambda command: leave_a_trace()
    return made


def ids(found: list[Outstanding] | Iterator[Outstanding]) -> list[UUID]:
    return [each.message_id for each in found]


def id_of(letter: Letter) -> UUID:
    return letter.envelope.message_id


# --- What a saga waits for ------------------------------------------------------------------------


def test_of_a_saga_each_message_that_was_not_handled_is_told_with_its_reason(made: Made) -> None:
    found = outstanding.of(SAGA)
    assert {each.why: each.message_id for each in found} == {why: id_of(made[why]) for why in made}
    assert ids(found) == sorted(ids(found)), "the oldest first"
    assert {(each.type, each.destination, each.saga_id) for each in found} == {("SendParcel", "tests", SAGA)}


def test_what_was_due_later_waits_only_since_then(made: Made) -> None:
    due = timezone.now() - timedelta(seconds=1)
    put = OutboxMessage.objects.filter(id=id_of(made[Why.SCHEDULED]))
    put.update(created_at=due - timedelta(hours=1), due_at=due)
    [late] = [each for each in outstanding.of(SAGA) if each.message_id == id_of(made[Why.SCHEDULED])]
    assert (late.why, late.since) == (Why.PENDING, due)


def test_what_is_outstanding_says_since_when_until_when_and_how_it_failed(made: Made) -> None:
    told = {each.why: each for each in outstanding.of(SAGA)}
    now = timezone.now()
    assert all(abs(each.since - now) < timedelta(minutes=1) for each in told.values())
    assert {why for why in told if told[why].until is not None} == {Why.SCHEDULED, Why.FAILED}
    for why in (Why.FAILED, Why.DEAD):
        assert (told[why].attempts, told[why].error) == (1, "OSError: the oven is cold")
        assert "the oven is cold" in str(told[why])
    assert str(told[Why.SENT]) == "SendParcel to tests: sent"
    until = told[Why.SCHEDULED].until
    assert until is not None
    assert f"due {until:%H:%M:%S}" in str(told[Why.SCHEDULED])


def test_only_messages_of_the_named_contracts_are_told() -> None:
    parcel = post(saga=SAGA)
    word = post(ParcelSent(), to=SENDER, saga=SAGA)
    assert ids(outstanding.of(SAGA, SendParcel)) == [id_of(parcel)]
    assert ids(outstanding.of(SAGA, ParcelSent)) == [id_of(word)]
    assert ids(outstanding.of(SAGA, ParcelSent, SendParcel)) == ids(outstanding.of(SAGA))
    assert outstanding.of(OTHER, SendParcel) == []


def test_a_delay_that_is_over_makes_it_pending() -> None:
    letter = scheduled()
    past = Now() - timedelta(seconds=1)
    OutboxMessage.objects.filter(pk=id_of(letter)).update(due_at=past, available_at=past)
    assert [each.why for each in outstanding.of(SAGA)] == [Why.PENDING]


def test_what_was_handled_before_it_was_marked_is_not_outstanding() -> None:
    hand(post(saga=SAGA))
    assert outstanding.of(SAGA) == []


def test_what_is_outstanding_is_plain_values_as_json(made: Made) -> None:
    for each in outstanding.of(SAGA):
        document = each.as_json()
        assert document["message_id"] == str(each.message_id)
        assert document["status"] == each.why
        assert document["saga"] == str(SAGA)
        assert all(isinstance(value, str | int | None) for value in document.values())


# --- What is in trouble ---------------------------------------------------------------------------


@pytest.mark.parametrize("why", [Why.FAILED, Why.DEAD, Why.PENDING])
def test_of_all_sagas_what_is_in_trouble_is_told(made: Made, why: Why) -> None:
    assert ids(outstanding.troubled(why)) == [id_of(made[why])]
    (told,) = outstanding.troubled(why)
    assert (told.why, told.type, told.destination, told.saga_id) == (why, "SendParcel", "tests", SAGA)


def test_what_is_in_trouble_is_told_of_every_saga_and_of_none_the_oldest_first(counter: Counter) -> None:
    counter.on_parcel = fail
    parcels = [post(saga=saga) for saga in (OTHER, None, SAGA)]
    assert ids(outstanding.troubled(Why.PENDING)) == [id_of(letter) for letter in parcels]
    for letter in parcels:
        hand(letter)
    assert ids(outstanding.troubled(Why.FAILED)) == [id_of(letter) for letter in parcels]
    assert list(outstanding.troubled(Why.DEAD)) == []


def test_what_a_named_handler_at_a_long_address_failed_on_is_told_with_that_address(counter: Counter) -> None:
    def refuse(event: ParcelSent) -> None:
        raise OSError

    counter.on_word = refuse
    hand(post(ParcelSent(), to=SENDER))
    (told,) = outstanding.troubled(Why.FAILED)
    assert told.destination == SENDER


# --- Sent again -----------------------------------------------------------------------------------


@pytest.mark.parametrize("why", [Why.PENDING, Why.SENT, Why.FAILED, Why.DEAD])
def test_whatever_hinders_a_message_it_is_handled_when_it_is_sent_again(made: Made, why: Why) -> None:
    letter = made[why]
    outstanding.resend([id_of(letter)])
    again = [
        each for each in (*relay.take_pending(10), *relay.take_failed(10)) if id_of(each) == id_of(letter)
    ]
    assert len(again) == 1
    assert again[0].payload == letter.payload
    hand(again[0])
    kept = claim(letter)
    assert (kept.status, kept.attempts) == ("done", 2 if why in (Why.FAILED, Why.DEAD) else 1)
    assert traces() == 1


def test_what_is_sent_again_is_what_was_named_and_no_more(made: Made) -> None:
    others = dict(InboxMessage.objects.values_list("message_id", "status"))
    outstanding.resend([id_of(made[Why.SENT])])
    assert dict(InboxMessage.objects.values_list("message_id", "status")) == others
    assert {id_of(each) for each in relay.take_pending(10)} == {
        id_of(made[Why.SENT]),
        id_of(made[Why.PENDING]),
    }


def test_what_was_handled_is_left_alone(counter: Counter) -> None:
    counter.on_parcel = lambda command: leave_a_trace()
    letter = post(saga=SAGA)
    deliver()
    before = list(OutboxMessage.objects.values())
    outstanding.resend([id_of(letter), UUID(int=1)])
    assert list(OutboxMessage.objects.values()) == before
    assert outstanding.send_again(SAGA) == []
    assert deliver(later=True) == 0
    assert (claim(letter).status, traces()) == ("done", 1)


def test_nothing_can_be_sent_again() -> None:
    outstanding.resend([])
    assert sent() == []


def test_a_message_that_fails_again_when_it_is_sent_again_is_counted(counter: Counter) -> None:
    counter.on_parcel = fail
    letter = dead()
    outstanding.resend([id_of(letter)])
    assert deliver() == 1
    assert (claim(letter).status, claim(letter).attempts) == ("failed", 2)
    assert len(claim(letter).failures or ()) == 2


@pytest.mark.parametrize("with_the_dead", [True, False])
def test_all_that_a_saga_waits_for_and_that_is_due_is_sent_again(made: Made, with_the_dead: bool) -> None:
    alien = post(saga=OTHER)
    relay.mark_sent([id_of(alien)])
    again = outstanding.send_again(SAGA, dead=with_the_dead)
    wanted = {Why.PENDING, Why.SENT, Why.FAILED} | ({Why.DEAD} if with_the_dead else set())
    assert {each.why: each.message_id for each in again} == {why: id_of(made[why]) for why in wanted}
    assert deliver() == traces() == len(wanted)
    rest = {each.why for each in outstanding.of(SAGA)}
    assert rest == ({Why.SCHEDULED} if with_the_dead else {Why.SCHEDULED, Why.DEAD})
    assert [each.why for each in outstanding.of(OTHER)] == [Why.SENT]


def test_by_itself_a_saga_sends_again_what_is_dead_too(made: Made) -> None:
    assert id_of(made[Why.DEAD]) in ids(outstanding.send_again(SAGA))


def test_a_handler_does_not_send_again_what_it_handles(counter: Counter) -> None:
    found: list[list[UUID]] = []
    letter, other = post(saga=SAGA), post(saga=SAGA)
    counter.on_parcel = lambda command: found.append(ids(outstanding.send_again(SAGA)))
    hand(letter)
    assert found == [[id_of(other)]]


def test_a_message_that_is_sent_again_and_delivered_both_times_is_handled_once(made: Made) -> None:
    outstanding.send_again(SAGA)
    deliver(twice=True)
    for why in (Why.PENDING, Why.SENT, Why.FAILED, Why.DEAD):
        hand(made[why])
        assert (claim(made[why]).status, claim(made[why]).repeats) == ("done", 2)
    assert traces() == 4


# --- Taken back -----------------------------------------------------------------------------------


@pytest.mark.parametrize("why", list(Why))
def test_wherever_a_message_is_it_is_withdrawn_and_has_no_effect_any_more(made: Made, why: Why) -> None:
    letter = made[why]
    back = outstanding.withdraw(SAGA, SendParcel, why="a fly in the soup")
    assert {each.why: each.message_id for each in back} == {each: id_of(made[each]) for each in made}
    kept = claim(letter)
    assert (kept.status, kept.detail) == ("ignored", "withdrawn: a fly in the soup")
    assert (kept.handler, kept.type, kept.saga_id) == ("tests.SendParcel", "SendParcel", SAGA)
    assert kept.next_attempt_at is None
    for _ in range(2):
        hand(letter)
    assert (claim(letter).status, claim(letter).repeats, traces()) == ("ignored", 2, 0)


def test_what_was_withdrawn_is_neither_sent_nor_outstanding(made: Made) -> None:
    outstanding.withdraw(SAGA, why="it is late")
    assert outstanding.of(SAGA) == []
    assert outstanding.sagas_under_way() == set()
    for why in (Why.FAILED, Why.DEAD, Why.PENDING):
        assert list(outstanding.troubled(why)) == []
    assert deliver(later=timedelta(days=9)) == 0
    outstanding.resend(id_of(letter) for letter in made.values())
    assert outstanding.send_again(SAGA) == []
    OutboxMessage.objects.filter(available_at__isnull=False).update(available_at=Now() - timedelta(days=1))
    assert relay.take_unhandled(10) == []
    assert deliver(later=timedelta(days=9)) == 0
    assert traces() == 0


def test_what_was_handled_is_not_withdrawn(counter: Counter) -> None:
    counter.on_parcel = lambda command: ParcelSent()
    letter = post(saga=SAGA)
    hand(letter)
    back = outstanding.withdraw(SAGA, SendParcel, why="too late")
    assert back == []
    assert (claim(letter).status, claim(letter).detail) == ("done", "")
    assert len(sent("ParcelSent")) == 1


def test_only_what_was_named_is_withdrawn_and_only_of_that_saga() -> None:
    parcel, word = post(saga=SAGA), post(ParcelSent(), to=SENDER, saga=SAGA)
    alien, nobodys = post(saga=OTHER), post()
    assert ids(outstanding.withdraw(SAGA, SendParcel, why="named")) == [id_of(parcel)]
    assert ids(outstanding.of(SAGA)) == [id_of(word)]
    assert ids(outstanding.of(OTHER)) == [id_of(alien)]
    assert deliver() == 3
    assert claim(nobodys).status == "done"


def test_what_is_withdrawn_twice_is_told_once() -> None:
    letter = post(saga=SAGA)
    assert ids(outstanding.withdraw(SAGA, why="first")) == [id_of(letter)]
    assert outstanding.withdraw(SAGA, why="second") == []
    assert claim(letter).detail == "withdrawn: first"


def test_a_withdrawal_that_is_rolled_back_never_was(counter: Counter) -> None:
    counter.on_parcel = lambda command: leave_a_trace()
    letter = post(saga=SAGA)
    with transaction.atomic():
        outstanding.withdraw(SAGA, why="on second thoughts")
        transaction.set_rollback(True)
    assert deliver() == 1
    assert (claim(letter).status, traces()) == ("done", 1)


def test_a_handler_withdraws_only_if_it_succeeds(counter: Counter) -> None:
    waiting = post(SendParcel(note="waiting"), saga=SAGA, delay=3600)

    def handle(event: ParcelSent) -> None:
        outstanding.withdraw(SAGA, SendParcel, why=event.note)
        if event.note == "in vain":
            raise OSError

    counter.on_word = handle
    hand(post(ParcelSent(note="in vain"), to=SENDER, saga=SAGA))
    assert not InboxMessage.objects.filter(message_id=id_of(waiting)).exists()
    hand(post(ParcelSent(note="so be it"), to=SENDER, saga=SAGA))
    assert claim(waiting).detail == "withdrawn: so be it"


# --- What is under way ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "under_way"),
    [
        (scheduled, True),
        (pending, True),
        (with_the_broker, True),
        (failed, True),
        (dead, False),
        (sent_and_handled, False),
    ],
)
def test_a_saga_is_under_way_while_something_happens_without_a_human(
    counter: Counter, make: Callable[[], Letter], under_way: bool
) -> None:
    counter.on_parcel = fail
    make()
    assert outstanding.sagas_under_way() == ({SAGA} if under_way else set())


def test_a_saga_with_a_dead_message_is_under_way_if_it_waits_for_another(made: Made) -> None:
    assert outstanding.sagas_under_way() == {SAGA}


@pytest.mark.parametrize(
    ("within", "found"),
    [(timedelta(0), {OTHER}), (timedelta(minutes=59), {OTHER}), (timedelta(minutes=61), {OTHER, SAGA})],
    ids=str,
)
def test_a_saga_whose_next_message_is_due_later_is_not_under_way_so_soon(
    within: timedelta, found: set[UUID]
) -> None:
    post(saga=SAGA, delay=3600)
    post(saga=OTHER)
    post()
    assert outstanding.sagas_under_way(within) == found


def test_without_a_limit_whatever_is_due_some_day_is_under_way(settings: Settings) -> None:
    with transaction.atomic():
        outbox.put(SendParcel(), saga=SAGA, delay=3600 * 24 * 300)
    assert outstanding.sagas_under_way() == {SAGA}


def test_a_document_of_what_is_outstanding_has_the_same_keys_for_all(made: Made) -> None:
    documents: list[dict[str, Any]] = [each.as_json() for each in outstanding.of(SAGA)]
    assert len({tuple(document) for document in documents}) == 1
