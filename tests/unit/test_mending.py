"""Mending: what is shown before, what is done, and that what is told of it is true."""

import json
import re
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from kitchen.models import KitchenOrder
from orders.office import mendings
from orders.office.contracts import MendOn
from orders.office.models import Mended, Mending
from orders.saga import STOPPED
from orders.table_service import BILLING, CALLED_OFF, CLOSED, NEEDS_MANAGER, ORDERING, THANKING, TableService
from pizzahouse.messaging import dead_letters, failures, relay, testing
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from tests.unit.office import (
    MALICIOUS,
    NOT_ON_ANY_MENU,
    PROCESSES,
    ColdOven,
    as_text,
    begin,
    mend,
    mend_url,
    page_of,
    prepared,
    seat,
    somebody,
    spoil_a_pizza,
    state_of,
    statuses,
    text_of,
    tick,
    waits_for,
)

pytestmark = [
    pytest.mark.django_db,
    # WhiteNoise says so where collectstatic never ran; the pages are the same.
    pytest.mark.filterwarnings("ignore:No directory at"),
]
ACTIONS = ["retry", "cancel", "try_again", "write_off", "skip"]
Status = Mended.Status


@pytest.fixture(autouse=True)
def _house(settings):
    """One attempt, so that what fails is dead; pauses, so that messages wait for their time."""
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 1}
    settings.PIZZAHOUSE_PACE = 1.0


def tables() -> dict[str, list[Any]]:
    """Everything in the database, but who is logged in."""
    return {
        model._meta.label: list(model._default_manager.order_by("pk").values())
        for model in apps.get_models()
        if model._meta.label != "sessions.Session"
    }


def in_need_of_the_manager(table: str = "TBL1") -> UUID:
    """A process whose guests' card was declined too often."""
    saga = seat(table)
    testing.deliver(later=True)
    TableService.objects.filter(pk=saga).update(
        state=NEEDS_MANAGER, standing=STOPPED, stopped_in=BILLING, finished_at=None
    )
    return saga


def inbox_row(saga: UUID) -> InboxMessage:
    return InboxMessage.objects.get(saga_id=saga, status="dead")


def letter_url(row: InboxMessage) -> str:
    return reverse("office:dead_message", args=[row.pk])


def look(until: int = 30) -> None:
    """Let a worker look what came of mendings, as often as it wants to within ten seconds."""
    for _ in range(until):
        soon = OutboxMessage.objects.filter(sent_at=None, type="MendOn")
        soon.update(available_at=Now() - timedelta(seconds=1))
        if not testing.deliver():
            return
    raise AssertionError("it never comes to an end")


def only_mending() -> Mended:
    [item] = Mended.objects.all()
    return item


# --- What is shown before -------------------------------------------------------------------------


def test_a_preview_of_whatever_leaves_no_trace(operator, cold_oven):
    spoiled, dead = spoil_a_pizza("TBL1"), seat("TBL2", NOT_ON_ANY_MENU)
    stopped = in_need_of_the_manager("TBL3")
    everything = tables()
    for saga in (spoiled, dead, stopped):
        operator.get(page_of(saga))
        for action in ACTIONS:
            assert operator.get(mend_url(saga, action)).status_code == 200
            response = operator.post(mend_url(saga, action), {"preview": "1", "reason": ""})
            assert response.status_code == 200
    for row in InboxMessage.objects.filter(status="dead"):
        operator.get(letter_url(row))
        for action in ("edit", "redrive", "discard"):
            operator.post(letter_url(row), {"action": action, "preview": "1", "payload": '{"menu": []}'})
    assert tables() == everything


def test_the_preview_of_a_retry_tells_what_is_sent_again_and_that_the_module_decides(operator, cold_oven):
    text = text_of(operator, mend_url(spoil_a_pizza("TBL1")))
    assert re.search(r"sent again: .*DoPizza \(dead: OSError: the oven is cold\)", text)
    assert "DoPizza to kitchen (dead, 1 attempts: OSError: the oven is cold)" in text
    assert "What comes of a module's message is seen when the module has handled it." in text


