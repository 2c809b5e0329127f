"""The manager's office: all processes in one list, a page for each, and what mends them."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from orders.office import counters, mendings, reports, scope  # noqa: F401  (its admin)
from orders.office.actions import ACTIONS, Action
from orders.office.foresight import Refused
from orders.office.forms import MendForm, SkipForm
from orders.office.frame import OfficeAdmin, badge
from orders.office.listing import FILTERS, ProcessList, search
from orders.office.mending_admin import prepared
from orders.office.models import Mended, Mending, Process
from orders.office.page import may, page_of
from orders.office.people import who
from orders.office.previews import preview
from orders.office.regression import as_test, file_name
from orders.office.words import clock, in_plain, in_words
from orders.saga import OVERDUE, STOPPED, Saga
from pizzahouse.messaging.errors import MessagingError, shortened

ROWS = 50
NO_FILTER = "Nothing was done: there is no filter, so all processes would be meant. Choose a filter first."


def tone_of(process: Any) -> str:
    """How a process looks: well, or not."""
    if process.finished_at:
        return "good" if process.standing == "completed" else "calm"
    if process.standing in (OVERDUE, STOPPED):
        return "warn"
    return "bad" if getattr(process, "trouble", None) else "run"


def bulk(action: Action) -> Any:
    """An action of the list: what is selected is kept as it is now, and shown before anything is done."""

    def prepare(model_admin: Any, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        response: HttpResponse | None = model_admin.prepare(request, action, queryset)
        return response

    prepare.__name__ = action.name.value
    permission = action.permission.partition(".")[2].partition("_")[0]
    return admin.action(description=f"{action.label} …", permissions=[permission])(prepare)


@admin.register(Process)
class ProcessAdmin(OfficeAdmin):
    """Every process of every scenario."""

    list_display = ["name", "scenario", "badge", "step", "age", "attempts", "deadline_in", "last_error"]
    list_display_links = ["name"]
    sortable_by = ["age"]
    list_filter = FILTERS
    list_per_page = ROWS
    list_before_template = "office/counters.html"
    list_filter_submit = True
    list_fullwidth = True
    search_fields = ["table"]
    search_help_text = "A table, the id of a process, or the text of an error"
    actions = [bulk(action) for action in ACTIONS.values() if action.bulk]

    # --- The list ---

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ProcessList]:
        return ProcessList

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        return (search(queryset, search_term) if search_term.strip() else queryset), False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        asked = ACTIONS.get(request.POST.get("action", ""))
        if asked and not may(request.user, asked):
            raise PermissionDenied  # Django would do nothing, and say nothing
        figures = {"counters": counters.counters(), "charts": counters.charts()}
        response: HttpResponse = super().changelist_view(request, figures | (extra_context or {}))
        return response

    @admin.display(description="table")
    def name(self, process: Any) -> str:
        return str(process.table)

    @admin.display(description="state")
    def badge(self, process: Any) -> str:
        return badge(in_plain(process.state), tone_of(process))

    @admin.display(description="last step")
    def step(self, process: Any) -> str:
        return in_plain(process.step or "")

    @admin.display(ordering="-id")
    def age(self, process: Any) -> str:
        return in_words(process.started_at, process.finished_at or timezone.now()).replace(" ", "\xa0")

    @admin.display
    def attempts(self, process: Any) -> str:
        return str(process.trouble["attempts"]) if process.trouble else ""

    @admin.display(description="deadline")
    def deadline_in(self, process: Any) -> str:
        return clock(process.deadline_at) if process.deadline_at else ""

    @admin.display
    def last_error(self, process: Any) -> str:
        trouble = process.trouble
        return shortened("{type} {status}: {error}".format(**trouble)) if trouble else ""

    def prepare(self, request: HttpRequest, action: Action, queryset: Any) -> HttpResponse | None:
        """Keep what is selected, and show it."""
        page = self.get_changelist_instance(request)
        filters, across = page.get_filters_params(), request.POST.get("select_across") == "1"
        if across and not queryset.query.has_filters():
            messages.error(request, NO_FILTER)
            return None
        rows = list(queryset.values_list("pk", "table")[: mendings.MOST + 1])
        told = (
            scope.of_filter(filters, page.query) if across else scope.of_selection([row[1] for row in rows])
        )
        return prepared(request, action, scope.processes(rows), told)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may retry."""
        return request.user.has_perm("office.retry_process")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may cancel."""
        return request.user.has_perm("office.cancel_process")

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may decide."""
        return request.user.has_perm("office.decide_process")

    # --- One process ---

    def get_urls(self) -> list[URLPattern]:
        pages = {"live": self.live_view, "test": self.test_view}
        own = [
            path(f"<uuid:object_id>/{name}/", self.admin_site.admin_view(view), name=f"office_process_{name}")
            for name, view in pages.items()
        ]
        mend = self.admin_site.admin_view(self.mend_view)
        own.append(path("<uuid:object_id>/mend/<slug:action>/", mend, name="office_process_mend"))
        return [*own, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        process = self.found(request, object_id)
        page = page_of(process.saga, request.user)
        context = page.context | {"token": page.token, "original": process}
        return self.page(request, "office/process.html", process.table, **context)

    def live_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """What has changed on the page since it had this token."""
        page = page_of(self.saga(request, str(object_id)), request.user)
        changed = page.token != request.GET.get("token")
        context = page.context | {"token": page.token, "changed": changed, "live": True, "opts": self.opts}
        return render(request, "office/process_live.html", context)

    def test_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """The process as a file for pytest."""
        saga = self.saga(request, str(object_id))
        try:
            text = as_test(saga)
        except MessagingError as error:
            messages.error(request, str(error))
            return redirect("admin:office_process_change", saga.pk)
        headers = {"Content-Disposition": f'attachment; filename="{file_name(saga)}"'}
        return HttpResponse(text, "text/x-python; charset=utf-8", headers=headers)

    def mend_view(self, request: HttpRequest, object_id: UUID, action: str) -> HttpResponse:
        """What would come of it is shown; it is done where somebody gave a reason."""
        how = ACTIONS.get(action)
        if how is None:
            raise Http404
        saga = self.saga(request, str(object_id))
        if not may(request.user, how):
            raise PermissionDenied
        form = self.asked(how, saga, request)
        refused = ""
        if "do" in request.POST and form.is_valid():
            try:
                item = Mended(process_id=saga.pk)
                mendings.mend(action, item, who(request), form.cleaned_data["reason"], form.details())
            except Refused as error:
                refused = str(error)
            else:
                return redirect("admin:office_process_change", saga.pk)
        context = {"saga": saga, "how": how, "form": form, "refused": refused}
        foreseen = preview(how, saga, form.details(), str(request.user))
        back = reverse("admin:office_process_change", args=[saga.pk])
        title = f"{how.label}: {saga.table}"
        return self.page(request, "office/mend.html", title, back=back, **foreseen, **context)

    def asked(self, how: Action, saga: Saga, request: HttpRequest) -> MendForm:
        """What is asked of somebody who mends so."""
        data = request.POST if request.method == "POST" else None
        return SkipForm(saga, data) if how.name == Mending.Action.SKIP else MendForm(data)

    def saga(self, request: HttpRequest, object_id: str) -> Saga:
        """The process of this id."""
        saga: Saga = self.found(request, object_id).saga
        return saga
