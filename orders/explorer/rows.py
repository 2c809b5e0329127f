"""Rows as texts that are alike when nothing differs but times and made-up ids."""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db.models import AutoField, Model, TextField

from pizzahouse.messaging.models import InboxMessage, OutboxMessage

Row = dict[str, Any]
Contents = dict["Table", list[Row]]

_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")
_ID = re.compile(r"\b[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\b")
PAST, FUTURE = "2020-01-01 00:00:00", "2200-01-01 00:00:00"


class Table:
    """A table of one module, without a key that the database makes up."""

    def __init__(self, model: type[Model]) -> None:
        meta = model._meta
        self.label = meta.label
        self.name = meta.db_table
        fields = [each for each in meta.concrete_fields if not isinstance(each, AutoField)]
        self.columns: list[str] = [str(each.column) for each in fields]
        # No step decides by what is written for people, nor by how many there were before.
        self.texts = {str(each.column) for each in fields if type(each) is TextField}
        self.counts = {"version"} & {*self.columns}

    @cached_property
    def selection(self) -> str:
        """The SELECT of all its rows, in the order they were made."""
        columns = ", ".join(f'+"{column}"' for column in self.columns)  # so, as they are stored
        return f'SELECT {columns} FROM "{self.name}" ORDER BY rowid'  # noqa: S608  (names of models)

    @cache  # noqa: B019  (there are few tables, and they live as long as the process)
    def insertion(self, columns: tuple[str, ...]) -> str:
        """The INSERT of a row with these columns."""
        names, marks = ", ".join(f'"{column}"' for column in columns), ", ".join("?" * len(columns))
        return f'INSERT INTO "{self.name}" ({names}) VALUES ({marks})'  # noqa: S608


@cache
def tables(app_label: str) -> tuple[Table, ...]:
    """The tables of a module."""
    return tuple(Table(model) for model in apps.get_app_config(app_label).get_models())


@cache
def outbox() -> Table:
    """The outbox."""
    return Table(OutboxMessage)


@cache
def inbox() -> Table:
    """The inbox."""
    return Table(InboxMessage)


def write(contents: Contents) -> str:
    """The rows as one text. Times are told apart only as past and future, texts for people only as empty
    and not."""
    plain = {table.label: [_abstract(table, row) for row in rows] for table, rows in contents.items()}
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"

    def side(match: re.Match[str]) -> str:
        return FUTURE if match[0][:19].replace("T", " ") > now else PAST

    return _TIME.sub(side, json.dumps(plain))


def _abstract(table: Table, row: Row) -> Row:
    for column in table.texts:
        row[column] = row[column] and "…"
    for column in table.counts:
        row[column] = 1
    return row


def parse(text: str, of: Iterable[Table]) -> Contents:
    """The rows that such a text tells of."""
    plain = json.loads(text)
    return {table: plain[table.label] for table in of}


def ordered(text: str) -> str:
    """The same text, with the rows of each table in an order that depends on nothing else."""
    plain = json.loads(text)
    return json.dumps({label: sorted(rows, key=json.dumps) for label, rows in plain.items()})


def ids(text: str) -> set[UUID]:
    """All ids that stand in it."""
    return {UUID(match[0]) for match in _ID.finditer(text)}


def rename(text: str, names: dict[UUID, UUID]) -> str:
    """The text with other ids, written as they were: with dashes or without."""

    def other(match: re.Match[str]) -> str:
        new = names.get(UUID(match[0]))
        if new is None:
            return match[0]
        return str(new) if "-" in match[0] else new.hex

    return _ID.sub(other, text)


def written_over(before: str, stale: str, now: str) -> str:
    """What is there when somebody who read `before`, and would have left `stale`, writes after another has
    left `now`: each row that he changed is his, the others are the other's."""
    read, left, there = json.loads(before), json.loads(stale), json.loads(now)
    for label, own in left.items():
        changed = [row for row in own if row not in read[label]]
        keys = {row["id"] for row in changed if "id" in row}
        there[label] = [row for row in there[label] if row.get("id") not in keys] + changed
    return ordered(json.dumps(there))