def test_the_preview_of_a_cancellation_tells_both_states_and_what_would_be_sent(operator, cold_oven):
    html = operator.get(mend_url(spoil_a_pizza("TBL1"), "cancel")).content.decode()
    assert re.search(r'id="from-state">baking<', html)
    assert re.search(r'id="to-state">recalling<', html)
    assert as_text(html).count("CancelPizza to kitchen") == 5


def test_the_preview_of_what_failed_at_the_process_itself_runs_its_step(operator, monkeypatch):
    def broken(_saga: Any, _event: Any) -> None:
        raise ZeroDivisionError("the menu is upside down")

    with monkeypatch.context() as code:
        code.setattr(TableService.show_menu._django_fsm, "method", broken, raising=False)
        code.setattr(TableService, "note", broken)
        code.setattr(TableService, "send", broken)
        saga = seat("TBL1")
    assert "dead" in waits_for(saga)
    html = operator.get(mend_url(saga)).content.decode()
    assert re.search(r'id="to-state">\w+<', html)


def test_what_cannot_be_done_is_refused_with_the_reason(operator):
    saga = seat("TBL1")
    testing.deliver(later=True)
    assert state_of(saga) == CLOSED
    for action, why in {
        "retry": "There is nothing to send: it is closed.",
        "cancel": "It is closed: it can be cancelled only as long as nothing was served.",
        "try_again": "It is closed: it does not wait for the manager.",
        "skip": "It takes no event while it is closed.",
    }.items():
        html = operator.get(mend_url(saga, action)).content.decode()
        assert why in as_text(html)
        assert 'name="do"' not in html
        if action != "skip":
            response = operator.post(mend_url(saga, action), {"do": "1", "reason": "let me"})
            assert why in as_text(response.content.decode())
    assert not Mending.objects.exists()


def test_nothing_is_done_without_a_reason(operator, cold_oven):
    saga = spoil_a_pizza("TBL1")
    response = operator.post(mend_url(saga), {"do": "1", "reason": "   "})
    assert "Say why" in as_text(response.content.decode())
    assert "dead" in waits_for(saga)
    assert not Mending.objects.exists()


def test_only_what_is_possible_has_a_button(operator, cold_oven):
    def buttons(saga: UUID) -> list[str]:
        return re.findall(r'data-action="(\w+)"', operator.get(page_of(saga)).content.decode())

    cold_oven.cold = False
    closed = seat("TBL2")
    testing.deliver(later=True)
    assert buttons(closed) == []
    assert buttons(in_need_of_the_manager("TBL3")) == ["try_again", "write_off"]
    cold_oven.cold, cold_oven.victim = True, None
    assert buttons(spoil_a_pizza("TBL1")) == ["retry", "cancel", "skip"]


# --- Retry ----------------------------------------------------------------------------------------


def test_a_retry_whose_cause_is_mended_is_told_as_recovered_once_the_process_has_gone_on(operator, cold_oven):
    saga = spoil_a_pizza("TBL1")
    cold_oven.cold = False
    item = mend(operator, saga)
    assert (item.status, item.result) == (Status.SENT, "")
    assert "not handled yet" in text_of(operator, page_of(saga))
    testing.deliver(later=True)
    item.refresh_from_db()
    assert item.status == Status.RECOVERED
    assert state_of(saga) == CLOSED
    assert item.mending.status == Mending.Status.FINISHED
    assert "recovered" in text_of(operator, page_of(saga))


def test_a_retry_whose_cause_is_not_mended_is_told_as_failed_again(operator, cold_oven):
    saga = spoil_a_pizza("TBL1")
    item = mend(operator, saga)
    testing.deliver()
    look()
    item.refresh_from_db()
    assert item.status == Status.FAILED
    assert item.result == "failed again: DoPizza: OSError: the oven is cold"
    assert item.mending.status == Mending.Status.HALTED
    text = text_of(operator, page_of(saga))
    assert "failed again: DoPizza: OSError: the oven is cold" in text
    assert "recovered" not in text


