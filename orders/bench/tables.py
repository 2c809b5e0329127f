"""The driver in the bench's house: serves tables, and looks at them with one cheap query at a time."""

import os
import time
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import dramatiq
from django.db import connection, transaction
from django.db.models import Count, Max, Min

from orders.bench import cpu, load
from orders.bench.figures import Cpu, Driven, Durations, Plan, percentiles
from orders.bench.servers import broker_port
from orders.bench.wire import Wire
from orders.cli import Exit, Failed, note_console
from orders.contracts import StartTableService
from orders.saga import COMPLETED
from orders.table_service import TableService
from pizzahouse.messaging import relay, testing
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from waiter.contracts import Wish

KINDS = (("pmghr", "xl"), ("pamat", "xxl"), ("proma", "xl"))
COUNTED = 5  # sagas
BROKER_SECONDS = 10.0


def begin(pizzas: int) -> UUID:
    """Start a saga: a table that orders so many pizzas."""
    share, rest = divmod(pizzas, len(KINDS))
    quantities = [share + (place < rest) for place in range(len(KINDS))]
    wish = tuple(Wish(n, *kind) for n, kind in zip(quantities, KINDS, strict=True) if n)
    with transaction.atomic():
        return TableService.begin(StartTableService(table="BENCH", wish=wish))


def count_statements(plan: Plan) -> float:
    """SQL statements per message: some sagas are handled here, message by message, without workers."""
    connection.close()
    wire, statements, messages = Wire(), 0, 0
    for _ in range(COUNTED):
        begin(plan.pizzas)
        while letters := relay.take_pending(testing.MANY):
            for letter in letters:
                before = wire.statements()
                testing.hand(letter)
                statements += wire.statements() - before
                messages += 1
    return statements / messages


def drive(plan: Plan, workers: Sequence[int]) -> Driven:
    """Serve the tables of the plan. workers: their process groups."""
    connection.close()
    wire = Wire()
    local = relay.start(dramatiq.get_broker().publisher())  # type: ignore[attr-defined]
    try:
        _wait_for(local)
        return _Driver(plan, wire).run(workers)
    finally:
        relay.stop()


def _wait_for(local: relay.Relay) -> None:
    deadline = time.monotonic() + BROKER_SECONDS
    while not local.publisher.ready:
        if time.monotonic() > deadline:
            raise Failed("RabbitMQ does not answer any more.", Exit.UNREACHABLE)
        time.sleep(0.02)


class _Times(NamedTuple):
    put: datetime
    started: datetime
    finished: datetime
    messages: int


class _Driver:
    def __init__(self, plan: Plan, wire: Wire) -> None:
        self.plan = plan
        self.wire = wire
        self.sagas: list[UUID] = []

    def run(self, workers: Sequence[int]) -> Driven:
        plan = self.plan
        self._serve("warming up", plan.warm_up, plan.concurrency)
        alone = self._serve("one after another", plan.alone, 1)
        parts = {
            "workers": cpu.groups(workers),
            "postgresql": cpu.named("postgres", _postgresql()),
            "rabbitmq": cpu.rabbitmq(broker_port()),
            "driver": [os.getpid()],
        }
        before = cpu.read(parts)
        loaded = self._serve("under load", plan.sagas, plan.concurrency)
        used = cpu.per_saga(before, cpu.read(parts), plan.sagas)
        return Driven(
            seconds=_seconds(min(each.put for each in loaded), max(each.finished for each in loaded)),
            messages=sum(each.messages for each in loaded),
            load=_durations(loaded),
            alone=_durations(alone),
            cpu_ms_per_saga=Cpu(**used),
            all_messages=OutboxMessage.objects.filter(saga_id__in=self.sagas).count(),
            own_transactions=self.wire.transactions(),
        )

    def _serve(self, what: str, sagas: int, concurrency: int) -> list[_Times]:
        note_console().print(f"The house: {sagas} sagas, {what}", markup=False)
        begun: list[UUID] = []
        load.run(sagas, concurrency, lambda: begun.append(begin(self.plan.pizzas)), _finished)
        self.sagas += begun
        return _times(begun)


def _finished() -> int:
    """By the index of the states; a final one is never left, so that its entries are all alive."""
    return TableService.objects.filter(state__in=list(TableService.outcomes)).count()


def _times(sagas: list[UUID]) -> list[_Times]:
    """Of each of these sagas. Raises Failed where one did not end well."""
    for saga in TableService.objects.filter(pk__in=sagas):
        if saga.outcome != COMPLETED:
            raise Failed(f"A saga ended {saga.state}: what was measured is not a table's service.")
    put = OutboxMessage.objects.filter(saga_id__in=sagas).values_list("saga_id")
    handled = InboxMessage.objects.filter(saga_id__in=sagas).values_list("saga_id")
    first = {saga: row for saga, *row in put.annotate(Min("created_at"), Count("id"))}
    both = handled.annotate(Min("handled_at"), Max("handled_at"))
    return [_Times(first[saga][0], start, end, first[saga][1]) for saga, start, end in both]


def _durations(times: list[_Times]) -> Durations:
    return Durations(
        percentiles([_seconds(each.started, each.finished) for each in times]),
        percentiles([_seconds(each.put, each.finished) for each in times]),
    )


def _seconds(since: datetime, until: datetime) -> float:
    return (until - since).total_seconds()


def _postgresql() -> list[int]:
    """The server processes that work for this database, or for all."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " OR backend_type IN ('walwriter', 'checkpointer', 'background writer')"
        )
        return [pid for (pid,) in cursor.fetchall()]
