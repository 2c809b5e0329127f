"""The audit log, which is Django's own: the history page of each process and of each message tells who did
what, why, and what came of it."""

from collections.abc import Iterable
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model

from orders.office.models import Mended, Mending, Process
from orders.office.words import in_plain
from pizzahouse.messaging.models import InboxMessage

LONGEST_NAME = 200


def begun(items: Iterable[Mended]) -> None:
    """Each was begun, or refused."""
    _log(items, lambda item: f"{_what(item)} by {item.mending.by}: {item.mending.reason}\n{_state(item)}")


def settled(items: Iterable[Mended]) -> None:
    """It is known what came of each."""
    _log(items, lambda item: f"{_what(item)}: {item.get_status_display()}\n{_state(item)}")


def told(mending: Mending, user: User, text: str) -> None:
    """A mending of many was begun, stopped, or told to go on."""
    what = f"{mending.get_action_display()}, {mending.total:,} in all ({mending.scope}): {text}"
    LogEntry.objects.bulk_create([_entry(user.pk, Mending, mending.pk, str(mending), what)])


def _what(item: Mended) -> str:
    return f"{str(item.mending.get_action_display()).capitalize()} ({item.mending.pk})"


def _state(item: Mended) -> str:
    before = "; ".join(part for part in (in_plain(item.from_state), item.before) if part)
    lines = [f"Before: {before}"] if before else []
    if item.result:
        after = "; ".join(part for part in (in_plain(item.to_state), item.result) if part)
        lines.append(f"After: {after}")
    return "\n".join(lines)


def _log(items: Iterable[Mended], text: Any) -> None:
    """Who is not a user any more has no entries: Django deletes them with the user."""
    LogEntry.objects.bulk_create(
        [
            _entry(item.mending.user_id, *_object(item), item.table or str(item.letter_id), text(item))
            for item in items
            if item.mending.user_id is not None
        ]
    )


def _object(item: Mended) -> tuple[type[Model], Any]:
    if item.letter_id is not None:
        return InboxMessage, item.letter_id
    return Process, item.process_id


def _entry(user_id: Any, model: type[Model], key: Any, name: str, text: str) -> LogEntry:
    return LogEntry(
        user_id=user_id,
        content_type=ContentType.objects.get_for_model(model),
        object_id=str(key),
        object_repr=name[:LONGEST_NAME],
        action_flag=CHANGE,
        change_message=text,
    )