def test_a_retry_that_only_moves_the_failure_to_the_next_step_is_no_success(operator, cold_oven, monkeypatch):
    saga = spoil_a_pizza("TBL1")
    cold_oven.cold = False

    def broken(*_args: Any) -> None:
        raise ZeroDivisionError("nobody can count the pizzas")

    item = mend(operator, saga)
    monkeypatch.setattr("orders.pizzas.mark_done", broken, raising=False)
    monkeypatch.setattr(TableService, "_step", broken)
    testing.deliver(later=True)
    item.refresh_from_db()
    assert item.status == Status.FAILED
    assert "ZeroDivisionError: nobody can count the pizzas" in item.result


def test_what_a_worker_has_just_begun_with_is_no_failure(operator, cold_oven):
    """It is noted in the inbox before it is handled, where it may kill its worker."""
    saga = spoil_a_pizza("TBL1")
    cold_oven.cold = False
    item = mend(operator, saga)
    testing.deliver()
    begun = next(each for each in testing.letters("PizzaDone") if each.envelope.saga == saga)
    failures.begin(begun.envelope, begun.envelope.actor_name, {})
    mendings.look(item.mending_id)
    item.refresh_from_db()
    assert item.status != Status.FAILED


def test_nothing_is_told_before_it_is_known(operator, cold_oven):
    saga = spoil_a_pizza("TBL1")
    item = mend(operator, saga)
    for _ in range(3):
        mendings.look(item.mending_id)
    item.refresh_from_db()
    assert item.status == Status.SENT


def test_what_nobody_handles_in_ten_minutes_is_told_so(operator, cold_oven):
    saga = spoil_a_pizza("TBL1")
    item = mend(operator, saga)
    Mended.objects.update(begun_at=timezone.now() - timedelta(minutes=11))
    mendings.look(item.mending_id)
    item.refresh_from_db()
    assert (item.status, item.result) == (Status.UNCHANGED, "not handled within 10 minutes")


def test_what_was_handled_and_helped_nothing_is_no_success(operator, cold_oven):
    """Its answer is lost, so the process does not go on."""
    saga = spoil_a_pizza("TBL1")
    OutboxMessage.objects.filter(saga_id=saga, type="PizzaDone").delete()
    cold_oven.cold = False
    item = mend(operator, saga)
    testing.deliver()
    OutboxMessage.objects.filter(saga_id=saga, type="PizzaDone").delete()
    mendings.look(item.mending_id)
    item.refresh_from_db()
    assert item.status == Status.SENT
    InboxMessage.objects.filter(saga_id=saga).update(handled_at=timezone.now() - timedelta(seconds=11))
    Mended.objects.update(begun_at=timezone.now() - timedelta(seconds=12))
    mendings.look(item.mending_id)
    item.refresh_from_db()
    assert item.status == Status.UNCHANGED
    assert item.result == "handled, but the process has not gone on"


def test_what_is_under_way_is_waited_for_whoever_does_not_work_at_the_moment(operator, cold_oven, settings):
    settings.PIZZAHOUSE_PACE = 0.0
    saga = spoil_a_pizza("TBL1")
    cold_oven.cold = False
    item = mend(operator, saga)
    again = [*relay.take_failed(10)]
    testing.hand(again[0])
    long_ago = timezone.now() - timedelta(minutes=5)
    InboxMessage.objects.filter(saga_id=saga).update(handled_at=long_ago)
    Mended.objects.update(begun_at=long_ago - timedelta(seconds=1))
    mendings.look(item.mending_id)
    item.refresh_from_db()
    assert (item.status, item.result) == (Status.SENT, "")
    Mended.objects.update(begun_at=long_ago - timedelta(minutes=6))
    mendings.look(item.mending_id)
    item.refresh_from_db()
    assert item.status == Status.UNCHANGED
    assert item.result.startswith("handled, but the process still waits for PizzaDone")


def test_a_pause_after_it_was_handled_is_progress(operator, cold_oven):
    saga = spoil_a_pizza("TBL1")
    cold_oven.cold = False
    item = mend(operator, saga)
    testing.deliver()
    mendings.look(item.mending_id)
    item.refresh_from_db()
    assert item.status == Status.RECOVERED
    assert re.match(r"handled; it waits for (\d x )?PizzaDone \(due ", item.result)


