"""`/healthz` and `/readyz`: what they ask, what they say, and to whom."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from pizzahouse.messaging import health
from tests.unit import elsewhere
from tests.unit.postoffice import committed

AWAY = {
    "DATABASE_URL": "postgres://margherita:secret@127.0.0.1:1/nowhere",
    "RABBITMQ_URL": "amqp://margherita:secret@127.0.0.1:1/%2F",
}
ASK = """
import json
from django.core.management import call_command
from django.test import Client
client = Client(SERVER_NAME="localhost")

def ask(path):
    response = client.get(path)
    print(json.dumps([response.status_code, response.text]))

"""
Answer = tuple[int, str]


def answers(script: str, **variables: str) -> list[Answer]:
    """What a web process in this environment answers to what the script asks."""
    told = elsewhere.run(ASK + script, **variables)
    return [tuple(json.loads(line)) for line in told.splitlines() if line.startswith("[")]


def checks(answer: Answer) -> dict[str, Any]:
    """The findings of a page that says "not ready"."""
    status, text = answer
    page = json.loads(text)
    assert (status, page["status"]) == (503, "not ready")
    return dict(page["checks"])


# --- It lives -------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_whether_it_lives_asks_no_database() -> None:
    with CaptureQueriesContext(connection) as queries:
        assert Client().get("/healthz").status_code == 200
    assert len(queries) == 0


def test_it_lives_and_says_that_it_is_not_ready_while_both_servers_are_away() -> None:
    lives, ready = answers("ask('/healthz'); ask('/readyz')", **AWAY)
    assert lives[0] == 200
    found = checks(ready)
    assert found["database"]["ok"] is found["broker"]["ok"] is False
    assert "does not answer" in found["database"]["what"]
    assert "DATABASE_URL" in found["database"]["do"]
    assert "RabbitMQ does not answer" in found["broker"]["what"]
    assert "waits in the outbox" in found["broker"]["what"]
    for private in ("secret", "margherita", "nowhere", "127.0.0.1"):
        assert private not in lives[1] + ready[1]


# --- It is ready ----------------------------------------------------------------------------------


@committed
def test_it_is_ready_where_the_database_is_migrated_and_the_broker_embedded() -> None:
    response = Client().get("/readyz")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ready",
        "checks": {
            "database": {"ok": True, "what": "It answers, and is migrated."},
            "broker": {"ok": True, "what": "It is embedded, in this process."},
        },
    }


def test_it_is_not_ready_before_the_database_is_migrated_as_far_as_the_code(tmp_path: Path) -> None:
    script = """
ask("/readyz")
call_command("migrate", verbosity=0)
ask("/readyz")
call_command("migrate", "kitchen", "zero", verbosity=0)
ask("/readyz")
"""
    new, migrated, partly = answers(script, DATABASE_URL=f"sqlite:///{tmp_path / 'new.sqlite3'}")
    found = checks(new)["database"]
    assert "The database is not migrated: " in found["what"]
    assert " messaging." in found["what"]
    assert found["do"] == "Run: manage.py migrate"
    assert checks(new)["broker"]["ok"]
    assert migrated[0] == 200
    assert checks(partly)["database"]["what"].startswith("The database is not migrated: kitchen.")


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes calls and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def test_servers_that_say_nothing_are_not_waited_for(silent: int) -> None:
    [ready] = answers(
        "ask('/readyz')",
        DATABASE_URL=f"postgres://margherita:secret@127.0.0.1:{silent}/nowhere",
        RABBITMQ_URL=f"amqp://margherita:secret@127.0.0.1:{silent}/%2F",
    )
    found = checks(ready)
    assert found["database"]["what"] == "It said nothing for 2 s."
    assert found["broker"]["ok"] is False


def test_a_check_that_hangs_is_not_begun_again_by_each_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, begun = Event(), []

    def oven() -> health.Finding:
        begun.append(1)
        hangs.wait(30)
        return health.Finding(True, "It is hot.")

    monkeypatch.setattr(health, "SECONDS", 0.01)
    monkeypatch.setattr(health, "CHECKS", {"oven": oven})
    assert not health.readiness()["oven"].ok
    assert not health.readiness()["oven"].ok
    assert begun == [1]
    hangs.set()
    monkeypatch.setattr(health, "SECONDS", 30)
    assert health.readiness()["oven"].ok


def test_a_check_that_fails_says_so_and_keeps_to_itself_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def oven() -> health.Finding:
        raise ValueError("the code of the door is 4711")

    monkeypatch.setattr(health, "CHECKS", {"oven": oven})
    response = Client().get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"]["oven"]["what"] == "It could not be checked: ValueError."
    assert "4711" not in response.text
    assert "a check failed" in caplog.text


# --- Whoever asks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@committed
def test_they_answer_whatever_the_hosts_name_and_without_tls(path: str, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["pizza.example"]
    settings.SECURE_SSL_REDIRECT = True
    response = Client().get(path, headers={"Host": "10.0.0.7:8000"})
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert not response.cookies
    assert Client().head(path, headers={"Host": "10.0.0.7:8000"}).status_code == 200


@pytest.mark.parametrize("path", ["/healthz/", "/healthz/x", "/Healthz", "/readyz.json"])
def test_other_pages_are_not_theirs(path: str) -> None:
    assert Client().get(path).status_code == 404


def test_nobody_can_post_to_them() -> None:
    assert Client().post("/healthz").status_code == 404
