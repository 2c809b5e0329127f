"""The page of one process: what it tells, that it refreshes, and what can be taken from it."""

import re
from uuid import UUID

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse

from orders.contracts import StartTableService
from orders.table_service import CLOSED, TableService
from pizzahouse.messaging import testing
from pizzahouse.messaging.models import OutboxMessage
from tests.unit.office import (
    NOT_ON_ANY_MENU,
    mend,
    page_of,
    seat,
    somebody,
    spoil_a_pizza,
    state_of,
    text_of,
)

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


def live(client: Client, saga: UUID, token: str = "") -> str:
    response = client.get(reverse("admin:office_process_live", args=[saga]), {"token": token})
    assert response.status_code == 200
    return response.content.decode()


def token_in(html: str) -> str:
    [token] = re.findall(r"live/\?token=(\w+)", html)
    return token


def test_a_process_with_a_dead_message_says_why_it_waits(operator):
    saga = seat("TBL1", NOT_ON_ANY_MENU)
    html = operator.get(page_of(saga)).content.decode()
    [why] = re.findall(r'id="why".*?</', html, re.DOTALL)
    assert "PlaceOrder is dead" in why
    assert "NotOnTheMenu: nonesuch xl is not on the menu" in html
    assert "Traceback (most recent call last)" in html


def test_a_process_shows_all_that_happened_and_what_it_changed(operator):
    saga = seat("TBL1")
    testing.deliver(later=True)
    html = operator.get(page_of(saga)).content.decode()
    text = text_of(operator, page_of(saga))
    for step in ("start", "get menu", "show menu", "place order", "do pizzas", "show bill", "close"):
        assert f"{step}: " in text
    assert text.count("collect pizza: ") == 5
    assert "124.00 EUR went into the till" in text
    assert '<svg xmlns="http://www.w3.org/2000/svg" class="saga-diagram"' in html
    for message in OutboxMessage.objects.filter(saga_id=saga):
        assert str(message.pk) in html


def test_a_late_message_stands_in_the_timeline_as_ignored(operator):
    saga = seat("TBL1")
    testing.deliver(later=True)
    with transaction.atomic():
        again = TableService.begin(StartTableService(table="TBL1"))
        OutboxMessage.objects.filter(saga_id=again).update(saga_id=saga)
    testing.deliver()
    assert "nothing to do on StartTableService in state closed" in text_of(operator, page_of(saga))


def test_nothing_of_it_is_edited(operator):
    saga = seat("TBL1")
    for url in (page_of(saga), reverse("admin:office_process_delete", args=[saga])):
        operator.post(url, {"table": "TBL9", "post": "yes"})
    assert operator.post(reverse("admin:office_process_add"), {"table": "TBL9"}).status_code == 403
    assert list(TableService.objects.values_list("table", flat=True)) == ["TBL1"]


# --- While it is open -----------------------------------------------------------------------------


def test_what_has_not_changed_is_not_sent_again(operator):
    saga = spoilt = seat("TBL1", NOT_ON_ANY_MENU)
    token = token_in(operator.get(page_of(saga)).content.decode())
    html = live(operator, spoilt, token)
    assert token_in(html) == token
    assert 'id="why"' in html
    assert 'id="timeline"' not in html
    assert 'hx-swap-oob="true"' in html


def test_what_has_changed_is_sent_again(operator):
    saga = seat("TBL1")
    token = token_in(operator.get(page_of(saga)).content.decode())
    testing.deliver(later=True)
    html = live(operator, saga, token)
    assert token_in(html) != token
    for part in ("why", "state", "diagram", "timeline", "effects", "actions"):
        assert f'id="{part}"' in html
    assert f'data-state="{CLOSED}"' in html
    assert token_in(live(operator, saga, token_in(html))) == token_in(html)


def test_what_came_of_a_mending_is_seen_while_it_is_open(operator, cold_oven):
    saga = spoil_a_pizza("TBL1")
    cold_oven.cold = False
    mend(operator, saga)
    token = token_in(operator.get(page_of(saga)).content.decode())
    assert 'data-mending-status="sent"' in live(operator, saga, token)
    testing.deliver(later=True)
    assert 'data-mending-status="recovered"' in live(operator, saga, token)


def test_a_page_of_a_process_that_has_ended_looks_less_often(operator):
    saga = seat("TBL1")
    assert 'hx-trigger="every 2s"' in operator.get(page_of(saga)).content.decode()
    testing.deliver(later=True)
    assert 'hx-trigger="every 15s"' in operator.get(page_of(saga)).content.decode()


def test_who_may_not_look_at_it_is_refused_its_live_parts_and_its_test(client):
    saga = seat("TBL1")
    names = ("live", "test")
    for name in names:
        url = reverse(f"admin:office_process_{name}", args=[saga])
        assert client.get(url).url.startswith(reverse("admin:login"))
    stranger = somebody("stranger")
    from django.contrib.auth.models import User

    User.objects.get(username="stranger").user_permissions.clear()
    for url in (page_of(saga), *(reverse(f"admin:office_process_{name}", args=[saga]) for name in names)):
        assert stranger.get(url).status_code == 403


# --- What is taken from it ------------------------------------------------------------------------


def test_a_process_is_downloaded_as_a_test(onlooker):
    saga = seat("TBL1")
    testing.deliver(later=True)
    assert state_of(saga) == CLOSED
    response = onlooker.get(reverse("admin:office_process_test", args=[saga]))
    assert response["Content-Disposition"] == 'attachment; filename="test_table_service_closed.py"'
    text = response.content.decode()
    compile(text, "test_table_service_closed.py", "exec")
    assert "TBL1" not in text
    assert "def test_a_table_service_goes_as_it_went" in text


def test_a_process_whose_first_messages_were_pruned_says_that_it_makes_no_test(onlooker):
    saga = seat("TBL1")
    testing.deliver(later=True)
    OutboxMessage.objects.filter(saga_id=saga, type="StartTableService").delete()
    text = text_of(onlooker, reverse("admin:office_process_test", args=[saga]))
    assert "are not kept any more" in text