# --- What the process is told ---------------------------------------------------------------------


def test_a_cancellation_is_done_at_once_and_compensates(operator, cold_oven):
    saga = spoil_a_pizza("TBL1")
    item = mend(operator, saga, "cancel", "the guests have left")
    assert item.status == Status.DONE
    assert item.result.startswith("baking → recalling")
    testing.deliver(later=True)
    assert state_of(saga) == CALLED_OFF
    assert not KitchenOrder.objects.filter(visit=saga, status=KitchenOrder.Status.TAKEN).exists()


def test_a_cancellation_is_done_whatever_fails_of_the_process_besides(operator, cold_oven, monkeypatch):
    saga = spoil_a_pizza("TBL1")
    look_at = mendings.look

    def fail_first(*args: Any, **options: Any) -> Any:
        row = InboxMessage.objects.filter(saga_id=saga).earliest("id")
        InboxMessage.objects.filter(pk=row.pk).update(status="failed", handled_at=Now())
        return look_at(*args, **options)

    monkeypatch.setattr(mendings, "look", fail_first)
    item = mend(operator, saga, "cancel", "the guests have left")
    assert (item.status, item.to_state) == (Status.DONE, "recalling")


@pytest.mark.parametrize(("action", "state"), [("try_again", BILLING), ("write_off", THANKING)])
def test_a_decision_is_done_at_once(operator, action, state):
    saga = in_need_of_the_manager()
    item = mend(operator, saga, action, "they are friends")
    assert (item.status, item.to_state) == (Status.DONE, state)
    assert state_of(saga) == state


def test_two_decisions_at_once_are_one(operator):
    saga = in_need_of_the_manager()
    mend(operator, saga, "write_off")
    response = operator.post(mend_url(saga, "try_again"), {"do": "1", "reason": "again"})
    assert "it does not wait for the manager" in as_text(response.content.decode())
    assert Mending.objects.count() == 1


def test_a_step_is_skipped_with_an_event_that_stands_in_for_the_answer(operator):
    saga = seat("TBL1", NOT_ON_ANY_MENU)
    html = operator.get(mend_url(saga, "skip")).content.decode()
    assert "PlaceOrder (dead)" in html
    [command] = re.findall(r'<option value="([0-9a-f-]{36})"', html)
    lines = [{"code": "pmghr", "size": "xl", "price": 1400, "currency": "EUR", "quantity": 1}]
    more = {
        "message": command,
        "event": "OrderPlaced",
        "payload": json.dumps({"table": "TBL1", "lines": lines}),
    }
    response = operator.post(mend_url(saga, "skip"), {"preview": "1", "reason": "", **more})
    assert "It goes from ordering to baking." in as_text(response.content.decode())
    assert state_of(saga) == ORDERING
    item = mend(operator, saga, "skip", "they told me", **more)
    assert item.status == Status.DONE
    testing.deliver(later=True)
    assert state_of(saga) == CLOSED


@pytest.mark.parametrize("payload", ['{"lines": 5}', "no json", '{"lines": [{"code": "pmghr"}]}'])
def test_a_stand_in_that_breaks_its_contract_is_refused(operator, payload):
    saga = seat("TBL1", NOT_ON_ANY_MENU)
    message = str(OutboxMessage.objects.get(saga_id=saga, type="PlaceOrder").pk)
    more = {"message": message, "event": "OrderPlaced", "payload": payload}
    response = operator.post(mend_url(saga, "skip"), {"do": "1", "reason": "so", **more})
    assert response.status_code == 200
    assert state_of(saga) == ORDERING
    assert not Mending.objects.exists()


# --- Dead messages --------------------------------------------------------------------------------


def order_of(code: str) -> str:
    return json.dumps({"menu": [], "wish": [{"quantity": 1, "code": code, "size": "xl"}]})


