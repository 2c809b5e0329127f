"""A house to look around: who is let in where, and what there is to see of its guests."""

import socket
from collections.abc import Callable

import pytest
from django.conf import settings as configured
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.db import OperationalError, transaction
from pytest_django import Settings

from kitchen.models import Stock
from orders import visitors, web
from orders.cli import Exit, Failed
from orders.contracts import Decide
from orders.management.commands import open_house
from orders.management.commands.open_house import Command, let_in, surviving, welcome, why_not
from orders.saga import find
from orders.simple_serving import SimpleServing
from orders.table_service import TableService
from orders.visitors import ROUND, Visitors, is_oven_cold, kind_of, last_number
from pizzahouse.messaging import outbox, outstanding
from pizzahouse.messaging.models import InboxMessage
from pizzahouse.messaging.testing import deliver, sent

Seat = Callable[[int], Visitors]


@pytest.fixture
def seat(db: None, settings: Settings, full_larder: None) -> Seat:
    """So many parties, who come, order and pay as far as they do."""
    settings.PIZZAHOUSE_COLD_OVEN = []

    def seat(parties: int) -> Visitors:
        guests = Visitors()
        for _ in range(parties):
            guests.seat()
        settle(guests)
        return guests

    return seat


def settle(guests: Visitors) -> None:
    """Deliver and answer until nobody says anything more."""
    before = -1
    while before != len(sent()):
        before = len(sent())
        deliver(later=True)
        guests.answer()


def process(number: int) -> TableService | SimpleServing:
    for scenario in (TableService, SimpleServing):
        if found := scenario._default_manager.filter(table=f"PARTY{number}").first():
            return found
    raise AssertionError(f"party {number} was not seated")


def number_of(text: str) -> int:
    """The first party of a kind, by a word of what it will do."""
    return next(number for number, kind in enumerate(ROUND, 1) if text in kind.will)


# --- The guests -----------------------------------------------------------------------------------


def test_most_guests_eat_and_pay(seat: Seat) -> None:
    seat(len(ROUND))
    ordinary = [number for number, kind in enumerate(ROUND, 1) if kind.will == "eat and pay"]
    assert len(ordinary) > len(ROUND) / 2
    assert {process(number).state for number in ordinary} == {"closed"}


def test_some_leave_and_some_only_come_to_the_counter(seat: Seat) -> None:
    seat(len(ROUND))
    assert process(number_of("leave")).state == "called_off"
    counter = process(number_of("counter"))
    assert isinstance(counter, SimpleServing)
    assert counter.state == "closed"


def test_who_cannot_pay_needs_the_manager_and_pays_once_he_has_decided(seat: Seat) -> None:
    guests = seat(number_of("cannot pay"))
    saga = process(guests.number)
    assert saga.state == "needs_manager"
    with transaction.atomic():
        outbox.put(Decide("retry", by="anna", reason="another card"), to=saga.address(), saga=saga.pk)
    settle(guests)
    assert process(guests.number).state == "closed"


def test_what_is_sold_out_is_ordered_and_something_else_is_served(seat: Seat) -> None:
    guests = seat(number_of(visitors.SCARCE))
    saga = process(guests.number)
    assert isinstance(saga, TableService)
    assert (saga.state, saga.round, saga.sold_out) == ("closed", 2, [visitors.SCARCE])


def test_what_is_on_no_menu_is_dead_until_somebody_mends_the_message(seat: Seat) -> None:
    saga = process(seat(number_of("on no menu")).number)
    [waiting] = [each for each in saga.waits_for() if each.type == "PlaceOrder"]
    assert waiting.why == outstanding.Why.DEAD


def test_the_kitchen_fails_at_a_dish_while_its_oven_is_cold(seat: Seat) -> None:
    guests = seat(number_of(visitors.COLD))
    saga = process(guests.number)
    assert saga.state == "baking"
    errors = InboxMessage.objects.filter(saga_id=saga.pk, status="dead").values_list("error", flat=True)
    assert set(errors) == {"OvenIsCold: the oven is too cold for pfngh"}

    while is_oven_cold(guests.number):
        guests.seat()
    outstanding.send_again(saga.pk)
    settle(guests)
    assert process(number_of(visitors.COLD)).state == "closed"


def test_an_oven_that_is_cold_anyway_stays_so(db: None, settings: Settings) -> None:
    settings.PIZZAHOUSE_COLD_OVEN = ["proma"]
    guests = Visitors()
    assert configured.PIZZAHOUSE_COLD_OVEN == ["proma", "pfngh"]
    while is_oven_cold(guests.number + 1):
        guests.number += 1
    guests.seat()
    assert configured.PIZZAHOUSE_COLD_OVEN == ["proma"]


def test_later_guests_go_on_counting_and_find_the_stock_as_it_is(seat: Seat) -> None:
    seat(3)
    Stock.objects.filter(code=visitors.SCARCE).update(left=9)
    assert last_number() == 3
    assert seat(1).number == 4
    assert Stock.objects.get(code=visitors.SCARCE).left == 9


