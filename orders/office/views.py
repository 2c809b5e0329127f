"""The office's pages of messages: dead letters in groups and one by one, and the queues."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from orders.office import mendings, scope
from orders.office.counters import oldest_waiting
from orders.office.foresight import Refused
from orders.office.forms import EditForm, MendForm
from orders.office.frame import page
from orders.office.letters import LETTER_ACTIONS, LetterAction, payload_of
from orders.office.mending_admin import prepared
from orders.office.models import Mended, Mending
from orders.office.people import who
from orders.office.previews import preview
from pizzahouse.messaging import dead_letters, queues
from pizzahouse.messaging.dead_letters import Group
from pizzahouse.messaging.errors import NoSuchGroup
from pizzahouse.messaging.models import InboxMessage

MOST = 100  # rows on a page
Act = Mending.Action
may_view = permission_required("messaging.view_inboxmessage", raise_exception=True)


# --- Dead letters ---------------------------------------------------------------------------------


@may_view
def groups(request: HttpRequest) -> HttpResponse:
    """What is dead, and what failed and is tried again, grouped by what went wrong."""
    found: dict[str, list[Group]] = {status: [] for status in InboxMessage.TROUBLE}
    for each in dead_letters.groups(failing=True):
        found[each.kind.status].append(each)
    return page(request, "office/dead_letters.html", "Dead letters", **found)


@may_view
def group(request: HttpRequest, key: str) -> HttpResponse:
    """The messages that failed alike."""
    rows = _rows(key)
    shown = list(rows[: MOST + 1])
    context = {"key": key, "rows": shown[:MOST], "more": len(shown) > MOST}
    context["may_redrive"] = request.user.has_perm(LETTER_ACTIONS[Act.REDRIVE].permission)
    title = f"{shown[0].type}: {shown[0].get_status_display()}" if shown else "Nothing of this is left"
    return page(request, "office/dead_group.html", title, **context)


@may_view
@require_POST
def redrive(request: HttpRequest, key: str) -> HttpResponse:
    """Keep a group's messages as they are now, to be sent again."""
    rows = list(_rows(key)[: mendings.MOST + 1])
    told = f"dead letters: {rows[0].type} at {rows[0].handler}: {rows[0].error[:200]}" if rows else ""
    response = prepared(request, LETTER_ACTIONS[Act.REDRIVE], scope.letters(rows), told)
    return response or redirect("office:dead_letters")


def _rows(key: str) -> Any:
    try:
        return dead_letters.rows_of(key)
    except NoSuchGroup as error:
        raise Http404(str(error)) from error


@may_view
def letter(request: HttpRequest, pk: int) -> HttpResponse:
    """One dead message: what it is, and the ways to mend it, each with what would come of it."""
    row = get_object_or_404(InboxMessage, pk=pk)
    chosen = LETTER_ACTIONS.get(request.POST.get("action", ""))
    if request.method == "POST":
        if chosen is None:
            raise Http404
        if not request.user.has_perm(chosen.permission):
            raise PermissionDenied
        if "do" in request.POST and (done := _mend(request, row, chosen)):
            return done
        row.refresh_from_db()
    ways = [_way(request, row, each, chosen is each) for each in _possible(request, row)]
    title = f"{row.type}: {row.get_status_display()}"
    return page(request, "office/dead_letter.html", title, row=row, ways=ways)


def _possible(request: HttpRequest, row: InboxMessage) -> list[LetterAction]:
    """What can be done to it by this user. What is tried again by itself can be sent at once."""
    if row.status not in row.TROUBLE:
        return []
    dead = row.status == InboxMessage.Status.DEAD
    found = [each for each in LETTER_ACTIONS.values() if dead or each.name == Act.REDRIVE]
    return [each for each in found if request.user.has_perm(each.permission)]


def _way(request: HttpRequest, row: InboxMessage, how: LetterAction, chosen: bool) -> dict[str, Any]:
    """A way to mend it. What would come of other content is seen once there is some."""
    form = _form(row, how, request.POST if chosen else None)
    if how.name == Act.EDIT and not (chosen and form.details()):
        return {"how": how, "form": form, "told": None}
    return {"how": how, "form": form, "told": preview(how, row, form.details(), str(request.user))}


def _form(row: InboxMessage, how: LetterAction, data: Any) -> MendForm:
    if how.name == Act.EDIT:
        return EditForm(data, auto_id=f"id_{how.name}_%s", initial={"payload": payload_of(row)})
    return MendForm(data, auto_id=f"id_{how.name}_%s")


def _mend(request: HttpRequest, row: InboxMessage, how: LetterAction) -> HttpResponse | None:
    """Do it; None, with a message, where that cannot be done."""
    form = _form(row, how, request.POST)
    if not form.is_valid():
        return None
    item = Mended(process_id=row.saga_id, letter_id=row.pk)
    try:
        mending = mendings.mend(how.name, item, who(request), form.cleaned_data["reason"], form.details())
    except Refused as reason:
        messages.error(request, str(reason))
        return None
    if item.table:
        return redirect("admin:office_process_change", row.saga_id)
    return redirect("admin:office_mending_change", mending.pk)


# --- Queues ---------------------------------------------------------------------------------------


@permission_required("messaging.view_outboxmessage", raise_exception=True)
def queue_list(request: HttpRequest) -> HttpResponse:
    """How deep each queue is, who consumes it, and since when its oldest message waits."""
    looked, oldest = queues.look(), oldest_waiting()
    names = sorted({*(looked or {}), *oldest})
    rows = [(name, (looked or {}).get(name), oldest.get(name)) for name in names]
    return page(request, "office/queues.html", "Queues", rows=rows, answers=looked is not None)