def edited(row: InboxMessage, code: str) -> str:
    """Its payload, with another pizza."""
    return json.dumps(row.message["payload"]).replace("nonesuch", code)


def test_a_dead_message_is_edited_sent_again_and_the_original_is_kept(operator):
    saga = seat("TBL1", NOT_ON_ANY_MENU)
    row = inbox_row(saga)
    payload = edited(row, "pmghr")
    assert "nonesuch" in operator.get(letter_url(row)).content.decode()
    data = {"action": "edit", "payload": payload, "reason": ""}
    text = as_text(operator.post(letter_url(row), {**data, "preview": "1"}).content.decode())
    assert "A new PlaceOrder goes to waiter; this one is settled, and kept." in text
    assert waits_for(saga) == ["dead"]
    operator.post(letter_url(row), {**data, "do": "1", "reason": "a typing mistake"})
    row.refresh_from_db()
    assert row.status == "ignored"
    assert "a typing mistake" in row.detail
    assert "nonesuch" in json.dumps(row.message)
    testing.deliver(later=True)
    assert state_of(saga) == CLOSED
    assert only_mending().status == Status.RECOVERED


def test_an_edit_that_breaks_the_contract_is_refused_with_what_is_wrong(operator):
    row = inbox_row(seat("TBL1", NOT_ON_ANY_MENU))
    for payload, why in {
        '{"wish": 5}': "Expected",
        "{": "This is no JSON",
        json.dumps(row.message["payload"] | {"wishes": []}): "has no field wishes",
    }.items():
        data = {"action": "edit", "payload": payload, "reason": "so", "do": "1"}
        assert why in as_text(operator.post(letter_url(row), data).content.decode())
    row.refresh_from_db()
    assert row.status == "dead"


def test_an_edit_that_would_fail_again_at_the_process_itself_is_foreseen_to(operator):
    row = inbox_row(seat("TBL1", NOT_ON_ANY_MENU))
    data = {"action": "edit", "payload": edited(row, "nothing"), "reason": "so", "do": "1"}
    operator.post(letter_url(row), data)
    testing.deliver()
    look()
    item = only_mending()
    assert item.status == Status.FAILED
    assert item.result.startswith("failed again: PlaceOrder: NotOnTheMenu: nothing xl")


def test_a_dead_message_is_discarded(operator):
    row = inbox_row(seat("TBL1", NOT_ON_ANY_MENU))
    operator.post(letter_url(row), {"action": "discard", "reason": "nobody is there", "do": "1"})
    row.refresh_from_db()
    assert row.status == "ignored"
    assert only_mending().status == Status.DONE


def test_a_group_of_dead_letters_is_redriven_as_it_was(operator):
    for number in range(3):
        seat(f"TBL{number}", NOT_ON_ANY_MENU)
    [group] = dead_letters.groups()
    assert "3 PlaceOrder" in text_of(operator, reverse("office:dead_letters"))
    assert "Redrive all of them" in text_of(operator, reverse("office:dead_group", args=[group.kind.key]))
    response = operator.post(reverse("office:redrive", args=[group.kind.key]))
    seat("LATER", NOT_ON_ANY_MENU)
    mending = prepared()
    assert response.url == reverse("admin:office_mending_change", args=[mending.pk])
    assert mending.total == 3
    text = text_of(operator, response.url)
    assert "dead letters: PlaceOrder at waiter.PlaceOrder: NotOnTheMenu" in text
    begin(operator, mending)
    testing.deliver(later=True)
    mending.refresh_from_db()
    assert mending.status == Mending.Status.HALTED
    assert statuses(mending) == {"failed": 1, "waiting": 2}


# --- Many -----------------------------------------------------------------------------------------


def cold_tables(count: int, cold_oven: ColdOven) -> list[UUID]:
    """So many processes with a dead DoPizza each."""
    sagas = []
    for number in range(count):
        cold_oven.victim = None
        sagas.append(spoil_a_pizza(f"TBL{number:02}"))
    return sagas


