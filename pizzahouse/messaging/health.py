"""Whether this process lives (`/healthz`), and whether it can do its work (`/readyz`): for those who start,
stop and route by it. Both are open to everybody, so they name no address and no user: the log does."""

import threading
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from time import monotonic
from typing import NamedTuple

import dramatiq
import structlog
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from pizzahouse.messaging.broker import EmbeddedBroker, SafeRabbitmqBroker

log = structlog.get_logger(__name__)
SECONDS = 2.0  # for all checks together


class Finding(NamedTuple):
    """What a check has found."""

    ok: bool
    what: str
    do: str = ""  # what to do about it


# --- What is checked ------------------------------------------------------------------------------


def database() -> Finding:
    """Whether the database answers, and is migrated as far as this code is."""
    try:
        applied = MigrationRecorder(connection).applied_migrations()
    except DatabaseError as error:
        log.warning("not ready: the database", error=str(error).strip())
        return Finding(
            False,
            "The database does not answer, or refuses this user.",
            "Start it, or correct DATABASE_URL; the log of this process tells what it said.",
        )
    finally:
        connection.close()
    missing = [f"{app}.{name}" for app, name in _latest() if (app, name) not in applied]
    if missing:
        return Finding(
            False, f"The database is not migrated: {', '.join(missing)}.", "Run: manage.py migrate"
        )
    return Finding(True, "It answers, and is migrated.")


@cache
def _latest() -> list[tuple[str, str]]:
    return sorted(MigrationLoader(None).graph.leaf_nodes())


def broker() -> Finding:
    """Whether the broker answers."""
    used = dramatiq.get_broker()
    assert isinstance(used, (EmbeddedBroker, SafeRabbitmqBroker))
    if isinstance(used, EmbeddedBroker):
        return Finding(True, "It is embedded, in this process.")
    if used.depths(used.get_declared_queues()) is None:
        return Finding(
            False,
            "RabbitMQ does not answer, or refuses this user. What is put meanwhile waits in the outbox.",
            "Start it, or correct RABBITMQ_URL; the log of RabbitMQ tells whether it refused.",
        )
    return Finding(True, "It answers.")


CHECKS: dict[str, Callable[[], Finding]] = {"database": database, "broker": broker}


# --- All of them, in bounded time -----------------------------------------------------------------


class _Check(threading.Thread):
    """A check in a thread of its own: nothing else ends one that waits for a server which says nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name=f"ready-{name}", daemon=True)
        self.check = name
        self.finding: Finding | None = None

    def run(self) -> None:
        try:
            self.finding = CHECKS[self.check]()
        except Exception as error:
            log.exception("a check failed")
            self.finding = Finding(
                False, f"It could not be checked: {type(error).__name__}.", "Look at the log."
            )


_running: dict[str, _Check] = {}
_starting = threading.Lock()


def readiness() -> dict[str, Finding]:
    """All findings, within two seconds."""
    deadline = monotonic() + SECONDS
    checks = {name: _begin(name) for name in CHECKS}
    for check in checks.values():
        check.join(max(deadline - monotonic(), 0.0))
    silent = Finding(False, f"It said nothing for {SECONDS:g} s.", "See whether it hangs, and the way to it.")
    return {name: check.finding or silent for name, check in checks.items()}


def _begin(name: str) -> _Check:
    """A check that hangs is not begun a second time: whoever asks waits with the others."""
    with _starting:
        check = _running.get(name)
        if check is None or not check.is_alive():
            check = _running[name] = _Check(name)
            check.start()
        return check


# --- The pages ------------------------------------------------------------------------------------


def healthz(_request: HttpRequest) -> HttpResponse:
    """The process lives: it answers. It asks nobody, so that nobody restarts it because of another."""
    return HttpResponse("It lives.\n", "text/plain")


def readyz(_request: HttpRequest) -> HttpResponse:
    """Each check, and 503 where one has found something."""
    findings = readiness()
    ready = all(finding.ok for finding in findings.values())
    checks = {name: _told(finding) for name, finding in findings.items()}
    status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    return JsonResponse({"status": "ready" if ready else "not ready", "checks": checks}, status=status)


def _told(finding: Finding) -> dict[str, object]:
    told = finding._asdict()
    return told if finding.do else {name: told[name] for name in ("ok", "what")}


PAGES = {"/healthz": healthz, "/readyz": readyz}


class HealthMiddleware:
    """Answers both before anything else looks at the request: who probes a container names it by a number,
    speaks no TLS, and has no session."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        page = PAGES.get(request.path_info) if request.method in ("GET", "HEAD") else None
        if page is None:
            return self.get_response(request)
        response = page(request)
        response.headers["Cache-Control"] = "no-store"
        return response
