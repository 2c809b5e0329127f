"""The admin: what an operator sees of a process, and what *retry* does and says."""

import re
from datetime import timedelta
from html import unescape
from uuid import UUID, uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from kitchen import oven
from kitchen.models import KitchenOrder
from orders.contracts import StartTableService
from orders.saga import scenarios
from orders.table_service import BAKING, CLOSED, ORDERING, TableService
from pizzahouse.messaging import relay, testing
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.outbox import current_envelope
from waiter.contracts import Wish
from waiter.models import Deed

pytestmark = [
    pytest.mark.django_db,
    # WhiteNoise says so where collectstatic never ran; the pages are the same.
    pytest.mark.filterwarnings("ignore:No directory at"),
]

PROCESSES = reverse("admin:orders_tableservice_changelist")
NOT_ON_ANY_MENU = (Wish(1, "nonesuch", "xl"),)
MALICIOUS = (Wish(1, "<script>1</script>", "xl"),)


@pytest.fixture(autouse=True)
def _house(settings):
    """One attempt, so that what fails is dead; pauses, so that messages wait for their time."""
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 1}
    settings.PIZZAHOUSE_PACE = 1.0


@pytest.fixture
def operator(admin_user: User) -> Client:
    return logged_in(admin_user)


@pytest.fixture
def onlooker() -> Client:
    """Somebody who may view everything and change nothing."""
    user = User.objects.create_user("onlooker", password="secret", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    return logged_in(user)


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


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


@pytest.fixture
def cold_oven(monkeypatch) -> ColdOven:
    cold = ColdOven()
    monkeypatch.setattr(oven, "burns", cold.burns)
    return cold


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


def page_of(saga: UUID) -> str:
    return reverse("admin:orders_tableservice_change", args=[saga])


def retry_url(saga: UUID) -> str:
    return reverse("admin:orders_tableservice_retry", args=[saga])


def text_of(client: Client, url: str) -> str:
    response = client.get(url, follow=True)
    assert response.status_code == 200
    return as_text(response.content.decode())


def as_text(html: str) -> str:
    """A page as it is read."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", html)))


def retry(client: Client, *sagas: UUID) -> list[str]:
    """Retry these from the list; returns what it says."""
    data = {"action": "retry", "_selected_action": [str(saga) for saga in sagas]}
    response = client.post(PROCESSES, data, follow=True)
    return [str(message) for message in response.context["messages"]]


# --- Who may look, and what there is to see -------------------------------------------------------


@pytest.mark.parametrize("name", ["orders_tableservice", "messaging_outboxmessage"])
def test_whoever_is_not_logged_in_is_asked_to(client, name):
    response = client.get(reverse(f"admin:{name}_changelist"))
    assert response.status_code == 302
    assert response.url.startswith(reverse("admin:login"))


def test_whoever_is_not_logged_in_retries_nothing(client):
    saga = seat("TBL1", NOT_ON_ANY_MENU)
    response = client.post(retry_url(saga))
    assert response.url.startswith(reverse("admin:login"))
    assert not LogEntry.objects.exists()
    assert waits_for(saga) == ["dead"]


def test_every_scenario_has_its_list(operator):
    for scenario in scenarios():
        meta = scenario._meta
        url = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
        assert operator.get(url).status_code == 200


def test_the_list_shows_state_table_age_outcome_and_last_error(operator):
    seat("TBL1", NOT_ON_ANY_MENU)
    served = seat("TBL2")
    testing.deliver(later=True)
    assert state_of(served) == CLOSED
    text = text_of(operator, PROCESSES)
    assert "TBL1 ordering running" in text
    assert "PlaceOrder dead: NotOnTheMenu: nonesuch xl is not on the menu" in text
    assert re.search(r"TBL2 closed completed \d+ seconds?\b", text)


def test_the_age_is_told_in_human_words(operator):
    saga = seat("TBL1")
    for seconds, words in [
        (30, r"3\d seconds"),
        (7200, "2 hours"),
        (86400 * 45, "1 month, 2 weeks"),
    ]:
        TableService.objects.filter(pk=saga).update(started_at=timezone.now() - timedelta(seconds=seconds))
        assert re.search(f"TBL1 ordering running {words} ", text_of(operator, PROCESSES))


def test_processes_are_filtered_by_state_and_by_trouble(operator):
    seat("TBL1", NOT_ON_ANY_MENU)
    seat("TBL2")
    testing.deliver(later=True)
    assert "TBL1" in text_of(operator, f"{PROCESSES}?state={ORDERING}")
    assert "TBL2" not in text_of(operator, f"{PROCESSES}?state={ORDERING}")
    assert "TBL1" in text_of(operator, f"{PROCESSES}?trouble=dead")
    assert "TBL2" not in text_of(operator, f"{PROCESSES}?trouble=dead")
    assert "TBL1" not in text_of(operator, f"{PROCESSES}?trouble=failed")
    assert "dead, waits for a human (1)" in text_of(operator, f"{PROCESSES}?_facets=True")


def test_processes_are_found_by_table_and_by_id(operator):
    first, second = seat("TBL1"), seat("TBL2")
    assert str(first) in text_of(operator, f"{PROCESSES}?q=tbl1")
    assert str(second) not in text_of(operator, f"{PROCESSES}?q=tbl1")
    for written in (str(second), second.hex, f" {second} "):
        text = text_of(operator, f"{PROCESSES}?q={written}")
        assert "TBL2" in text
        assert "TBL1" not in text
    assert "0 table services" in text_of(operator, f"{PROCESSES}?q={uuid4()}")


def test_the_list_costs_the_same_number_of_statements_for_5_and_for_50_processes(operator):
    def statements() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            text = text_of(operator, PROCESSES)
        assert text.count("dead: NotOnTheMenu") == TableService.objects.count()
        return len(queries)

    for number in range(5):
        seat(f"TBL{number}", NOT_ON_ANY_MENU)
    few = statements()
    for number in range(5, 50):
        seat(f"TBL{number}", NOT_ON_ANY_MENU)
    assert statements() == few


# --- A process's page -----------------------------------------------------------------------------


def test_a_process_with_a_dead_message_shows_what_it_waits_for_and_why(operator):
    saga = seat("TBL1", NOT_ON_ANY_MENU)
    html = operator.get(page_of(saga)).content.decode()
    text = as_text(html)
    assert "PlaceOrder waiter dead: NotOnTheMenu: nonesuch xl is not on the menu" in text
    assert "Traceback (most recent call last)" in html.partition("<pre")[2]


def test_a_process_shows_its_whole_history_with_links_to_the_rows(operator):
    saga = seat("TBL1")
    testing.deliver(later=True)
    html = operator.get(page_of(saga)).content.decode()
    text = as_text(html)
    for step in (
        "start",
        "get_menu",
        "show_menu",
        "place_order",
        "do_pizzas",
        "show_bill",
        "close",
    ):
        assert f"transition {step} " in text
    assert text.count("event PizzaDone") == 5
    assert "serving → billing" in text
    assert "Nothing: all its messages were handled." in text
    links = re.findall(r'href="(/admin/messaging/\w+message/[^"]+)"', html)
    messages = OutboxMessage.objects.filter(saga_id=saga)
    assert all(any(str(message.pk) in link for link in links) for message in messages)
    handled = next(link for link in links if "inboxmessage/?q=" in link)
    put = next(link for link in links if "outboxmessage/" in link)
    assert "1 inbox message" in text_of(operator, handled)
    assert "what came of it" in text_of(operator, put)


def test_a_late_message_stands_in_the_history_as_ignored(operator):
    saga = seat("TBL1")
    testing.deliver(later=True)
    with transaction.atomic():
        again = TableService.begin(StartTableService(table="TBL1"))
        OutboxMessage.objects.filter(saga_id=again).update(saga_id=saga)
    testing.deliver()
    assert "nothing to do on StartTableService in state closed" in text_of(operator, page_of(saga))


def test_a_process_is_read_only(operator):
    saga = seat("TBL1")
    assert operator.post(page_of(saga), {"table": "TBL9"}).status_code == 403
    for what in ("add", "delete"):
        args = [saga] if what == "delete" else []
        url = reverse(f"admin:orders_tableservice_{what}", args=args)
        assert operator.post(url, {"post": "yes"}).status_code == 403
    assert TableService.objects.get(pk=saga).table == "TBL1"


def test_an_unknown_process_is_not_an_error_of_ours(operator):
    assert operator.get(page_of(uuid4())).status_code == 302
    assert operator.post(retry_url(uuid4())).status_code == 404


@pytest.mark.parametrize("where", ["list", "page", "inbox", "report"])
def test_what_an_error_says_is_text_and_never_markup(operator, where):
    saga = seat("TBL1", MALICIOUS)
    claim = InboxMessage.objects.get(saga_id=saga, status="dead")
    assert "<script>1</script>" in claim.error
    if where == "report":
        response = operator.post(retry_url(saga), follow=True)
    else:
        inbox_row = reverse("admin:messaging_inboxmessage_change", args=[claim.pk])
        response = operator.get({"list": PROCESSES, "page": page_of(saga), "inbox": inbox_row}[where])
    html = response.content.decode()
    assert "&lt;script&gt;1&lt;/script&gt;" in html
    assert "<script>1" not in html


# --- The outbox and the inbox ---------------------------------------------------------------------


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


# --- Retry ----------------------------------------------------------------------------------------


def test_retry_brings_a_process_to_its_end_once_the_cause_is_mended(operator, cold_oven):
    saga = spoil_a_pizza("TBL1")
    assert "DoPizza kitchen dead: OSError: the oven is cold" in text_of(operator, page_of(saga))
    cold_oven.cold = False
    [said] = retry(operator, saga)
    assert said.startswith("TBL1: handed to the relay again: DoPizza (dead: OSError: the oven is cold")
    assert state_of(saga) == BAKING
    testing.deliver(later=True)
    assert state_of(saga) == CLOSED
    assert Deed.objects.filter(visit=saga, kind=Deed.Kind.PIZZAS_SERVED).get().pizzas == 5
    assert "TBL1 closed completed" in text_of(operator, PROCESSES)
    assert "dead:" not in text_of(operator, PROCESSES)


def test_retry_while_the_cause_is_not_mended_says_only_what_is_sent_and_the_error_is_back(
    operator, cold_oven
):
    saga = spoil_a_pizza("TBL1")
    [said] = retry(operator, saga)
    assert said.startswith("TBL1: handed to the relay again: DoPizza (dead: OSError: the oven is cold")
    testing.deliver(later=True)
    assert state_of(saga) == BAKING
    assert InboxMessage.objects.get(saga_id=saga, status="dead").attempts == 2
    assert "DoPizza dead: OSError: the oven is cold" in text_of(operator, PROCESSES)
    assert text_of(operator, page_of(saga)).count("failure DoPizza") == 2


def test_the_button_on_the_page_does_the_same(operator, cold_oven):
    saga = spoil_a_pizza("TBL1")
    html = operator.get(page_of(saga)).content.decode()
    assert f'<form method="post" action="{retry_url(saga)}"' in html
    cold_oven.cold = False
    response = operator.post(retry_url(saga), follow=True)
    assert response.redirect_chain == [(page_of(saga), 302)]
    assert "TBL1: handed to the relay again: DoPizza (dead: " in as_text(response.content.decode())
    testing.deliver(later=True)
    assert state_of(saga) == CLOSED


def test_retry_says_of_each_process_what_it_did(operator, cold_oven):
    cold_oven.cold = False
    closed = seat("TBL1")
    testing.deliver(later=True)
    cold_oven.cold, cold_oven.victim = True, None
    lost = spoil_a_pizza("TBL2")
    dead = seat("TBL3", NOT_ON_ANY_MENU)
    choosing = seat("TBL4")
    said = sorted(retry(operator, closed, lost, dead, choosing))
    assert said[0] == "TBL1: nothing to send: it is closed"
    assert re.fullmatch(
        r"TBL2: handed to the relay again: DoPizza \(dead: OSError: the oven is cold\);"
        r" it also waits for .*PizzaDone \(due \d\d:\d\d:\d\d\)",
        said[1],
    )
    assert said[2] == (
        "TBL3: handed to the relay again: PlaceOrder (dead: NotOnTheMenu: nonesuch xl is not on the menu)"
    )
    assert re.fullmatch(r"TBL4: nothing to send: it waits for OrderPlaced \(due \d\d:\d\d:\d\d\)", said[3])


def test_retry_sends_again_what_the_broker_lost_and_what_it_never_had(operator):
    saga = seat("TBL1")
    testing.hand(testing.letters("OrderPlaced")[0])
    assert retry(operator, saga) == ["TBL1: handed to the relay again: 5 x DoPizza (not sent yet)"]
    relay.mark_sent([letter.envelope.message_id for letter in relay.take_pending(5)])
    [said] = retry(operator, saga)
    assert re.fullmatch(
        r"TBL1: handed to the relay again: 5 x DoPizza \(sent \d\d:\d\d:\d\d, not handled\)",
        said,
    )
    testing.deliver(later=True)
    assert state_of(saga) == CLOSED
    assert KitchenOrder.objects.count() == 5


def test_retry_does_not_wait_for_the_next_attempt_of_what_failed(operator, cold_oven, settings):
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 3, "RETRY_SECONDS": 3600}
    saga = spoil_a_pizza("TBL1")
    cold_oven.cold = False
    assert testing.deliver() == 0
    [said] = retry(operator, saga)
    assert "DoPizza (failed: OSError: the oven is cold" in said
    assert testing.deliver() == 1
    assert KitchenOrder.objects.filter(visit=saga).count() == 5


def test_a_process_that_waits_for_nothing_is_said_to_wait_for_nothing(operator):
    saga = seat("TBL1")
    OutboxMessage.objects.filter(saga_id=saga, type="OrderPlaced").delete()
    assert retry(operator, saga) == ["TBL1: nothing to send: all its messages were handled"]


def test_a_report_of_very_many_messages_stays_short(operator):
    saga = seat("TBL1", (Wish(12, "pmghr", "xl"),))
    testing.hand(testing.letters("OrderPlaced")[0])
    testing.deliver()
    for days, row in enumerate(OutboxMessage.objects.filter(type="PizzaDone"), 1):
        row.due_at = timezone.now() + timedelta(days=days)
        row.save()
    [said] = retry(operator, saga)
    assert re.fullmatch(
        r"TBL1: nothing to send: it waits for"
        r"( PizzaDone \(due \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\),){10} and 2 more",
        said,
    )


def test_what_was_sent_and_who_did_it_is_logged(operator, admin_user):
    dead, closed = seat("TBL1", NOT_ON_ANY_MENU), seat("TBL2")
    testing.deliver(later=True)
    said = retry(operator, dead, closed)
    for saga in (dead, closed):
        entry = LogEntry.objects.get(object_id=str(saga))
        assert entry.user == admin_user
        assert entry.get_edited_object() == TableService.objects.get(pk=saga)
        table = TableService.objects.get(pk=saga).table
        [report] = [text.partition(": ")[2] for text in said if text.startswith(table)]
        assert entry.get_change_message() == f"Retry: {report}"
    history = reverse("admin:orders_tableservice_history", args=[dead])
    assert "Retry: handed to the relay again: PlaceOrder (dead: " in text_of(operator, history)


# --- Who may retry --------------------------------------------------------------------------------


def test_who_may_only_look_sees_no_retry(onlooker):
    saga = seat("TBL1", NOT_ON_ANY_MENU)
    assert "Retry" not in onlooker.get(PROCESSES).content.decode()
    assert "PlaceOrder dead" in text_of(onlooker, PROCESSES)
    html = onlooker.get(page_of(saga)).content.decode()
    assert "NotOnTheMenu" in html
    assert "Retry" not in html
    assert retry_url(saga) not in html


def test_a_forged_retry_of_somebody_who_may_only_look_does_nothing(onlooker):
    saga = seat("TBL1", NOT_ON_ANY_MENU)
    assert onlooker.post(retry_url(saga)).status_code == 403
    assert retry(onlooker, saga) == []
    assert waits_for(saga) == ["dead"]
    assert not LogEntry.objects.exists()


def test_who_may_change_processes_may_retry_them_and_still_edits_nothing(onlooker):
    saga = seat("TBL1", NOT_ON_ANY_MENU)
    user = User.objects.get(username="onlooker")
    user.user_permissions.add(Permission.objects.get(codename="change_tableservice"))
    assert "Retry" in onlooker.get(PROCESSES).content.decode()
    assert onlooker.post(retry_url(saga)).status_code == 302
    assert waits_for(saga) == ["failed"]
    assert onlooker.post(page_of(saga), {"table": "TBL9"}).status_code == 403


def test_a_retry_needs_a_post_with_its_token(admin_user):
    saga = seat("TBL1", NOT_ON_ANY_MENU)
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(retry_url(saga)).status_code == 403
    assert client.get(retry_url(saga)).status_code == 405
    assert waits_for(saga) == ["dead"]
    token = re.search(
        r'id="retry"><input type="hidden" name="csrfmiddlewaretoken" value="(\w+)"',
        client.get(page_of(saga)).content.decode(),
    )
    assert token
    assert client.post(retry_url(saga), {"csrfmiddlewaretoken": token[1]}).status_code == 302
    assert waits_for(saga) == ["failed"]
