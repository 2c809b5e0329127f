"""What happened to a saga, and what it waits for."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import msgspec
import pytest
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings

from orders.contracts import StartTableService
from orders.table_service import TableService
from pizzahouse.messaging import history, outstanding
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.outstanding import Why
from pizzahouse.messaging.relay import mark_sent, take_pending
from pizzahouse.messaging.testing import deliver, hand
from tests.unit.postoffice import Counter, ParcelSent, claim, post

pytestmark = pytest.mark.django_db
SAGA = UUID(int=5)


def fail(command: object) -> None:
    raise OSError("the oven is cold")


def succeed(command: object) -> ParcelSent:
    return ParcelSent()


def serve() -> UUID:
    with transaction.atomic():
        saga = TableService.begin(StartTableService(table="TBL1"))
    deliver(later=True)
    return saga


# --- History --------------------------------------------------------------------------------------


def test_the_history_of_a_table_is_complete() -> None:
    kinds = [entry.kind for entry in history.of(serve())]
    assert {kind: kinds.count(kind) for kind in kinds} == {"command": 12, "event": 12, "transition": 13}


def test_a_step_stands_after_its_message_and_before_the_messages_it_put() -> None:
    for _ in range(5):
        entries = history.of(serve())
        put_at = {
            entry.message_id: place
            for place, entry in enumerate(entries)
            if entry.kind in ("command", "event")
        }
        for place, entry in enumerate(entries):
            if entry.kind == "transition":
                assert put_at[entry.message_id] < place, f"{entry.type} before its message"
            elif entry.causation_id in put_at:
                assert put_at[entry.causation_id] < place, f"{entry.type} before its cause"
        steps = {entry.message_id: place for place, entry in enumerate(entries) if entry.kind == "transition"}
        for place, entry in enumerate(entries):
            if entry.kind == "command" and entry.causation_id:
                assert steps[entry.causation_id] < place, f"{entry.type} before the step that put it"


def test_a_step_tells_its_states_and_its_cause() -> None:
    saga = serve()
    steps = [entry for entry in history.of(saga) if entry.kind == "transition"]
    assert [(step.type, step.from_state, step.to_state) for step in steps[:3]] == [
        ("start", "new", "started"),
        ("get_menu", "started", "getting_menu"),
        ("show_menu", "getting_menu", "showing_menu"),
    ]
    assert (steps[-1].type, steps[-1].to_state) == ("close", "closed")
    for earlier, later in pairwise(steps):
        assert earlier.to_state == later.from_state


def test_a_message_tells_where_it_went_and_why() -> None:
    entries = history.of(serve())
    by_type = {entry.type: entry for entry in entries if entry.kind in ("command", "event")}
    menu = by_type["GetMenu"]
    assert (menu.kind, menu.detail) == ("command", "to menu")
    assert menu.causation_id == by_type["TableServiceStarted"].message_id
    assert by_type["MenuGot"].causation_id == menu.message_id
    assert by_type["MenuGot"].detail == "to orders.table_service"


def test_a_message_that_was_not_sent_yet_says_so() -> None:
    post(saga=SAGA, delay=3600)
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    OutboxMessage.objects.update(created_at=noon, due_at=noon + timedelta(hours=1))
    (entry,) = history.of(SAGA)
    assert entry.detail == "to tests, due 13:00:00, not sent yet"


def test_a_message_that_was_sent_several_times_says_so() -> None:
    letter = post(saga=SAGA)
    for _ in range(3):
        mark_sent([letter.envelope.message_id])
    assert history.of(SAGA)[0].detail == "to tests, sent 3 times"


def test_each_failure_stands_in_the_history_and_the_last_with_its_traceback(
    counter: Counter, settings: Settings
) -> None:
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 3, "RETRY_SECONDS": 1.0}
    counter.on_parcel = fail
    post(saga=SAGA)
    deliver(later=True)
    failures = [entry for entry in history.of(SAGA) if entry.kind == "failure"]
    assert len(failures) == 3
    assert failures[0].detail.startswith(
        "attempt 1 at tests.SendParcel: OSError: the oven is cold; next attempt in 0."
    )
    assert "Traceback" not in failures[1].detail
    assert "attempt 3 at tests.SendParcel: OSError: the oven is cold; dead\nTraceback" in failures[2].detail


def test_what_came_again_stands_as_ignored(counter: Counter) -> None:
    letter = post(saga=SAGA)
    for _ in range(3):
        hand(letter)
    ignored = [entry for entry in history.of(SAGA) if entry.kind == "ignored"]
    assert [entry.detail for entry in ignored] == ["delivered 2 more times at tests.SendParcel, handled once"]


def test_a_dead_message_that_came_again_is_not_said_to_be_handled(
    counter: Counter, settings: Settings
) -> None:
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 1}
    counter.on_parcel = fail
    letter = post(saga=SAGA)
    hand(letter)
    counter.on_parcel = succeed
    hand(letter)
    assert claim(letter).status == "dead"
    assert not any("handled once" in entry.detail for entry in history.of(SAGA))


def test_a_history_can_be_written_as_json() -> None:
    for entry in history.of(serve()):
        document = entry.as_json()
        assert set(document) == {
            *("at", "kind", "type", "message_id", "causation_id", "from_state", "to_state", "detail")
        }
        assert msgspec.json.decode(msgspec.json.encode(document)) == document


def test_the_history_of_a_saga_is_its_own() -> None:
    post(saga=SAGA)
    assert history.of(UUID(int=6)) == []


# --- Outstanding ----------------------------------------------------------------------------------


def test_a_saga_that_ended_waits_for_nothing() -> None:
    assert outstanding.of(serve()) == []
    assert outstanding.sagas_under_way() == set()


def test_a_message_is_followed_from_the_outbox_to_its_handler(counter: Counter, settings: Settings) -> None:
    def why() -> list[Why]:
        return [each.why for each in outstanding.of(SAGA)]

    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 2}
    counter.on_parcel = fail
    letter = post(saga=SAGA)
    assert why() == [Why.PENDING]
    mark_sent([each.envelope.message_id for each in take_pending(9)])
    assert why() == [Why.SENT]
    hand(letter)
    assert why() == [Why.FAILED]
    assert outstanding.sagas_under_way() == {SAGA}
    hand(letter)
    assert why() == [Why.DEAD]
    assert outstanding.sagas_under_way() == set()
    InboxMessage.objects.update(status="failed")
    counter.on_parcel = lambda command: None
    hand(letter)
    assert why() == []


def test_what_is_due_later_is_scheduled_until_its_time() -> None:
    post(saga=SAGA, delay=3600)
    (waiting,) = outstanding.of(SAGA)
    assert waiting.why == Why.SCHEDULED
    assert waiting.until == OutboxMessage.objects.get().due_at
    assert str(waiting) == f"SendParcel to tests: scheduled, due {waiting.until:%H:%M:%S}"
    OutboxMessage.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    assert [each.why for each in outstanding.of(SAGA)] == [Why.PENDING]


def test_a_failure_is_told_with_its_error_and_its_next_attempt(counter: Counter) -> None:
    counter.on_parcel = fail
    letter = post(saga=SAGA)
    hand(letter)
    (waiting,) = outstanding.of(SAGA)
    assert (waiting.attempts, waiting.error) == (1, "OSError: the oven is cold")
    assert waiting.until == claim(letter).next_attempt_at
    assert waiting.as_json() == {
        "type": "SendParcel",
        "message_id": str(letter.envelope.message_id),
        "destination": "tests",
        "saga": str(SAGA),
        "status": "failed",
        "since": waiting.since.isoformat(),
        "until": waiting.until and waiting.until.isoformat(),
        "attempts": 1,
        "error": "OSError: the oven is cold",
    }


def test_ignored_messages_are_settled() -> None:
    saga = serve()
    late = next(row for row in OutboxMessage.objects.filter(saga_id=saga, type="MenuGot"))
    InboxMessage.objects.filter(message_id=late.id).update(status="ignored")
    assert outstanding.of(saga) == []


def test_after_a_crash_all_that_was_under_way_is_sent_again(counter: Counter) -> None:
    counter.on_parcel = fail
    failed, done = post(saga=SAGA), post(saga=SAGA)
    hand(failed)
    counter.on_parcel = succeed
    hand(done)
    counter.on_word = lambda event: None
    pending, lost = post(saga=SAGA), post(saga=SAGA)
    mark_sent([lost.envelope.message_id, failed.envelope.message_id, done.envelope.message_id])
    OutboxMessage.objects.filter(pk=pending.envelope.message_id).update(
        available_at=timezone.now() + timedelta(hours=1)  # leased to a relay that is no more
    )
    later = post(saga=SAGA, delay=3600)
    assert outstanding.recover() == 3  # pending, lost, and the answer of the one that is done
    deliver()
    statuses = {row.message_id: row.status for row in InboxMessage.objects.all()}
    assert [statuses[each.envelope.message_id] for each in (failed, done, pending, lost)] == ["done"] * 4
    assert later.envelope.message_id not in statuses


def test_the_dead_stay_dead_after_a_crash(counter: Counter, settings: Settings) -> None:
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 1}
    counter.on_parcel = fail
    letter = post(saga=SAGA)
    deliver()
    assert outstanding.recover() == 0
    assert deliver(later=True) == 0
    assert claim(letter).status == "dead"
