"""The story of a table, told from what was handled so far."""

from io import StringIO
from uuid import UUID

import pytest
from rich.console import Console

from orders.story import Story
from pizzahouse.messaging.models import InboxMessage, OutboxMessage

pytestmark = pytest.mark.django_db
SAGA = UUID(int=1)


def handled(number: int, name: str, payload: dict[str, object] | None) -> None:
    """A message that was handled; without a payload its row in the outbox is gone."""
    message_id = UUID(int=number)
    InboxMessage.objects.create(message_id=message_id, handler="x", type=name, saga_id=SAGA, status="done")
    if payload is not None:
        OutboxMessage.objects.create(id=message_id, type=name, destination="x", payload=payload, saga_id=SAGA)


def test_each_message_is_told_once_and_what_has_no_story_is_passed_over() -> None:
    said = StringIO()
    with Story(SAGA, Console(file=said), Console(file=StringIO()), "StartTableService") as story:
        assert not story.go_on()
        handled(1, "StartTableService", {"table": "TBL1"})
        handled(2, "GetMenu", {})
        handled(3, "BillPaid", None)
        assert story.go_on()
        assert not story.go_on()
    assert said.getvalue().splitlines() == ["guests   sit down at TBL1"]


def test_a_pizza_that_is_done_before_the_order_was_seen_is_told_all_the_same() -> None:
    said = StringIO()
    with Story(SAGA, Console(file=said), Console(file=StringIO()), "StartTableService") as story:
        handled(1, "PizzaDone", {"kitchen_order_id": str(SAGA)})
        assert story.go_on()
    assert "a pizza is done" in said.getvalue()


def test_what_a_guest_typed_is_no_markup() -> None:
    said = StringIO()
    with Story(SAGA, Console(file=said), Console(file=StringIO()), "StartTableService") as story:
        handled(1, "DoPizza", {"code": "[red]", "size": "[/]"})
        assert story.go_on()
    assert "bakes [red] [/]" in said.getvalue()
