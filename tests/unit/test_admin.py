"""The admin's pages of the outbox and the inbox: who may look, and what there is to see."""

from html import unescape
from uuid import UUID, uuid4

import pytest
from django.urls import reverse

from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from tests.unit.office import MALICIOUS, NOT_ON_ANY_MENU, seat

pytestmark = [
    pytest.mark.django_db,
    # WhiteNoise says so where collectstatic never ran; the pages are the same.
    pytest.mark.filterwarnings("ignore:No directory at"),
]


@pytest.fixture(autouse=True)
def _house(settings):
    """One attempt, so that what fails is dead; pauses, so that messages wait for their time."""
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 1}
    settings.PIZZAHOUSE_PACE = 1.0


@pytest.mark.parametrize("name", ["office_process", "office_mending", "messaging_outboxmessage"])
def test_whoever_is_not_logged_in_is_asked_to(client, name):
    response = client.get(reverse(f"admin:{name}_changelist"))
    assert response.status_code == 302
    assert response.url.startswith(reverse("admin:login"))


@pytest.mark.parametrize("name", ["outboxmessage", "inboxmessage"])
def test_messages_are_found_by_their_id_their_saga_and_their_type(operator, name):
    first, _second = seat("TBL1"), seat("TBL2")
    message = OutboxMessage.objects.get(saga_id=first, type="ShowMenu")

    def found(wanted: object) -> list[tuple[str, UUID]]:
        response = operator.get(reverse(f"admin:messaging_{name}_changelist"), {"q": wanted})
        return [(row.type, row.saga_id) for row in response.context["cl"].result_list]

    assert found(message.pk) == found(message.pk.hex.upper()) == [("ShowMenu", first)]
    assert {saga for _type, saga in found(first)} == {first}
    assert [type_ for type_, _saga in found("ShowM")] == ["ShowMenu", "ShowMenu"]
    assert found(uuid4()) == []


def test_a_message_s_payload_error_and_traceback_can_be_read(operator):
    saga = seat("TBL1", NOT_ON_ANY_MENU)
    message = OutboxMessage.objects.get(saga_id=saga, type="PlaceOrder")
    put = operator.get(reverse("admin:messaging_outboxmessage_change", args=[message.pk]))
    assert '"code": "nonesuch",\n' in unescape(put.content.decode())
    claim = InboxMessage.objects.get(message_id=message.pk)
    handled = operator.get(reverse("admin:messaging_inboxmessage_change", args=[claim.pk]))
    text = unescape(handled.content.decode())
    assert "Traceback (most recent call last):\n" in text
    assert "NotOnTheMenu: nonesuch xl is not on the menu" in text
    assert '"code": "nonesuch",\n' in text
    assert str(message.pk) in text


def test_messages_are_read_only(operator):
    saga = seat("TBL1")
    message = OutboxMessage.objects.filter(saga_id=saga).latest("id")
    url = reverse("admin:messaging_outboxmessage_change", args=[message.pk])
    assert operator.post(url, {"destination": "kitchen"}).status_code == 403


def test_what_an_error_says_is_text_and_never_markup(operator):
    claim = InboxMessage.objects.get(saga_id=seat("TBL1", MALICIOUS), status="dead")
    assert "<script>1</script>" in claim.error
    html = operator.get(reverse("admin:messaging_inboxmessage_change", args=[claim.pk])).content.decode()
    assert "&lt;script&gt;1&lt;/script&gt;" in html
    assert "<script>1" not in html