def test_many_are_retried_in_stages_one_then_ten_then_the_rest(operator, cold_oven, monkeypatch):
    sagas = cold_tables(15, cold_oven)
    cold_oven.cold = False
    batches = []
    begin_next = mendings._begin_next
    monkeypatch.setattr(
        mendings, "_begin_next", lambda mending, batch: (batches.append(batch), begin_next(mending, batch))
    )
    response = tick(operator, "retry", *sagas[:1], across=True, query="attention=dead")
    mending = prepared()
    assert response.url == reverse("admin:office_mending_change", args=[mending.pk])
    assert (mending.total, mending.scope) == (15, "all processes: which need attention: a message is dead")
    begin(operator, mending)
    testing.deliver(later=True)
    mending.refresh_from_db()
    assert mending.status == Mending.Status.FINISHED
    assert statuses(mending) == {"recovered": 15}
    assert batches == [1, 10, 100]
    assert all(state_of(saga) == CLOSED for saga in sagas)


def test_what_was_selected_is_frozen_when_it_is_prepared(operator, cold_oven):
    sagas = cold_tables(2, cold_oven)
    tick(operator, "retry", *sagas[:1], across=True, query="attention=dead")
    cold_oven.victim = None
    spoil_a_pizza("LATER")
    assert set(prepared().processes.values_list("process_id", flat=True)) == set(sagas)


def test_what_is_prepared_shows_count_filter_and_what_will_happen_and_does_nothing(operator, cold_oven):
    sagas = cold_tables(5, cold_oven)
    everything = tables()
    response = tick(operator, "retry", *sagas[:1], across=True, query="attention=dead&q=TBL")
    text = text_of(operator, response.url)
    assert "How many 5" in text
    assert "all processes: which need attention: a message is dead, found by “TBL”" in text
    assert text.count("sent again: ") == 3
    after = tables()
    for label in ("messaging.OutboxMessage", "messaging.InboxMessage", "orders.TableService"):
        assert after[label] == everything[label]


def test_it_halts_by_itself_where_one_fails_again_and_goes_on_when_told_to(operator, cold_oven):
    sagas = cold_tables(4, cold_oven)
    cold_oven.victim = None  # the first pizza that comes is spoiled again
    tick(operator, "retry", *sagas)
    mending = prepared()
    begin(operator, mending)
    testing.deliver()
    look()
    mending.refresh_from_db()
    assert mending.status == Mending.Status.HALTED
    assert statuses(mending) == {"failed": 1, "waiting": 3}
    text = text_of(operator, reverse("admin:office_mending_change", args=[mending.pk]))
    assert "It halted by itself: one did not recover." in text
    assert "Go on with the other 3" in text
    assert operator.post(reverse("admin:office_mending_resume", args=[mending.pk])).status_code == 302
    testing.deliver(later=True)
    mending.refresh_from_db()
    assert mending.status == Mending.Status.FINISHED
    assert statuses(mending) == {"failed": 1, "recovered": 3}


def test_it_is_stopped_and_what_was_begun_is_still_told(operator, cold_oven):
    sagas = cold_tables(3, cold_oven)
    cold_oven.cold = False
    tick(operator, "retry", *sagas)
    mending = prepared()
    begin(operator, mending)
    mendings.look(mending.pk)
    assert statuses(mending) == {"sent": 1, "waiting": 2}
    assert operator.post(reverse("admin:office_mending_stop", args=[mending.pk])).status_code == 302
    testing.deliver(later=True)
    mending.refresh_from_db()
    assert mending.status == Mending.Status.STOPPED
    assert mending.note == "stopped by admin"
    assert statuses(mending) == {"recovered": 1, "waiting": 2}


def test_those_that_there_is_nothing_to_do_for_are_told_and_do_not_count_as_a_stage(operator, cold_oven):
    cold_oven.cold = False
    closed = [seat(f"OLD{number}") for number in range(3)]
    testing.deliver(later=True)
    cold_oven.cold = True
    sagas = cold_tables(2, cold_oven)
    cold_oven.cold = False
    tick(operator, "retry", *closed, *sagas)
    begin(operator, mending := prepared())
    testing.deliver(later=True)
    mending.refresh_from_db()
    assert mending.status == Mending.Status.FINISHED
    assert statuses(mending) == {"recovered": 2, "refused": 3}


