"""A saga lives longer than the code it began with: what an older process has said is understood by a newer
one, and the other way round."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from uuid_utils.compat import uuid7

from kitchen.contracts import DoPizza, PizzaDone, PizzaRefused
from kitchen.models import KitchenOrder
from menu import contracts as menu
from orders.contracts import StartTableService, TableServiceStarted
from orders.saga import COMPLETED
from orders.table_service import BILLING, CLOSED, GETTING_MENU, NEEDS_MANAGER, TableService
from pizzahouse.messaging import handling, outbox, relay
from pizzahouse.messaging.messages import Message, decode
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.testing import deliver, hand, sent
from waiter import contracts as waiter
from waiter.models import Bill, Deed, Till

pytestmark = pytest.mark.django_db

Payload = dict[str, Any]
PIZZA = "01980000-0000-7000-8000-000000000001"
OFFER = {"code": "pmghr", "name": "Pizza Margherita", "size": "xl", "price": 1400, "currency": "EUR"}
LINE = {"quantity": 1, "code": "pmghr", "size": "xl", "price": 1400, "currency": "EUR"}
WISH = {"quantity": 1, "code": "pmghr", "size": "xl"}

# What was said at a table when guests were never asked in person and nothing was ever sold out.
RECORDED: dict[str, Payload] = {
    "StartTableService": {"table": "TBL1", "wish": [WISH]},
    "TableServiceStarted": {"table": "TBL1"},
    "GetMenu": {},
    "MenuGot": {"menu": [OFFER]},
    "ShowMenu": {"table": "TBL1", "menu": [OFFER]},
    "MenuShown": {"table": "TBL1", "menu": [OFFER]},
    "PlaceOrder": {"table": "TBL1", "menu": [OFFER], "wish": [WISH]},
    "OrderPlaced": {"table": "TBL1", "lines": [LINE]},
    "DoPizza": {"kitchen_order_id": PIZZA, "code": "pmghr", "size": "xl"},
    "PizzaDone": {"kitchen_order_id": PIZZA},
    "ServePizzas": {"table": "TBL1", "pizzas": 1},
    "PizzasServed": {"table": "TBL1"},
    "ShowBill": {"table": "TBL1", "bill": {"EUR": 1400}},
    "BillPaid": {"table": "TBL1", "bill": {"EUR": 1400}},
    "ThankClient": {"table": "TBL1"},
    "ClientThanked": {"table": "TBL1"},
}
ADDED_SINCE = {"in_person", "sold_out"}

EUR = {"EUR": 1400}
MARGHERITA = ("pmghr", "Pizza Margherita", "xl", 1400, "EUR")
SEEN = (waiter.Offer(*MARGHERITA, sold_out=False),)
WISHED = (waiter.Wish(1, "pmghr", "xl"),)
UNDERSTOOD: list[Message] = [
    StartTableService("TBL1", wish=WISHED, in_person=False),
    TableServiceStarted("TBL1"),
    menu.GetMenu(sold_out=()),
    menu.MenuGot((menu.Offer(*MARGHERITA, sold_out=False),)),
    waiter.ShowMenu("TBL1", SEEN),
    waiter.MenuShown("TBL1", SEEN),
    waiter.PlaceOrder("TBL1", SEEN, wish=WISHED, in_person=False),
    waiter.OrderPlaced("TBL1", (waiter.OrderLine(1, "pmghr", "xl", 1400, "EUR"),)),
    DoPizza(UUID(PIZZA), "pmghr", "xl"),
    PizzaDone(UUID(PIZZA)),
    waiter.ServePizzas("TBL1", pizzas=1),
    waiter.PizzasServed("TBL1"),
    waiter.ShowBill("TBL1", EUR, in_person=False),
    waiter.BillPaid("TBL1", EUR),
    waiter.ThankClient("TBL1"),
    waiter.ClientThanked("TBL1"),
]


# --- An evening, message by message ---------------------------------------------------------------


def start() -> UUID:
    with transaction.atomic():
        return TableService.begin(StartTableService("TBL1", wish=WISHED))


def waiting() -> list[OutboxMessage]:
    """What is not delivered yet, oldest first, but for deadlines."""
    return list(OutboxMessage.objects.filter(sent_at=None).exclude(type="DeadlinePassed").order_by("id"))


def play(*, until: str = "", old: int = 100) -> dict[str, Payload]:
    """Deliver one message after the other until there is none, or one of this type; the first so many as an
    older process would have put them. Returns what was delivered, by type."""
    said: dict[str, Payload] = {}
    while (rows := waiting()) and rows[0].type != until:
        row = rows[0]
        if row.type == "MenuGot":  # one line, as recorded
            row.payload = {"menu": row.payload["menu"][:1]}
        if len(said) < old:
            row.payload = in_old_form(row.payload)
        row.save(update_fields=["payload"])
        said[row.type] = row.payload
        hand(relay.letter_of(row))
        relay.mark_sent([row.id])
    return said


def in_old_form(value: Any) -> Any:
    """Without the fields that were added since."""
    if isinstance(value, dict):
        return {name: in_old_form(each) for name, each in value.items() if name not in ADDED_SINCE}
    return [in_old_form(each) for each in value] if isinstance(value, list) else value


def served(saga_id: UUID) -> None:
    """The saga has ended well, and everything was done once."""
    saga = TableService.objects.get(pk=saga_id)
    assert (saga.state, saga.outcome, saga.waits_for()) == (CLOSED, COMPLETED, [])
    bill = Bill.objects.get(visit=saga_id)
    assert bill.amounts == EUR
    assert bill.paid_at is not None
    assert Till.objects.get(pk="EUR").amount == 1400
    assert KitchenOrder.objects.filter(visit=saga_id).count() == 1
    deeds = sorted(Deed.objects.filter(visit=saga_id).values_list("kind", flat=True))
    assert deeds == ["client_thanked", "menu_shown", "order_taken", "pizzas_served"]
    assert not InboxMessage.objects.exclude(status__in=["done", "ignored"]).exists()


# --- What an older process has said ---------------------------------------------------------------


@pytest.mark.parametrize(("name", "message"), [*zip(RECORDED, UNDERSTOOD, strict=True)], ids=[*RECORDED])
def test_what_was_recorded_is_still_understood(name: str, message: Message) -> None:
    assert decode(name, RECORDED[name]) == message


@pytest.mark.parametrize(
    ("name", "payload", "message"),
    [
        ("StartTableService", {"table": "TBL1"}, StartTableService("TBL1", wish=(), in_person=False)),
        ("PlaceOrder", {"table": "TBL1", "menu": [OFFER]}, waiter.PlaceOrder("TBL1", SEEN, wish=())),
    ],
)
def test_a_wish_that_was_not_there_yet_is_none(name: str, payload: Payload, message: Message) -> None:
    assert decode(name, payload) == message


def test_an_evening_of_old_messages_ends_with_the_bill_paid() -> None:
    saga_id = start()
    said = play()
    pizza = str(KitchenOrder.objects.get(visit=saga_id).pk)
    assert {name: with_pizza(payload, PIZZA) for name, payload in said.items()} == RECORDED
    assert said["DoPizza"]["kitchen_order_id"] == said["PizzaDone"]["kitchen_order_id"] == pizza
    served(saga_id)


def with_pizza(payload: Payload, pizza: str) -> Payload:
    """The same of another pizza."""
    return payload | {"kitchen_order_id": pizza} if "kitchen_order_id" in payload else payload


@pytest.mark.parametrize("old", range(len(RECORDED)))
def test_a_deploy_may_come_between_any_two_messages(old: int) -> None:
    saga_id = start()
    play(old=old)
    served(saga_id)


def test_an_old_message_at_the_broker_is_handled_when_the_newer_workers_take_it() -> None:
    saga_id, start_id = uuid7(), uuid7()
    envelope = {
        "message_id": str(start_id),
        "type": "StartTableService",
        "destination": "orders.table_service",
        "saga": str(saga_id),
        "created_at": "2026-01-02T03:04:05.678901Z",
    }
    OutboxMessage.objects.create(  # its row, sent long ago
        id=start_id,
        type="StartTableService",
        destination="orders.table_service",
        saga_id=saga_id,
        payload=RECORDED["StartTableService"],
        sent_at="2026-01-02T03:04:06Z",
        sends=1,
        available_at=None,
    )
    actor = handling.handlers()["orders.table_service.StartTableService"]
    handling.deliver(actor, envelope=envelope, payload=RECORDED["StartTableService"])
    play()
    served(saga_id)


def test_an_old_message_that_had_failed_is_handled_at_its_next_attempt() -> None:
    saga_id = start()
    play(until="PlaceOrder")
    (place_order,) = waiting()
    relay.mark_sent([place_order.id])
    InboxMessage.objects.create(
        message_id=place_order.id,
        handler="waiter.PlaceOrder",
        type="PlaceOrder",
        saga_id=saga_id,
        status="failed",
        next_attempt_at=timezone.now(),
        message={
            "envelope": {
                "message_id": str(place_order.id),
                "type": "PlaceOrder",
                "destination": "waiter",
                "reply_to": "orders.table_service",
                "saga": str(saga_id),
            },
            "payload": RECORDED["PlaceOrder"],
        },
    )
    deliver(later=True)
    served(saga_id)


# --- Months later ---------------------------------------------------------------------------------

MONTHS = timedelta(days=90)


def set_back(saga_id: UUID) -> None:
    """As if all that had happened so far had happened long ago."""
    TableService.objects.filter(pk=saga_id).update(
        started_at=F("started_at") - MONTHS,
        updated_at=F("updated_at") - MONTHS,
        deadline_at=F("deadline_at") - MONTHS,
    )
    OutboxMessage.objects.update(
        created_at=F("created_at") - MONTHS,
        due_at=F("due_at") - MONTHS,
        available_at=F("available_at") - MONTHS,
        sent_at=F("sent_at") - MONTHS,
    )
    InboxMessage.objects.update(handled_at=F("handled_at") - MONTHS)


def billed_long_ago() -> UUID:
    """A table whose bill was shown months ago. That it was paid is not said yet."""
    saga_id = start()
    play(until="BillPaid")
    set_back(saga_id)
    assert TableService.objects.get(pk=saga_id).state == BILLING
    return saga_id


def pay(saga_id: UUID) -> None:
    """An older process says that the bill is paid."""
    (row,) = waiting()
    assert (row.type, row.payload) == ("BillPaid", RECORDED["BillPaid"])
    assert row.saga_id == saga_id
    play()


def test_a_bill_that_is_paid_after_months_closes_the_table() -> None:
    saga_id = billed_long_ago()
    pay(saga_id)
    served(saga_id)


def test_a_table_that_was_billed_before_there_were_deadlines_goes_on() -> None:
    saga_id = billed_long_ago()
    TableService.objects.filter(pk=saga_id).update(deadline=None, deadline_at=None)
    OutboxMessage.objects.filter(type="DeadlinePassed").delete()
    pay(saga_id)
    served(saga_id)


def test_a_deadline_that_passed_months_ago_and_comes_after_the_payment_changes_nothing() -> None:
    saga_id = billed_long_ago()
    (deadline,) = OutboxMessage.objects.filter(type="DeadlinePassed", sent_at=None)
    pay(saga_id)
    hand(relay.letter_of(deadline))
    served(saga_id)
    assert InboxMessage.objects.get(message_id=deadline.id).status == "ignored"


def test_a_bill_that_is_paid_after_the_manager_was_called_closes_the_table() -> None:
    saga_id = billed_long_ago()
    for _ in range(2):  # the first asks again, the second calls
        (deadline,) = OutboxMessage.objects.filter(type="DeadlinePassed", sent_at=None)
        hand(relay.letter_of(deadline))
        relay.mark_sent([deadline.id])
    assert TableService.objects.get(pk=saga_id).state == NEEDS_MANAGER
    pay(saga_id)
    served(saga_id)


# --- What a newer process says to an older one ----------------------------------------------------


def hand_as(name: str, payload: Payload, **envelope: str) -> InboxMessage:
    """Deliver a waiting message of this type as a newer process would have put it; what came of it."""
    (row,) = [each for each in waiting() if each.type == name]
    letter = relay.letter_of(row)
    known = {"message_id": str(row.id), "type": name, "destination": row.destination}
    known |= {"reply_to": row.reply_to, "saga": str(row.saga_id)}
    handler = handling.handlers()[letter.envelope.actor_name]
    handling.deliver(handler, envelope=known | envelope, payload=payload)
    relay.mark_sent([row.id])
    return InboxMessage.objects.get(message_id=row.id)


def test_fields_of_a_newer_process_are_left_out_and_not_passed_on() -> None:
    saga_id = start()
    play(until="MenuGot")
    newer = OFFER | {"sold_out": False, "vegan": True}
    assert hand_as("MenuGot", {"menu": [newer], "season": "autumn"}, priority="high").status == "done"
    assert sent("ShowMenu", saga=saga_id) == [waiter.ShowMenu("TBL1", SEEN)]
    assert OutboxMessage.objects.get(type="ShowMenu").payload == {
        "table": "TBL1",
        "menu": [OFFER | {"sold_out": False}],
    }
    play()
    served(saga_id)


def test_a_value_that_an_older_process_does_not_know_is_dead_and_the_saga_waits() -> None:
    saga_id = start()
    play(until="PizzaDone")
    (done,) = waiting()
    payload = {"kitchen_order_id": done.payload["kitchen_order_id"], "code": "pmghr", "reason": "dropped"}
    with transaction.atomic():
        known = PizzaRefused(UUID(payload["kitchen_order_id"]), "pmghr", "burned")
        outbox.put(known, to=TableService.address(), saga=saga_id)
    refused = hand_as("PizzaRefused", payload)
    assert refused.status == "dead"
    assert "Invalid enum value 'dropped'" in refused.error
    assert refused.message is not None
    assert refused.message["payload"] == payload  # for the code that knows it
    assert TableService.objects.get(pk=saga_id).state == "baking"


def test_a_saga_that_asks_for_a_menu_gets_an_older_modules_answer() -> None:
    saga_id = start()
    play(until="MenuGot", old=0)
    assert TableService.objects.get(pk=saga_id).state == GETTING_MENU
    assert hand_as("MenuGot", RECORDED["MenuGot"]).status == "done"
    play(old=0)
    served(saga_id)