def test_a_table_that_somebody_else_named_is_no_visitor(seat: Seat) -> None:
    with transaction.atomic():
        visitors.ROUND[0].arrives("PARTYANIMALS")
    deliver()
    assert seat(1).number == 1


def test_guests_whom_an_earlier_process_seated_are_answered(seat: Seat) -> None:
    number = number_of("leave")
    guests = Visitors()
    guests.number = number - 1
    guests.seat()
    deliver(later=True)
    assert process(number).state == "ordering"
    settle(Visitors())
    assert process(number).state == "called_off"


def test_a_number_tells_the_kind() -> None:
    assert kind_of(1) is kind_of(1 + len(ROUND)) is ROUND[0]
    assert kind_of(len(ROUND)) is ROUND[-1]


def test_all_that_is_started_is_a_process_of_its_own(seat: Seat) -> None:
    seat(len(ROUND))
    ids = {process(number).pk for number in range(1, len(ROUND) + 1)}
    assert len(ids) == len(ROUND)
    assert all(find(each) for each in ids)


# --- Where it is opened ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("debug", "https", "by_itself", "environment", "says"),
    [
        (False, False, True, {}, ""),
        (False, False, True, {"DJANGO_HTTPS": "false"}, ""),
        (True, False, False, {"DJANGO_DEBUG": "true", "DJANGO_SECRET_KEY": "x"}, ""),
        (False, False, True, {"DJANGO_DEBUG": "false"}, "DJANGO_DEBUG is false"),
        (False, False, True, {"DJANGO_SECRET_KEY": "x"}, "DJANGO_SECRET_KEY is set"),
        (False, False, True, {"DJANGO_ALLOWED_HOSTS": "x"}, "DJANGO_ALLOWED_HOSTS is set"),
        (False, False, False, {}, "a database or a broker is configured"),
        (False, True, True, {}, "DJANGO_HTTPS is on"),
        (True, True, False, {"DJANGO_DEBUG": "true"}, "DJANGO_HTTPS is on"),
    ],
)
def test_it_is_not_opened_where_it_looks_like_production(
    debug: bool, https: bool, by_itself: bool, environment: dict[str, str], says: str
) -> None:
    why = why_not(debug, https, by_itself, environment)
    assert says in why
    assert bool(why) == bool(says)


def test_a_port_that_is_taken_is_refused_with_what_to_type() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Failed, match=rf"Port {port} of 127\.0\.0\.1 is taken.*--port {port + 1}"):
            web.listen("127.0.0.1", port)


def test_a_host_that_is_not_here_is_refused() -> None:
    with pytest.raises(Failed, match=r"Nobody can listen at port 0 of 203\.0\.113\.1: "):
        web.listen("203.0.113.1", 0)


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")]
)
def test_the_address_is_one_that_a_browser_takes(host: str, shown: str) -> None:
    with web.listen("127.0.0.1", 0) as server:
        assert web.address_of(server, host) == f"http://{shown}:{server.server_port}"


@pytest.mark.parametrize(
    "wrong",
    [
        ("--port", "x"),
        ("--port", "65536"),
        ("--tables", "-1"),
        ("--tables", "all"),
        ("--user", ""),
        ("--user", "the manager"),
    ],
)
def test_wrong_options_are_refused(wrong: tuple[str, str]) -> None:
    parser = Command().create_parser("manage.py", "open_house")
    with pytest.raises(Failed) as refused:
        parser.parse_args([*wrong])
    assert refused.value.returncode == Exit.USAGE


# --- Who is let in --------------------------------------------------------------------------------


def test_the_password_is_new_each_time_and_good_while_the_house_is_open(db: None) -> None:
    passwords = []
    for _ in range(2):
        with let_in("manager") as password:
            user = authenticate(username="manager", password=password)
            assert user is not None
            assert user.is_superuser
            passwords.append(password)
        assert authenticate(username="manager", password=password) is None
    assert len({*passwords}) == 2
    assert User.objects.count() == 1


def test_somebody_else_of_this_name_keeps_the_password(db: None) -> None:
    User.objects.create_user("manager", password="secret")
    with pytest.raises(Failed, match="--user"), let_in("manager"):
        pass
    assert authenticate(username="manager", password="secret")


def test_user_and_address_are_said_at_once() -> None:
    said = welcome("http://127.0.0.1:8000", "manager", "basil")
    assert "http://127.0.0.1:8000/admin/office/process/" in said
    assert "manager" in said
    assert "basil" in said


def test_a_database_that_is_away_is_waited_for(
    db: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(open_house, "BUSY_SECONDS", 0.0)
    monkeypatch.setattr(open_house.connection, "close", lambda: None)  # the test's is needed further
    with surviving():
        raise OperationalError("the server closed the connection")
    assert "The guests wait for the database: the server closed" in capsys.readouterr().err
