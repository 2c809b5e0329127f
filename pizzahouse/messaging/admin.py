"""The outbox and the inbox, to look at: searchable, read-only."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import ModelAdmin

from pizzahouse.messaging.errors import shortened
from pizzahouse.messaging.handling import handlers
from pizzahouse.messaging.messages import contracts
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.paging import BoundedPaginator


def as_typed(text: str) -> str:
    """A text of several lines, as it was typed; escaped."""
    return format_html('<pre style="white-space: pre-wrap; margin: 0">{}</pre>', text) if text else ""


def as_json(value: Any) -> str:
    """JSON to be read by people; escaped."""
    return as_typed(json.dumps(value, indent=2, ensure_ascii=False))


def exactly(field: str) -> Callable[[Any, Any], str]:
    """A column for a time, to the millisecond: Django's own ends with the minute."""

    @admin.display(description=field.replace("_", " "), ordering=field)
    def column(_admin: Any, row: Any) -> str:
        at = getattr(row, field)
        return f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S.%f}"[:-3] if at else "-"

    return column


class ReadOnlyAdmin(ModelAdmin):
    """What happened is not edited. Searching for an id finds the rows with it in `id_fields`."""

    id_fields: Sequence[str] = ()
    show_full_result_count = False
    paginator = BoundedPaginator

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Django's own search compares an id as text, past its index."""
        try:
            wanted = UUID(search_term.strip())
        except ValueError:
            found: tuple[QuerySet[Any], bool] = super().get_search_results(request, queryset, search_term)
            return found
        anywhere = Q(*((name, wanted) for name in self.id_fields), _connector=Q.OR)
        return queryset.filter(anywhere), False


class KnownFilter(admin.SimpleListFilter):
    """By what the code knows, where Django would ask all rows which values there are."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, value) for value in sorted(self.known())]

    def known(self) -> Iterable[str]:
        """The values to choose from."""
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = {str(self.parameter_name): self.value()}
        return queryset.filter(**chosen) if self.value() else queryset


class TypeFilter(KnownFilter):
    title = parameter_name = "type"

    def known(self) -> Iterable[str]:
        return (contract.__name__ for contract in contracts())


class HandlerFilter(KnownFilter):
    title = parameter_name = "handler"

    def known(self) -> Iterable[str]:
        return handlers()


class DestinationFilter(KnownFilter):
    title = parameter_name = "destination"

    def known(self) -> Iterable[str]:
        return {name.rpartition(".")[0] for name in handlers()}


@admin.register(OutboxMessage)
class OutboxMessageAdmin(ReadOnlyAdmin):
    list_display = ["type", "destination", "created", "due", "sent", "saga_id"]
    list_filter = [("sent_at", admin.EmptyFieldListFilter), DestinationFilter, TypeFilter]
    search_fields = ["type"]
    id_fields = ["id", "saga_id"]
    fields = [
        *("id", "type", "destination", "reply_to", "saga_id", "causation_id", "trace"),
        *("created", "due", "available", "sent", "sends", "content", "handling"),
    ]
    created, due = exactly("created_at"), exactly("due_at")
    available, sent = exactly("available_at"), exactly("sent_at")

    @admin.display(description="payload")
    def content(self, row: OutboxMessage) -> str:
        return as_json(row.payload)

    @admin.display(description="handled")
    def handling(self, row: OutboxMessage) -> str:
        url = reverse("admin:messaging_inboxmessage_changelist")
        return format_html('<a href="{}?q={}">what came of it, in the inbox</a>', url, row.pk)


@admin.register(InboxMessage)
class InboxMessageAdmin(ReadOnlyAdmin):
    list_display = ["handler", "status", "attempts", "handled", "problem", "saga_id"]
    list_filter = ["status", HandlerFilter]
    search_fields = ["type", "error"]
    id_fields = ["message_id", "saga_id"]
    fields = [
        *("type", "handler", "status", "handled", "attempts", "repeats", "next_attempt"),
        *("saga_id", "origin", "step", "from_state", "to_state", "detail"),
        *("last_error", "last_traceback", "attempts_so_far", "as_it_arrived"),
    ]
    handled, next_attempt = exactly("handled_at"), exactly("next_attempt_at")

    @admin.display(description="error")
    def problem(self, row: InboxMessage) -> str:
        return shortened(row.error)

    @admin.display(description="message id")
    def origin(self, row: InboxMessage) -> str:
        url = reverse("admin:messaging_outboxmessage_change", args=[row.message_id])
        return format_html('<a href="{}">{}</a>', url, row.message_id)

    @admin.display(description="error")
    def last_error(self, row: InboxMessage) -> str:
        return as_typed(row.error)

    @admin.display(description="traceback")
    def last_traceback(self, row: InboxMessage) -> str:
        return as_typed(row.traceback)

    @admin.display(description="failed attempts")
    def attempts_so_far(self, row: InboxMessage) -> str:
        return as_json(row.failures) if row.failures else ""

    @admin.display(description="message as it arrived")
    def as_it_arrived(self, row: InboxMessage) -> str:
        return as_json(row.message) if row.message else ""