def test_many_are_cancelled_at_once(operator, cold_oven):
    sagas = cold_tables(3, cold_oven)
    tick(operator, "cancel", *sagas)
    begin(operator, mending := prepared(), "the oven has exploded")
    testing.deliver(later=True)
    assert statuses(mending) == {"done": 3}
    assert {state_of(saga) for saga in sagas} == {CALLED_OFF}


@pytest.mark.parametrize(
    "query", ["", "attention=", "attention=nonsense", "started_at_from_0=", "q=+", "o=1"]
)
def test_a_mending_of_all_without_a_filter_is_refused(operator, cold_oven, query):
    [saga] = cold_tables(1, cold_oven)
    response = tick(operator, "retry", saga, across=True, query=query)
    assert response.status_code == 302
    assert "there is no filter" in text_of(operator, PROCESSES)
    assert not Mending.objects.exists()


def test_more_than_ten_thousand_are_refused(operator, cold_oven, monkeypatch):
    monkeypatch.setattr(mendings, "MOST", 2)
    sagas = cold_tables(3, cold_oven)
    tick(operator, "retry", *sagas)
    assert "These are more than 2" in text_of(operator, PROCESSES)
    assert not Mending.objects.exists()


def test_what_was_prepared_and_left_is_gone_after_a_day(operator, cold_oven):
    [saga] = cold_tables(1, cold_oven)
    tick(operator, "retry", saga)
    left = prepared()
    Mending.objects.update(created_at=timezone.now() - timedelta(hours=25))
    tick(operator, "retry", saga)
    assert prepared() != left
    assert Mending.objects.count() == 1


def test_it_is_begun_once_whoever_presses_the_button(operator, cold_oven):
    tick(operator, "retry", *cold_tables(1, cold_oven))
    mending = prepared()
    begin(operator, mending, "first")
    begin(operator, mending, "second")
    mending.refresh_from_db()
    assert (mending.reason, mending.turn) == ("first", 1)
    assert OutboxMessage.objects.filter(type="MendOn").count() == 1


def test_an_old_look_after_it_was_told_to_go_on_does_nothing(operator, cold_oven):
    tick(operator, "retry", *cold_tables(2, cold_oven))
    begin(operator, mending := prepared())
    mendings.stop(mending, User.objects.get(username="admin"))
    mendings.resume(mending, User.objects.get(username="admin"))
    mendings.go_on(MendOn(mending.pk, turn=1))
    assert statuses(mending) == {"waiting": 2}
    testing.deliver()
    assert statuses(mending) != {"waiting": 2}


# --- Who did what, and who may --------------------------------------------------------------------


def test_who_did_what_why_and_what_came_of_it_is_in_the_audit_log(operator, admin_user, cold_oven):
    saga = spoil_a_pizza("TBL1")
    cold_oven.cold = False
    mend(operator, saga, reason="the oven is warm again")
    testing.deliver(later=True)
    settled, begun = LogEntry.objects.filter(object_id=str(saga)).order_by("-id")
    assert {settled.user, begun.user} == {admin_user}
    assert "by admin: the oven is warm again" in begun.change_message
    assert "Before: baking; DoPizza (dead: OSError: the oven is cold)" in begun.change_message
    assert "recovered" in settled.change_message
    assert "After: " in settled.change_message
    history = reverse("admin:office_process_history", args=[saga])
    assert "the oven is warm again" in text_of(operator, history)


def test_who_may_only_look_sees_no_buttons(onlooker, cold_oven):
    saga = spoil_a_pizza("TBL1")
    html = onlooker.get(page_of(saga)).content.decode()
    assert "DoPizza" in html
    assert "data-action" not in html
    assert 'value="retry"' not in onlooker.get(PROCESSES).content.decode()
    html = onlooker.get(letter_url(inbox_row(saga))).content.decode()
    assert "<form" not in html.partition('class="office"')[2]


