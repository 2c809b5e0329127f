"""The processes, to look at: what each waits for, its history, and *retry*."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.db.models.functions import JSONObject
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.timesince import timesince
from django.views.decorators.http import require_POST

from orders.saga import Saga, scenarios
from pizzahouse.messaging import history, outstanding
from pizzahouse.messaging.admin import ReadOnlyAdmin, exactly, shortened
from pizzahouse.messaging.models import InboxMessage
from pizzahouse.messaging.outstanding import Outstanding, Why

Processes = models.QuerySet[Any]
TROUBLE = (InboxMessage.Status.DEAD, InboxMessage.Status.FAILED)
MOST_NAMED = 10  # messages in one report, after counting those that read alike


class TroubleFilter(admin.SimpleListFilter):
    """The processes that somebody has to look after."""

    title = "trouble"
    parameter_name = "trouble"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.value, f"a message is {status.label}") for status in TROUBLE]

    def queryset(self, request: HttpRequest, queryset: Processes) -> Processes:
        if self.value() is None:
            return queryset
        rows = InboxMessage.objects.filter(status=self.value())
        return queryset.filter(pk__in=rows.values("saga_id"))


class ProcessAdmin(ReadOnlyAdmin):
    """Every scenario's processes. Nothing is edited; who may change processes may *retry* them."""

    list_display = ["table", "state", "outcome", "age", "last_error", "id"]
    list_filter = ["state", TroubleFilter]
    search_fields = ["table"]
    id_fields = ["id"]
    actions = ["retry"]
    show_full_result_count = False
    change_form_template = "admin/orders/process.html"
    started, finished = exactly("started_at"), exactly("finished_at")

    def get_queryset(self, request: HttpRequest) -> Processes:
        """With the last error of each, in the same statement."""
        failing = InboxMessage.objects.filter(saga_id=models.OuterRef("pk"), status__in=TROUBLE)
        found = JSONObject(type="type", status="status", error="error")
        last = failing.order_by("-handled_at", "-id").values(found=found)[:1]
        processes: Processes = super().get_queryset(request).annotate(trouble=models.Subquery(last))
        return processes

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """What every process has, then what this scenario adds."""
        common = ["id", "table", "state", "outcome", "last_error", "age", "started", "finished"]
        known = {field.name for field in Saga._meta.local_fields}
        own = [field.name for field in self.opts.concrete_fields if field.name not in known]
        return [(None, {"fields": common}), (f"This {self.opts.verbose_name}", {"fields": own})]

    @admin.display
    def outcome(self, saga: Saga) -> str:
        return saga.outcome or "running"

    @admin.display(ordering="-id")
    def age(self, saga: Saga) -> str:
        return in_words(saga.started_at, timezone.now())

    @admin.display
    def last_error(self, saga: Any) -> str:
        return shortened("{type} {status}: {error}".format(**saga.trouble)) if saga.trouble else ""

    # --- A process's page -------------------------------------------------------------------------

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        saga = context["original"]
        waiting = saga.waits_for()
        context |= {
            "waiting": [(each, whereabouts(each), outbox_url(each)) for each in waiting],
            "history": list(history_lines(saga)),
            "retry_url": reverse(self._retry_url_name, args=[saga.pk]),
            "may_retry": self.has_retry_permission(request),
        }
        return super().render_change_form(request, context, *args, **kwargs)

    # --- Retry ------------------------------------------------------------------------------------

    @property
    def _retry_url_name(self) -> str:
        return f"admin:{self.opts.app_label}_{self.opts.model_name}_retry"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.retry_view)
        name = self._retry_url_name.removeprefix("admin:")
        return [path("<uuid:saga_id>/retry/", view, name=name), *super().get_urls()]

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """The rows are read-only for everybody; who may "change" processes may make them go on."""
        return super(ReadOnlyAdmin, self).has_change_permission(request)

    @admin.action(description="Retry: send again what they wait for", permissions=["retry"])
    def retry(self, request: HttpRequest, sagas: Processes) -> None:
        for saga in sagas:
            self._retry(request, saga)

    @method_decorator(require_POST)
    def retry_view(self, request: HttpRequest, saga_id: UUID) -> HttpResponse:
        """The button on a process's page."""
        if not self.has_retry_permission(request):
            raise PermissionDenied
        self._retry(request, get_object_or_404(self.model, pk=saga_id))
        return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", saga_id)

    def _retry(self, request: HttpRequest, saga: Saga) -> None:
        with transaction.atomic():
            waiting = saga.waits_for()
            again = outstanding.send_again(saga.pk)
            report = retry_report(saga, again, waiting)
            self.log_change(request, saga, f"Retry: {report}")
        level = messages.INFO if again else messages.WARNING
        self.message_user(request, f"{saga.table}: {report}", level)


