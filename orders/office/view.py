"""The database's view of all processes: what every scenario's table has in common, one below the other.

It is made anew after each migration, so that a new scenario is in it at once, and taken away before one, as
PostgreSQL alters no column that a view shows. Both databases look through it: a filter, an order and a limit
reach the indexes of the tables.
"""

from typing import Any

from django.db import connections

from orders.office.models import Process
from orders.saga import scenarios

VIEW = Process._meta.db_table


def drop(using: str, **_signal: Any) -> None:
    """Before a migration."""
    with connections[using].cursor() as cursor:
        cursor.execute(f"DROP VIEW IF EXISTS {VIEW}")


def create(using: str, **_signal: Any) -> None:
    """After a migration: of the tables that there are by now."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(f"DROP VIEW IF EXISTS {VIEW}")
        selects = _selects(connection.introspection.table_names(cursor))
        if selects:
            cursor.execute(f"CREATE VIEW {VIEW} AS {' UNION ALL '.join(selects)}")


def _selects(tables: list[str]) -> list[str]:
    columns = [field.column for field in Process._meta.concrete_fields if field.name != "scenario"]
    names = ", ".join(f'"{column}"' for column in columns)
    return [
        f"SELECT CAST('{scenario.label()}' AS varchar(100)) AS scenario, {names}"  # noqa: S608
        f' FROM "{scenario._meta.db_table}"'
        for scenario in scenarios()
        if scenario._meta.db_table in tables
    ]
