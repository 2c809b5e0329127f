"""The manager's office as tests use it: people who log in, parties that are seated, and a cold oven."""

import re
from html import unescape
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from orders.contracts import StartTableService
from orders.office.models import Mended, Mending
from orders.table_service import BAKING, TableService
from pizzahouse.messaging import testing
from pizzahouse.messaging.outbox import current_envelope
from waiter.contracts import Wish

PROCESSES = reverse("admin:office_process_changelist")
NOT_ON_ANY_MENU = (Wish(1, "nonesuch", "xl"),)
MALICIOUS = (Wish(1, "<script>1</script>", "xl"),)


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def somebody(name: str, *permissions: str) -> Client:
    """Somebody who may view everything, and do this ("retry_process")."""
    user = User.objects.create_user(name, password="secret", is_staff=True)
    views = Permission.objects.filter(codename__startswith="view_")
    user.user_permissions.set([*views, *Permission.objects.filter(codename__in=permissions)])
    return logged_in(user)


# --- Tables ---------------------------------------------------------------------------------------


def seat(table: str, wish: tuple[Wish, ...] = ()) -> UUID:
    """A party at this table, waited on until something has to wait for its time, or is dead."""
    with transaction.atomic():
        saga = TableService.begin(StartTableService(table=table, wish=wish))
    testing.deliver()
    return saga


class ColdOven:
    """An oven in which the first pizza that comes cannot be baked, until somebody heats it."""

    def __init__(self) -> None:
        self.cold = True
        self.victim: UUID | None = None

    def burns(self) -> bool:
        envelope = current_envelope()
        assert envelope is not None
        self.victim = self.victim or envelope.message_id
        if self.cold and envelope.message_id == self.victim:
            raise OSError("the oven is cold")
        return False


def spoil_a_pizza(table: str) -> UUID:
    """A process with a dead DoPizza, in a cold oven."""
    saga = seat(table)
    [order_placed] = [each for each in testing.letters("OrderPlaced") if each.envelope.saga == saga]
    testing.hand(order_placed)
    testing.deliver()
    assert state_of(saga) == BAKING
    return saga


def waits_for(saga: UUID) -> list[str]:
    return [each.why for each in TableService.objects.get(pk=saga).waits_for()]


def state_of(saga: UUID) -> str:
    return TableService.objects.get(pk=saga).state


# --- Pages ----------------------------------------------------------------------------------------


def page_of(saga: UUID) -> str:
    return reverse("admin:office_process_change", args=[saga])


def mend_url(saga: UUID, action: str = "retry") -> str:
    return reverse("admin:office_process_mend", args=[saga, action])


def text_of(client: Client, url: str) -> str:
    response = client.get(url, follow=True)
    assert response.status_code == 200, response.status_code
    return as_text(response.content.decode())


def as_text(html: str) -> str:
    """A page as it is read."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", html)))


# --- Mending --------------------------------------------------------------------------------------


def mend(client: Client, saga: UUID, action: str = "retry", reason: str = "mended", **more: Any) -> Mended:
    """Mend a process as its page does; returns what is known of it by then."""
    response = client.post(mend_url(saga, action), {"do": "1", "reason": reason, **more})
    assert response.status_code == 302, as_text(response.content.decode())
    return Mended.objects.latest("id")


def tick(client: Client, action: str, *sagas: UUID, across: bool = False, query: str = "") -> HttpResponse:
    """Choose an action of the list, for these, or for all that its filter finds."""
    data = {"action": action, "_selected_action": [str(saga) for saga in sagas]}
    if across:
        data["select_across"] = "1"
    response: Any = client.post(f"{PROCESSES}?{query}", data)
    return response


def prepared() -> Mending:
    """The mending that was prepared last."""
    return Mending.objects.latest("id")


def begin(client: Client, mending: Mending, reason: str = "the oven is warm") -> None:
    url = reverse("admin:office_mending_begin", args=[mending.pk])
    assert client.post(url, {"reason": reason}).status_code == 302


def statuses(mending: Mending) -> dict[str, int]:
    """How many items there are by status."""
    found = list(mending.processes.values_list("status", flat=True))
    return {status: found.count(status) for status in sorted(set(found))}