def retry_report(saga: Saga, again: list[Outstanding], waiting: list[Outstanding]) -> str:
    """What a retry did, and no more: whether it helps is seen when the messages are handled."""
    sent = {each.message_id for each in again}
    scheduled = [each for each in waiting if each.why == Why.SCHEDULED and each.message_id not in sent]
    if again:
        rest = f"; it also waits for {named(scheduled)}" if scheduled else ""
        return f"handed to the relay again: {named(again)}{rest}"
    if scheduled:
        return f"nothing to send: it waits for {named(scheduled)}"
    if saga.outcome:
        return f"nothing to send: it is {saga.state}"
    return "nothing to send: all its messages were handled"


def named(messages_of_it: list[Outstanding]) -> str:
    """Messages in a sentence; those that read alike are counted."""
    alike = Counter(f"{each.type} ({whereabouts(each)})" for each in messages_of_it)
    texts = [text if count == 1 else f"{count} x {text}" for text, count in alike.items()]
    rest = [f"and {len(texts) - MOST_NAMED} more"] if len(texts) > MOST_NAMED else []
    return ", ".join(texts[:MOST_NAMED] + rest)


def whereabouts(message: Outstanding) -> str:
    """Where an outstanding message is, in words."""
    match message.why:
        case Why.SCHEDULED:
            return f"due {clock(message.until or message.since)}"
        case Why.PENDING:
            return "not sent yet"
        case Why.SENT:
            return f"sent {clock(message.since)}, not handled"
        case Why.FAILED | Why.DEAD:
            return f"{message.why}: {shortened(message.error)}"


def clock(at: datetime) -> str:
    """A time of today by the clock, another with its date."""
    here = timezone.localtime(at)
    today = here.date() == timezone.localdate()
    return f"{here:%H:%M:%S}" if today else f"{here:%Y-%m-%d %H:%M:%S}"


def in_words(since: datetime, until: datetime) -> str:
    """How long that is: "23 seconds", "3 minutes", "2 months, 1 week"."""
    if until - since >= timedelta(minutes=1):
        return timesince(since, until)
    seconds = max(int((until - since).total_seconds()), 0)
    return "1 second" if seconds == 1 else f"{seconds} seconds"


def outbox_url(message: Outstanding | history.Entry) -> str:
    """The page of a message that was put."""
    return reverse("admin:messaging_outboxmessage_change", args=[message.message_id])


def history_lines(saga: Saga) -> Iterator[dict[str, Any]]:
    """The history as the page shows it: a detail's first line, and more to unfold."""
    inbox = reverse("admin:messaging_inboxmessage_changelist")
    for entry in history.of(saga.pk):
        put = entry.kind in ("command", "event")
        url = outbox_url(entry) if put else f"{inbox}?q={entry.message_id}"
        detail, _, more = entry.detail.partition("\n")
        yield {"entry": entry, "url": url, "detail": detail, "more": more}


for scenario in scenarios():
    admin.site.register(scenario, ProcessAdmin)
