"""System checks: each configuration that can lose messages is refused."""

from collections.abc import Iterator
from typing import Any

import dramatiq
import pytest
from django.core.checks import run_checks
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.middleware import Retries
from pytest_django import Settings

from pizzahouse.messaging import messages
from pizzahouse.messaging.broker import EmbeddedBroker, RelayMiddleware, SafeRabbitmqBroker
from pizzahouse.messaging.messages import Command

URL = "amqp://guest:guest@127.0.0.1:5672/%2F"


@pytest.fixture
def restore_broker() -> Iterator[None]:
    before = dramatiq.get_broker()
    yield
    dramatiq.set_broker(before)


def found() -> set[str | None]:
    return {each.id for each in run_checks() if (each.id or "").startswith("messaging.")}


def test_the_house_passes_its_checks() -> None:
    assert found() == set()


BROKERS: dict[str, tuple[Any, set[str]]] = {
    "ours": (lambda: SafeRabbitmqBroker(url=URL, middleware=[RelayMiddleware()]), set()),
    "ours, with quorum queues": (
        lambda: SafeRabbitmqBroker(url=URL, queue_type="quorum", middleware=[RelayMiddleware()]),
        set(),
    ),
    "ours, with a heartbeat of its own": (
        lambda: SafeRabbitmqBroker(url=f"{URL}?heartbeat=15", middleware=[RelayMiddleware()]),
        set(),
    ),
    "embedded": (lambda: EmbeddedBroker(middleware=[RelayMiddleware()]), set()),
    "dramatiq's own": (lambda: RabbitmqBroker(url=URL), {"messaging.E001"}),
    "no heartbeat": (
        lambda: SafeRabbitmqBroker(url=f"{URL}?heartbeat=0", middleware=[RelayMiddleware()]),
        {"messaging.E002"},
    ),
    "no timeout when blocked": (
        lambda: SafeRabbitmqBroker(url=f"{URL}?blocked_connection_timeout=0", middleware=[RelayMiddleware()]),
        {"messaging.E003"},
    ),
    "unknown queues": (
        lambda: SafeRabbitmqBroker(url=URL, queue_type="stream", middleware=[RelayMiddleware()]),
        {"messaging.E004"},
    ),
    "dramatiq's retries": (
        lambda: SafeRabbitmqBroker(url=URL, middleware=[RelayMiddleware(), Retries()]),
        {"messaging.E005"},
    ),
    "dramatiq's retries, embedded": (
        lambda: EmbeddedBroker(middleware=[RelayMiddleware(), Retries()]),
        {"messaging.E005"},
    ),
    "no relay": (lambda: SafeRabbitmqBroker(url=URL, middleware=[]), {"messaging.E006"}),
    "all at once": (
        lambda: SafeRabbitmqBroker(url=f"{URL}?heartbeat=0", queue_type="x", middleware=[Retries()]),
        {"messaging.E002", "messaging.E004", "messaging.E005", "messaging.E006"},
    ),
}


@pytest.mark.usefixtures("restore_broker")
@pytest.mark.parametrize(("make", "expected"), BROKERS.values(), ids=BROKERS)
def test_a_broker_that_can_lose_messages_is_refused(make: Any, expected: set[str]) -> None:
    dramatiq.set_broker(make())
    assert found() == expected


def database(settings: Settings, engine: str, **options: str) -> None:
    known = settings.DATABASES["default"]
    changed = {"ENGINE": f"django.db.backends.{engine}", "OPTIONS": options}
    settings.DATABASES = {"default": known | changed}


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
def test_sqlite_with_deferred_transactions_is_refused(settings: Settings) -> None:
    database(settings, "sqlite3")
    assert found() == {"messaging.E007"}


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
def test_sqlite_behind_rabbitmq_is_warned_of(settings: Settings) -> None:
    database(settings, "sqlite3", transaction_mode="IMMEDIATE")
    assert found() == set()
    settings.RABBITMQ_URL = URL
    assert found() == {"messaging.W001"}
    database(settings, "postgresql")
    assert found() == set()


def test_a_command_that_nobody_handles_is_refused() -> None:
    type("FlyToTheMoon", (Command,), {"__module__": "moon.contracts"})
    try:
        refused = [each for each in run_checks() if each.id == "messaging.E008"]
        assert [each.msg for each in refused] == ["Nobody handles the command FlyToTheMoon."]
        assert refused[0].hint is not None
        assert "@handles(FlyToTheMoon) in moon/actors.py" in refused[0].hint
    finally:
        del messages._contracts["FlyToTheMoon"]
    assert found() == set()


@pytest.mark.usefixtures("restore_broker")
@pytest.mark.parametrize("name", list(BROKERS)[4:-1])
def test_every_refusal_says_what_to_do(name: str) -> None:
    dramatiq.set_broker(BROKERS[name][0]())
    for each in run_checks():
        if (each.id or "").startswith("messaging."):
            assert each.hint
