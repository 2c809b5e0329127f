"""A house that has been open for months: a database filled with copies of a few evenings. The copies have
ids, times, tables and errors of their own."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from django.apps import apps
from django.db import connection, models

from orders.bench import evenings
from orders.bench.evenings import Evening
from orders.saga import scenarios
from pizzahouse.messaging.models import InboxMessage, OutboxMessage

# What processes leave, and the column that says which of them did.
LEFT = {
    OutboxMessage._meta.label: "saga_id",
    InboxMessage._meta.label: "saga_id",
    "orders.OrderedPizza": "saga_id",
    "kitchen.KitchenOrder": "visit",
    "waiter.Deed": "visit",
    "waiter.Question": "visit",
    "waiter.Bill": "visit",
}


MOST_PIZZAS = 1000  # of the biggest process


@dataclass(frozen=True)
class Filled:
    """What there is now."""

    sagas: int
    messages: int  # rows of the outbox and the inbox
    examples: dict[str, UUID]  # a process of each kind


def fill(sagas: int, with_messages: int, say: Callable[[str], None]) -> Filled:
    """Fill an empty, migrated database with so many processes; so many of the newest keep their messages and
    what they changed. It is PostgreSQL, and no transaction is open."""
    examples = evenings.serve(min(sagas // 1000, MOST_PIZZAS))
    with connection.cursor() as cursor:
        cursor.execute(_ID)
    for name, evening in examples.items():
        count = round(sagas * evening.share)
        kept = count if evening.in_full else round(with_messages * evening.share)
        say(f"{count:,} x {name}, {kept:,} of them with all that they left")
        _copy(evening, count, kept)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    return Filled(
        sum(_count(scenario) for scenario in scenarios()),
        _count(OutboxMessage) + _count(InboxMessage),
        {name: evening.saga for name, evening in examples.items()},
    )


# The id `old`, as it would be had it been made so many milliseconds later: still a UUIDv7, in its order.
_ID = """
CREATE OR REPLACE FUNCTION bench_id(old uuid, copy bigint, later bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
PARALLEL SAFE AS $$
SELECT (lpad(to_hex(('x' || left(replace(old::text, '-', ''), 12))::bit(48)::bigint + later), 12, '0')
        || '7' || substr(hash, 1, 3) || '8' || substr(hash, 4, 15))::uuid
FROM (SELECT md5(old::text || copy) AS hash) AS hashed
$$
"""


def _copy(evening: Evening, count: int, kept: int) -> None:
    """Copy it, and for the newest copies what it left."""
    _insert(evening.scenario, "id", evening, count, count)
    for label, column in LEFT.items():
        _insert(apps.get_model(label), column, evening, count, kept)


def _insert(model: type[models.Model], column: str, evening: Evening, count: int, kept: int) -> None:
    """Copy the rows of this model; the evening itself is the newest of so many."""
    meta = model._meta
    fields = [field for field in meta.concrete_fields if not isinstance(field, models.AutoField)]
    names = ", ".join(f'"{field.column}"' for field in fields)
    values = ", ".join(_value(field) for field in fields)
    span = evening.days * 86_400_000
    with connection.cursor() as cursor:
        cursor.execute(
            f'INSERT INTO "{meta.db_table}" ({names}) SELECT {values}'  # noqa: S608  (names of models)
            f' FROM "{meta.db_table}" AS t, (SELECT copy, -(%s * (%s - copy) / %s)::bigint AS later'
            " FROM generate_series(%s::bigint, %s::bigint) AS copy) AS copies"
            f' WHERE t."{column}" = %s ORDER BY copy',
            [span, count, max(count, 1), count - kept + 1, count - 1, evening.saga],
        )


def _value(field: "models.Field[object, object]") -> str:
    """A column of a copy."""
    column = f't."{field.column}"'
    target = field.target_field if isinstance(field, models.ForeignKey) else field
    if isinstance(target, models.UUIDField):
        return f"bench_id({column}, copy, later)"
    if isinstance(field, models.DateTimeField):
        return f"{column} + later * interval '1 millisecond'"
    if field.column == "table":
        return f"left({column} || mod(copy, 1000), 20)"
    if field.column == "error":
        return f"CASE WHEN {column} = '' THEN '' ELSE {column} || ' (order ' || copy || ')' END"
    return column


def _count(model: type[models.Model]) -> int:
    return int(model._default_manager.count())
