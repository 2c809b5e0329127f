"""The pages of mendings: prepared, begun, how far they are, and what came of each."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST

from orders.office import mendings
from orders.office.actions import Action
from orders.office.foresight import Refused
from orders.office.forms import ReasonForm
from orders.office.frame import OfficeAdmin, badge
from orders.office.letters import LetterAction
from orders.office.models import Mended, Mending
from orders.office.people import who
from orders.office.previews import how_of, samples
from pizzahouse.messaging.admin import exactly

SHOWN = 50  # of the items of a mending


def prepared(
    request: HttpRequest, action: Action | LetterAction, items: Any, told: str
) -> HttpResponse | None:
    """Keep these items as a mending that is not begun, and go to its page; None, with a message, where there
    are none or too many. Raises PermissionDenied."""
    if not request.user.has_perm(action.permission):
        raise PermissionDenied
    try:
        mending = mendings.prepare(action.name, items, who(request), told)
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
        return badge(mending.get_status_display(), mending.tone)

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
            "items": mending.processes.exclude(status=Mended.Status.WAITING).order_by("-position")[:SHOWN],
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
