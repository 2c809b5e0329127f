"""Rows by lean SQL, on the way of every message: what Django's ORM does in 0.3 ms done in 0.1."""

from collections.abc import Iterable
from functools import cache
from typing import Any, TypeAlias, TypeVar

import msgspec
from django.db import connection
from django.db.models import F, Model
from django.db.models.expressions import DatabaseDefault
from django.db.models.fields import Field

Row = TypeVar("Row", bound=Model)
AnyField: TypeAlias = "Field[Any, Any]"


def lock(model: type[Row], key: Any) -> Row | None:
    """The row with this primary key, locked until the end of the transaction; None if there is none."""
    if connection.vendor != "postgresql":
        rows = model._default_manager.filter(pk=key)
        return rows.select_for_update().first()  # SQLite: it holds the only write lock anyway
    sql, names, converters = _select(model)
    with connection.cursor() as cursor:
        cursor.execute(sql, [key])
        values = cursor.fetchone()
    if values is None:
        return None
    if converters:
        values = list(values)
        for position, convert, expression in converters:
            values[position] = convert(values[position], expression, connection)
    return model.from_db(connection.alias, names, values)


@cache
def _select(model: type[Model]) -> tuple[str, list[str], list[tuple[int, Any, Any]]]:
    meta = model._meta
    fields = meta.concrete_fields
    columns = ", ".join(f'"{field.column}"' for field in fields)
    assert meta.pk is not None
    sql = f'SELECT {columns} FROM "{meta.db_table}" WHERE "{meta.pk.column}" = %s FOR UPDATE'
    converters: list[tuple[int, Any, Any]] = []
    for position, field in enumerate(fields):
        expression = field.get_col(meta.db_table)
        backend = connection.ops.get_db_converters(expression)
        wanted = [*backend, *field.get_db_converters(connection)]
        converters.extend((position, convert, expression) for convert in wanted)
    return sql, [field.attname for field in fields], converters


def update(model: type[Model], where: dict[str, Any], **changes: Any) -> int:
    """Change the rows whose columns have these values; returns how many. Names are attribute names."""
    sql, fields = _where_sql(model, tuple(where), tuple(changes))
    values = [
        field.get_db_prep_save(value, connection)
        for field, value in zip(fields, [*changes.values(), *where.values()], strict=True)
    ]
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        count: int = cursor.rowcount
        return count


@cache
def _where_sql(
    model: type[Model], where: tuple[str, ...], changes: tuple[str, ...]
) -> tuple[str, tuple[AnyField, ...]]:
    columns = {field.attname: field for field in model._meta.concrete_fields}
    assignments = ", ".join(f'"{columns[name].column}" = %s' for name in changes)
    conditions = " AND ".join(f'"{columns[name].column}" = %s' for name in where)
    sql = f'UPDATE "{model._meta.db_table}" SET {assignments} WHERE {conditions}'
    return sql, tuple(columns[name] for name in (*changes, *where))


def add(model: type[Model], where: dict[str, Any], **amounts: int) -> int:
    """Add to numbers of the rows whose columns have these values; returns how many."""
    sums = {name: F(name) + amount for name, amount in amounts.items()}
    return model._default_manager.filter(**where).update(**sums)


def add_if(
    model: type[Model], where: dict[str, Any], amounts: dict[str, int], source: str
) -> tuple[str, list[Any]]:
    """The UPDATE that does so if the source (a query's name) has a row, and its values."""
    sql, fields = _sum_sql(model, tuple(where), tuple(amounts), source)
    wanted = [
        field.get_db_prep_value(value, connection)
        for field, value in zip(fields, where.values(), strict=True)
    ]
    return sql, [*amounts.values(), *wanted]


@cache
def _sum_sql(
    model: type[Model], where: tuple[str, ...], amounts: tuple[str, ...], source: str
) -> tuple[str, tuple[AnyField, ...]]:
    columns = {field.attname: field for field in model._meta.concrete_fields}
    table = model._meta.db_table
    sums = ", ".join(
        f'"{columns[name].column}" = "{table}"."{columns[name].column}" + %s' for name in amounts
    )
    conditions = " AND ".join(f'"{table}"."{columns[name].column}" = %s' for name in where)
    fields = tuple(columns[name] for name in where)
    return f'UPDATE "{table}" SET {sums} FROM {source} WHERE {conditions}', fields


def update_if(row: Model, source: str) -> tuple[str, list[Any]]:
    """The UPDATE that saves a model's row if the source (a query's name) has one, and its values."""
    sql, fields = _update_sql(type(row), source)
    return sql, [field.get_db_prep_save(field.pre_save(row, False), connection) for field in fields]


@cache
def _update_sql(model: type[Model], source: str) -> tuple[str, tuple[AnyField, ...]]:
    meta = model._meta
    key = meta.pk
    assert key is not None
    others = tuple(field for field in meta.concrete_fields if field is not key)
    changes = ", ".join(f'"{field.column}" = %s' for field in others)
    sql = f'UPDATE "{meta.db_table}" SET {changes} FROM {source} WHERE "{key.column}" = %s'
    return sql, (*others, key)


def insert_if(
    model: type[Model], fields: tuple[AnyField, ...], new: Iterable[Model], source: str
) -> tuple[str, str]:
    """The INSERT of new rows of one model if the source (a query's name) has one, and its value: the rows
    as one JSON array, so that the statement stays prepared."""
    values = [
        {field.column: field.get_prep_value(field.pre_save(row, True)) for field in fields} for row in new
    ]
    return _insert_sql(model, fields, source), msgspec.json.encode(values).decode()


def given(row: Model) -> tuple[AnyField, ...]:
    """The fields of a new row that have a value; the others the database fills in itself."""
    values = row.__dict__
    return tuple(
        field
        for field in row._meta.concrete_fields
        if not isinstance(values[field.attname], DatabaseDefault)
        and not (field.primary_key and values[field.attname] is None)
    )


@cache
def _insert_sql(model: type[Model], fields: tuple[AnyField, ...], source: str) -> str:
    table = model._meta.db_table
    columns = ", ".join(f'"{field.column}"' for field in fields)
    new = ", ".join(f'new."{field.column}"' for field in fields)
    return (
        f'INSERT INTO "{table}" ({columns}) SELECT {new}'
        f' FROM {source}, jsonb_populate_recordset(NULL::"{table}", %s::jsonb) AS new'
    )
