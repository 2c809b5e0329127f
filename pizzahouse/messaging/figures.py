"""What the database knows, for Prometheus: asked when somebody looks, with a few statements that touch only
what is pending, failing, dead or running, never what is done with.

Whoever keeps more, such as sagas, adds a source of its own to `sources`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import structlog
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.models import Count, DurationField, ExpressionWrapper, Min, Q
from django.db.models.functions import Coalesce, Now
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from pizzahouse.messaging.messages import contracts
from pizzahouse.messaging.metrics import UNKNOWN
from pizzahouse.messaging.models import InboxMessage, OutboxMessage

log = structlog.get_logger(__name__)
MOST_ROWS = 100_000  # that one figure counts: what is more is shown as so many
STATEMENT_MILLISECONDS = 2000

Source = Callable[[], Iterable[GaugeMetricFamily]]
sources: list[Source] = []


class DatabaseCollector(Collector):
    """Asks every source. One that the database does not answer is left out; the others are told."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        _drop_what_is_lost()
        found: list[GaugeMetricFamily] = []
        up = True
        for source in sources:
            try:
                with _bounded():
                    found += [*source()]
            except DatabaseError as error:
                up = False
                log.warning(
                    "the database did not tell its figures", of=source.__name__, error=str(error).strip()
                )
                if _drop_what_is_lost():
                    break  # nobody is there: who asks for the page is not to wait for each of the others
        yield GaugeMetricFamily("messaging_database_up", "Whether the database told all its figures.", up)
        yield from found


def _drop_what_is_lost() -> bool:
    """Drop a connection that has ended unnoticed: a restart of the database is no outage. Tells whether there
    is none now."""
    if connection.connection is not None and not connection.is_usable():
        connection.close()
    return connection.connection is None


registry = CollectorRegistry(auto_describe=False)
registry.register(DatabaseCollector())


@contextmanager
def _bounded() -> Iterator[None]:
    """No statement takes longer than two seconds. SQLite knows no such bound, and would lock the database."""
    if connection.vendor != "postgresql":
        yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout TO {STATEMENT_MILLISECONDS}")
        yield


def source(function: Source) -> Source:
    """Make a function a source of figures. It is called within two seconds' patience for each statement."""
    sources.append(function)
    return function


@source
def outbox() -> Iterator[GaugeMetricFamily]:
    """What is not sent yet. A lease moves `available_at`, so a message's age is that of its due time."""
    unsent = OutboxMessage.objects.filter(sent_at=None, available_at__isnull=False).order_by("available_at")
    due = Q(due__lte=Now())
    age = ExpressionWrapper(Now() - Min("due", filter=due), output_field=DurationField())
    told = unsent.annotate(due=Coalesce("due_at", "created_at"))[:MOST_ROWS].aggregate(
        pending=Count("pk", filter=due), delayed=Count("pk", filter=~due), age=age
    )
    yield _gauge("outbox_pending", "Messages that are due and that no broker has confirmed.", told["pending"])
    yield _gauge("outbox_delayed", "Messages that are due later: pauses and deadlines.", told["delayed"])
    waited = told["age"].total_seconds() if told["age"] else 0.0
    yield _gauge("outbox_oldest_seconds", "For how long the oldest pending message has been due.", waited)


# The conditions are those of the partial indexes, word by word, so that they are used.
_FAILING = (
    f"SELECT type, attempts FROM {InboxMessage._meta.db_table}"
    f" WHERE status = 'failed' AND attempts > 0 LIMIT {MOST_ROWS}"  # without: a worker is just at it
)
_DEAD = f"SELECT type FROM {InboxMessage._meta.db_table} WHERE status = 'dead' LIMIT {MOST_ROWS}"


@source
def failures() -> Iterator[GaugeMetricFamily]:
    """What failed, by type: a type that is no contract's counts as "unknown"."""
    known = [contract.__name__ for contract in contracts()]
    failing, attempts, dead = Counter[str](), Counter[str](), Counter[str]()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT type, count(*), max(attempts) FROM ({_FAILING}) AS failing GROUP BY type")
        for name, count, most in cursor.fetchall():
            failing[_label(name, known)] += count
            attempts[_label(name, known)] = max(attempts[_label(name, known)], most)
        cursor.execute(f"SELECT type, count(*) FROM ({_DEAD}) AS dead GROUP BY type")
        for name, count in cursor.fetchall():
            dead[_label(name, known)] += count
    names = sorted([*known, UNKNOWN])
    yield by_label("messaging_failing", "Messages that failed and are tried again.", "type", names, failing)
    told = "Attempts of the failing message that was tried most often."
    yield by_label("messaging_failing_attempts", told, "type", names, attempts)
    yield by_label("messaging_dead", "Messages that are dead: they wait for a human.", "type", names, dead)


def _label(name: str, known: list[str]) -> str:
    return name if name in known else UNKNOWN


def _gauge(name: str, told: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"messaging_{name}", told, value)


def by_label(
    name: str, told: str, label: str, values: Iterable[str], counted: Mapping[str, int]
) -> GaugeMetricFamily:
    """A figure for each of these values of a label, 0 where nothing was counted."""
    family = GaugeMetricFamily(name, told, labels=[label])
    for value in values:
        family.add_metric([value], counted.get(value, 0))
    return family
