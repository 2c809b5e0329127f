"""How long messages are kept: what somebody may still need is never deleted."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from orders.contracts import StartTableService
from orders.table_service import BILLING, CLOSED, TableService
from pizzahouse.messaging import outbox, outstanding, relay, retention
from pizzahouse.messaging.envelope import Letter
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.testing import deliver, hand, sent
from tests.unit.postoffice import (
    SENDER,
    Counter,
    ParcelSent,
    SendParcel,
    claim,
    leave_a_trace,
    post,
    redeliver,
    traces,
    travelling,
)

pytestmark = pytest.mark.django_db
SAGA = UUID(int=5)
LONG_AGO = timedelta(days=40)


def month_ago() -> datetime:
    return timezone.now() - timedelta(days=30)


def grow_old() -> None:
    """All that there is happened forty days earlier."""
    for each in ("created_at", "due_at", "sent_at", "available_at"):
        OutboxMessage.objects.update(**{each: F(each) - LONG_AGO})
    InboxMessage.objects.update(
        handled_at=F("handled_at") - LONG_AGO, next_attempt_at=F("next_attempt_at") - LONG_AGO
    )


def handled(message: SendParcel | None = None, **options: Any) -> UUID:
    """A message that was sent, handled and settled."""
    letter = post(message, **options)
    hand(letter)
    relay.mark_sent([letter.envelope.message_id])
    return letter.envelope.message_id


def kept() -> set[UUID]:
    return set(OutboxMessage.objects.values_list("id", flat=True))


def kept_claims() -> set[UUID]:
    return set(InboxMessage.objects.values_list("message_id", flat=True))


# --- What is deleted ------------------------------------------------------------------------------


def test_what_was_handled_long_ago_is_deleted_from_both_tables_and_what_is_recent_stays() -> None:
    handled(saga=SAGA)
    handled()
    grow_old()
    recent = handled(saga=SAGA)
    assert retention.prunable(month_ago()).count() == 2
    assert retention.prune(month_ago()) == 2
    assert kept() == kept_claims() == {recent}
    assert retention.prune(month_ago()) == 0


def test_what_is_deleted_is_what_was_put_and_handled_before_that_time() -> None:
    handled()
    moment = InboxMessage.objects.get().handled_at
    assert retention.prune(moment - timedelta(milliseconds=1)) == 0
    assert retention.prune(moment + timedelta(milliseconds=1)) == 1


def test_they_are_deleted_in_batches_the_oldest_first() -> None:
    ids = [handled() for _ in range(5)]
    grow_old()
    for left, count in ((3, 2), (1, 2), (0, 1), (0, 0)):
        assert retention.prune(month_ago(), limit=2) == count
        assert kept() == kept_claims() == set(ids[len(ids) - left :])


def test_what_was_ignored_is_deleted_as_well(counter: Counter) -> None:
    post(saga=SAGA)
    outstanding.withdraw(SAGA, why="it is late")
    grow_old()
    assert retention.prune(month_ago()) == 1
    assert kept() == kept_claims() == set()


# --- What is kept ---------------------------------------------------------------------------------


def pending() -> UUID:
    return post(saga=SAGA).envelope.message_id


def scheduled() -> UUID:
    return post(saga=SAGA, delay=3600 * 24 * 60).envelope.message_id


def with_the_broker() -> UUID:
    message_id = pending()
    relay.mark_sent([message_id])
    return message_id


def failing() -> UUID:
    return handled(SendParcel(note="fails"), saga=SAGA)


def dead() -> UUID:
    message_id = failing()
    InboxMessage.objects.filter(message_id=message_id).update(status="dead", next_attempt_at=None)
    return message_id


def handled_but_not_marked() -> UUID:
    letter = post(saga=SAGA)
    hand(letter)
    return letter.envelope.message_id


def handled_at_one_address_only() -> UUID:
    """At another its handling failed."""
    message_id = handled(saga=SAGA)
    row = InboxMessage.objects.get(message_id=message_id)
    row.pk, row.handler, row.status = None, "tests.other.SendParcel", "failed"
    row.save(force_insert=True)
    return message_id


STILL_NEEDED = [
    *(pending, scheduled, with_the_broker, failing, dead, handled_but_not_marked, handled_at_one_address_only)
]


@pytest.mark.parametrize("make", STILL_NEEDED)
def test_what_is_not_settled_is_never_deleted(counter: Counter, make: Callable[[], UUID]) -> None:
    def handle(command: SendParcel) -> None:
        if command.note:
            raise OSError

    counter.on_parcel = handle
    needed = make()
    handled()
    grow_old()
    claims = list(InboxMessage.objects.filter(message_id=needed).values())
    assert retention.prune(month_ago()) == 1
    assert kept() == {needed}
    assert list(InboxMessage.objects.values()) == claims


def test_what_failed_long_ago_and_is_handled_now_is_kept_as_long_as_any_other(counter: Counter) -> None:
    counter.on_parcel = lambda command: 1 / 0
    handled()
    grow_old()
    assert retention.prune(month_ago()) == 0
    counter.on_parcel = lambda command: None
    assert deliver(later=True) == 1
    assert retention.prune(month_ago()) == 0
    grow_old()
    assert retention.prune(month_ago()) == 1
    assert kept() == kept_claims() == set()


def test_what_was_put_long_ago_and_fell_due_only_now_is_kept_and_known_when_it_comes_again(
    counter: Counter,
) -> None:
    counter.on_parcel = lambda command: leave_a_trace()
    message_id = post(delay=LONG_AGO.total_seconds()).envelope.message_id
    grow_old()
    letter = travelling(message_id)
    hand(letter)
    relay.mark_sent([message_id])
    assert retention.prune(month_ago()) == 0
    hand(letter)
    assert (claim(letter).repeats, traces()) == (1, 1)


def running() -> Any:
    """The ids of the tables that are served."""
    return TableService.objects.filter(finished_at=None).values_list("pk", flat=True)


def test_what_is_of_a_saga_that_runs_is_never_deleted_whatever_its_age() -> None:
    runs = TableService.objects.create(id=UUID(int=1), table="T1", state=BILLING)
    ended = TableService.objects.create(id=UUID(int=2), table="T1", state=CLOSED, finished_at=month_ago())
    mine = [handled(saga=runs.pk) for _ in range(2)]
    handled(saga=ended.pk)
    handled(saga=UUID(int=3))
    handled()
    grow_old()
    assert retention.prune(month_ago(), running()) == 3, "of one that ended, of one that is gone, and of none"
    assert kept() == kept_claims() == set(mine)
    assert retention.prune(month_ago(), running()) == 0
    TableService.objects.update(finished_at=timezone.now())
    assert retention.prune(month_ago(), running()) == 2


def test_of_several_kinds_of_sagas_each_that_runs_keeps_its_messages() -> None:
    for number in (1, 2):
        TableService.objects.create(id=UUID(int=number), table="T1", state=BILLING)
        handled(saga=UUID(int=number))
    grow_old()
    kinds = [running().filter(pk=UUID(int=number)) for number in (1, 2)]
    assert retention.prune(month_ago(), *kinds) == 0
    assert retention.prune(month_ago(), kinds[1]) == 1


def test_a_saga_goes_on_when_what_is_old_is_deleted_half_way() -> None:
    with transaction.atomic():
        saga = TableService.begin(StartTableService(table="TBL1"))
    hand(travelling(outstanding.of(saga)[0].message_id))
    grow_old()
    relay.mark_sent(list(kept_claims()))
    before = kept()
    assert retention.prune(month_ago(), running()) == 0
    assert kept() == before
    deliver(later=True)
    assert TableService.objects.get(pk=saga).state == CLOSED


# --- Delivered once more afterwards ---------------------------------------------------------------


def sent_before(letter: Letter) -> None:
    hand(msgspec.structs.replace(letter, envelope=msgspec.structs.replace(letter.envelope, sends=1)))


@pytest.mark.parametrize("how", [hand, redeliver, sent_before])
def test_what_is_delivered_once_more_after_its_rows_were_deleted_has_no_effect(
    counter: Counter, how: Callable[[Letter], None]
) -> None:
    def handle(command: SendParcel) -> ParcelSent:
        leave_a_trace()
        outbox.put(SendParcel(note="besides"), delay=60)
        return ParcelSent()

    counter.on_parcel = handle
    message_id = handled(saga=SAGA)
    grow_old()
    letter = travelling(message_id)
    assert traces() == 1
    OutboxMessage.objects.exclude(pk=message_id).delete()
    assert retention.prune(month_ago()) == 1
    for _ in range(2):
        how(letter)
    assert traces() == 1
    assert sent() == []
    noted = claim(letter)
    assert (noted.status, noted.repeats, noted.attempts) == ("ignored", 2, 0)
    assert noted.detail == "it was handled before, and its rows have been pruned since"
    assert relay.take_failed(10) == []
    assert outstanding.of(SAGA) == []


def test_what_nobody_handled_yet_is_handled_however_old_it_is(counter: Counter) -> None:
    counter.on_parcel = lambda command: leave_a_trace()
    message_id = post(saga=SAGA).envelope.message_id
    grow_old()
    retention.prune(month_ago())
    redeliver(travelling(message_id))
    assert (claim(travelling(message_id)).status, traces()) == ("done", 1)


def test_an_event_is_deleted_like_a_command() -> None:
    letter = post(ParcelSent(), to=SENDER)
    hand(letter)
    relay.mark_sent([letter.envelope.message_id])
    grow_old()
    assert retention.prune(month_ago()) == 1
