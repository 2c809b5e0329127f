"""What somebody types as a payload, and no database keeps."""

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from pizzahouse.messaging import testing
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from tests.unit.office import seat

pytestmark = pytest.mark.django_db
ODD = {
    "NUL": r'"\u0000"',
    "half a character": r'"\ud800"',
    "no number": "NaN",
    "infinite": "1e999",
    "many brackets": "[" * 100_000,
    "many levels": '{"a":' * 3000 + "1" + "}" * 3000,
    "many digits": "1" * 5000,
}


@pytest.mark.parametrize("do", [{"do": "1"}, {}], ids=["done", "previewed"])
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_an_odd_payload_is_refused_and_shown_again(
    operator: Client, settings: Settings, odd: str, do: dict[str, str]
) -> None:
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 1}
    settings.PIZZAHOUSE_PACE = 1.0
    seat("TBL1")
    OutboxMessage.objects.filter(type="OrderPlaced").update(payload={"lines": 5})
    testing.deliver(later=True)
    dead = InboxMessage.objects.get(status="dead")
    payload = f'{{"lines": [], "table": {odd}}}'
    asked = {"action": "edit", "payload": payload, "reason": "why not", **do}
    shown = operator.post(reverse("office:dead_message", args=[dead.pk]), asked)
    assert shown.status_code == 200
    assert b"This is no JSON" in shown.content
    dead.refresh_from_db()
    assert dead.status == "dead"
