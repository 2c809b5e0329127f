"""What goes into a bench, and what comes out of it. The field names are those of the JSON document."""

from collections.abc import Sequence
from statistics import quantiles

import msgspec

MESSAGES_WITHOUT_PIZZAS = 14
MESSAGES_PER_PIZZA = 2  # DoPizza, PizzaDone
WARM_UP = 40  # sagas at the most, before anything is measured
ALONE = 20  # sagas at the most, one after another


class Plan(msgspec.Struct, frozen=True):
    """What to run. `concurrency`: so many sagas run at once, a new one starts when one ends."""

    sagas: int
    pizzas: int
    processes: int
    threads: int
    concurrency: int

    @property
    def messages_per_saga(self) -> int:
        """What a saga takes when nothing goes wrong."""
        return MESSAGES_WITHOUT_PIZZAS + MESSAGES_PER_PIZZA * self.pizzas

    @property
    def warm_up(self) -> int:
        """How many sagas run before the measured ones."""
        return min(self.sagas, WARM_UP)

    @property
    def alone(self) -> int:
        """How many sagas run one after another."""
        return min(self.sagas, ALONE)


class Machine(msgspec.Struct, frozen=True):
    """Where it ran. The figures mean nothing without it."""

    cores: int
    cpu: str
    python: str
    postgresql: str
    fsync: str
    synchronous_commit: str
    rabbitmq: str


class Percentiles(msgspec.Struct, frozen=True):
    """Of durations, in milliseconds."""

    p50: float
    p95: float
    p99: float


def percentiles(seconds: Sequence[float]) -> Percentiles:
    """The percentiles of these durations, interpolated between the nearest ones."""
    cuts = quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else [*seconds] * 99
    return Percentiles(*(round(cuts[each - 1] * 1000, 2) for each in (50, 95, 99)))


class Durations(msgspec.Struct, frozen=True):
    """By the database's clock, in milliseconds. `saga_ms`: from a saga's first step to its last;
    `put_to_finish_ms`: from when its first command was put, waiting for a worker included."""

    saga_ms: Percentiles
    put_to_finish_ms: Percentiles


class Cpu(msgspec.Struct, frozen=True):
    """CPU milliseconds per saga, user and system, under load; null where they cannot be read (a server on
    another machine). `postgresql`: its backends for the bench, its WAL writer, checkpointer and
    background writer; `rabbitmq`: the whole server. Whatever else these do meanwhile counts, too."""

    workers: float | None
    rabbitmq: float | None
    driver: float | None
    postgresql: float | None = None


class Direct(msgspec.Struct, frozen=True):
    """The same messages over plain Dramatiq with confirms: no outbox, no inbox, no saved state.
    `put_to_finish_ms` is by the machine's clock."""

    sagas_per_second: float
    messages_per_second: float
    put_to_finish_ms: Percentiles
    cpu_ms_per_saga: Cpu


class Driven(msgspec.Struct, frozen=True):
    """What the driver of the house found."""

    seconds: float
    messages: int
    load: Durations
    alone: Durations
    cpu_ms_per_saga: Cpu
    all_messages: int  # with those of the warm-up and of the sagas alone
    own_transactions: int  # of the driver itself


class Report(msgspec.Struct, frozen=True):
    """The document. `sql_statements_per_message`: what a handler sends to PostgreSQL, BEGIN and COMMIT
    included, counted by libpq's trace while messages are handled one by one (the relay's are not in it).
    `commits_per_message`: PostgreSQL's own count of transactions in the bench's database while the workers
    ran, relays included, the driver's subtracted, by the messages handled meanwhile.
    `price_of_safety`: how many times as many sagas per second go direct."""

    parameters: Plan
    machine: Machine
    sagas_per_second: float
    messages_per_second: float
    messages_per_saga: float
    load: Durations
    alone: Durations
    cpu_ms_per_saga: Cpu
    sql_statements_per_message: float
    commits_per_message: float
    direct: Direct
    price_of_safety: float