@pytest.mark.parametrize("action", ACTIONS)
def test_a_forged_request_of_somebody_who_may_only_look_is_forbidden(onlooker, cold_oven, action):
    saga = spoil_a_pizza("TBL1")
    everything = tables()
    assert onlooker.get(mend_url(saga, action)).status_code == 403
    assert onlooker.post(mend_url(saga, action), {"do": "1", "reason": "so"}).status_code == 403
    row = inbox_row(saga)
    for what in ("edit", "redrive", "discard"):
        data = {"action": what, "do": "1", "reason": "so", "payload": "{}"}
        assert onlooker.post(letter_url(row), data).status_code == 403
    [group] = dead_letters.groups()
    assert onlooker.post(reverse("office:redrive", args=[group.kind.key])).status_code == 403
    assert tick(onlooker, action, saga).status_code == 403
    after = tables()
    assert {k: v for k, v in after.items() if v != everything[k]} == {}


def test_a_forged_beginning_of_what_somebody_else_has_prepared_is_forbidden(operator, onlooker, cold_oven):
    tick(operator, "retry", *cold_tables(1, cold_oven))
    mending = prepared()
    for name in ("begin", "stop", "resume"):
        url = reverse(f"admin:office_mending_{name}", args=[mending.pk])
        assert onlooker.post(url, {"reason": "so"}).status_code == 403
        assert operator.get(url).status_code == 405
    mending.refresh_from_db()
    assert mending.status == Mending.Status.DRAFT
    html = onlooker.get(reverse("admin:office_mending_change", args=[mending.pk])).content.decode()
    assert 'id="begin"' not in html


@pytest.mark.parametrize(
    ("permission", "actions"),
    [
        ("retry_process", ["retry"]),
        ("cancel_process", ["cancel"]),
        ("skip_process", ["skip"]),
        ("decide_process", []),
    ],
)
def test_each_kind_of_mending_has_a_permission_of_its_own(permission, actions, cold_oven):
    saga = spoil_a_pizza("TBL1")
    client = somebody("cook", permission)
    html = client.get(page_of(saga)).content.decode()
    assert re.findall(r'data-action="(\w+)"', html) == actions
    allowed = [action for action in ACTIONS if client.get(mend_url(saga, action)).status_code == 200]
    assert set(actions) <= set(allowed)
    assert len(allowed) == (2 if permission == "decide_process" else 1)


def test_a_mending_needs_a_post_with_its_token(admin_user, cold_oven):
    saga = spoil_a_pizza("TBL1")
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(mend_url(saga), {"do": "1", "reason": "so"}).status_code == 403
    assert "dead" in waits_for(saga)


def test_whoever_is_not_logged_in_mends_nothing(client, cold_oven):
    saga = spoil_a_pizza("TBL1")
    for url in (mend_url(saga), letter_url(inbox_row(saga)), reverse("office:queues")):
        assert client.post(url, {"do": "1", "reason": "so"}).url.startswith(reverse("admin:login"))
    assert "dead" in waits_for(saga)


def test_what_an_error_says_is_text_and_never_markup(operator):
    saga = seat("TBL1", MALICIOUS)
    mend(operator, saga, reason="<script>2</script>")
    testing.deliver()
    look()
    for url in (
        page_of(saga),
        mend_url(saga),
        PROCESSES,
        letter_url(inbox_row(saga)),
        reverse("office:dead_letters"),
        reverse("admin:office_mending_change", args=[Mending.objects.get().pk]),
        reverse("admin:office_process_history", args=[saga]),
    ):
        html = operator.get(url).content.decode()
        assert "&lt;script&gt;" in html, url
        assert "<script>1" not in html, url
        assert "<script>2" not in html, url


def test_an_unknown_process_or_message_is_not_an_error_of_ours(operator):
    for url in (page_of(uuid4()), mend_url(uuid4()), reverse("office:dead_message", args=[99])):
        assert operator.get(url).status_code == 404
    assert operator.get(reverse("office:dead_group", args=["nonsense"])).status_code == 404
    assert operator.get(mend_url(seat("TBL1"), "explode")).status_code == 404
