"""The manager's office: all processes in one list, a page for each, and what mends them."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.views.decorators.http import require_POST

from orders.office import counters, mendings, reports, scope  # noqa: F401  (its admin)
from orders.office.actions import ACTIONS, Action
from orders.office.foresight import Refused
from orders.office.forms import MendForm, ReasonForm, SkipForm
from orders.office.letters import LETTER_ACTIONS, LetterAction
from orders.office.listing import FILTERS, ProcessList, search
from orders.office.models import Mended, Mending, Process
from orders.office.page import may, page_of
from orders.office.people import who
from orders.office.previews import preview, samples
from orders.office.regression import as_test, file_name
from orders.office.words import clock, in_plain, in_words
from orders.saga import OVERDUE, STOPPED, Saga
from pizzahouse.messaging.admin import ReadOnlyAdmin, exactly
from pizzahouse.messaging.errors import MessagingError, shortened

ROWS = 50
NO_FILTER = "Nothing was done: there is no filter, so all processes would be meant. Choose a filter first."


def badge(text: str, tone: str) -> str:
    """A word in a coloured box; its colour says nothing that the word does not."""
    return format_html('<span class="office-badge office-{}">{}</span>', tone, text)


def tone_of(process: Any) -> str:
    """How a process looks: well, or not."""
    if process.finished_at:
        return "good" if process.standing == "completed" else "calm"
    if process.standing in (OVERDUE, STOPPED):
        return "warn"
    return "bad" if getattr(process, "trouble", None) else "run"


class OfficeAdmin(ReadOnlyAdmin):
    """What the office's own pages have in common."""

    def page(self, request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
        """One of its pages, in the frame of the admin."""
        frame = {**self.admin_site.each_context(request), "title": title, "opts": self.opts}
        return render(request, template, frame | context)

    def found(self, request: HttpRequest, object_id: str) -> Any:
        """The row of this id, for somebody who may see it. Raises Http404, PermissionDenied."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404(f"There is no {self.opts.verbose_name} of this id.")
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        return row


# --- Processes ------------------------------------------------------------------------------------


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
        return prepared(request, action, scope.processes(rows), told, request.GET.urlencode())

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


# --- Mendings -------------------------------------------------------------------------------------


def prepared(
    request: HttpRequest, action: Action | LetterAction, items: Any, told: str, query: str = ""
) -> HttpResponse | None:
    """Keep these items as a mending that is not begun, and go to its page; None, with a message, where there
    are none or too many. Raises PermissionDenied."""
    if not request.user.has_perm(action.permission):
        raise PermissionDenied
    try:
        mending = mendings.prepare(action.name, items, who(request), told, query)
    except Refused as reason:
        messages.error(request, str(reason))
        return None
    return redirect("admin:office_mending_change", mending.pk)


@admin.register(Mending)
class MendingAdmin(OfficeAdmin):
    """Who mended what, why, and what came of it."""

    list_display = ["created", "action", "badge", "total", "by", "reason", "scope"]
    list_filter = ["status", "action"]
    search_fields = ["by", "reason", "scope"]
    created = exactly("created_at")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("details")

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Who prepared it sees it, too."""
        own = isinstance(obj, Mending) and obj.user_id == request.user.pk
        return own or super().has_view_permission(request, obj)

    @admin.display(description="status")
    def badge(self, mending: Mending) -> str:
        return badge(mending.get_status_display(), TONES[mending.status])

    def get_urls(self) -> list[URLPattern]:
        pages = {
            "live": self.live_view,
            "begin": self.begin_view,
            "stop": self.stop_view,
            "resume": self.resume_view,
        }
        own = [
            path(f"<uuid:object_id>/{name}/", self.admin_site.admin_view(view), name=f"office_mending_{name}")
            for name, view in pages.items()
        ]
        return [*own, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return self._show(request, self.found(request, object_id), ReasonForm())

    def live_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """How far it is."""
        mending = self.found(request, str(object_id))
        return render(request, "office/progress.html", self._context(request, mending) | {"live": True})

    def _show(self, request: HttpRequest, mending: Mending, form: ReasonForm) -> HttpResponse:
        context = self._context(request, mending)
        if mending.status == Mending.Status.DRAFT:
            context["samples"] = samples(mending)
        return self.page(request, "office/mending.html", how_of(mending).label, form=form, **context)

    def _context(self, request: HttpRequest, mending: Mending) -> dict[str, Any]:
        counts = mendings.progress(mending)
        return {
            "mending": mending,
            "how": how_of(mending),
            "may": request.user.has_perm(how_of(mending).permission),
            "counts": [
                (status.label, status.value, counts[status]) for status in Mended.Status if counts[status]
            ],
            "settled": mending.total - counts[Mended.Status.WAITING] - counts[Mended.Status.SENT],
            "is_open": mending.status == Mending.Status.RUNNING or counts[Mended.Status.SENT] > 0,
            "left": counts[Mended.Status.WAITING],
            "items": mending.processes.exclude(status=Mended.Status.WAITING).order_by("-position")[:ROWS],
            "tone": TONES[mending.status],
        }

    @method_decorator(require_POST)
    def begin_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Begin what was prepared."""
        mending = self._mine(request, object_id)
        form = ReasonForm(request.POST)
        if not form.is_valid():
            return self._show(request, mending, form)
        if not mendings.begin(mending, who(request), form.cleaned_data["reason"]):
            messages.warning(request, "It was begun already.")
        return redirect("admin:office_mending_change", mending.pk)

    @method_decorator(require_POST)
    def stop_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Begin no more of it."""
        mending = self._mine(request, object_id)
        if not mendings.stop(mending, who(request)):
            messages.warning(request, "There is nothing to stop: it does not run any more.")
        return redirect("admin:office_mending_change", mending.pk)

    @method_decorator(require_POST)
    def resume_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Go on with the rest."""
        mending = self._mine(request, object_id)
        if not mendings.resume(mending, who(request)):
            messages.warning(request, "It goes on already, or has finished.")
        return redirect("admin:office_mending_change", mending.pk)

    def _mine(self, request: HttpRequest, object_id: UUID) -> Mending:
        mending = get_object_or_404(Mending, pk=object_id)
        if not request.user.has_perm(how_of(mending).permission):
            raise PermissionDenied
        return mending


TONES: dict[str, str] = {
    Mending.Status.DRAFT: "calm",
    Mending.Status.RUNNING: "run",
    Mending.Status.HALTED: "bad",
    Mending.Status.STOPPED: "warn",
    Mending.Status.FINISHED: "good",
}


def how_of(mending: Mending) -> Action | LetterAction:
    """What is done by this mending."""
    return ACTIONS.get(mending.action) or LETTER_ACTIONS[mending.action]
