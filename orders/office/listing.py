"""The list of processes: what is shown of each, how it is searched and filtered, and that it stays fast with
a million of them: whatever is counted is counted so far and no further, and every filter has its index."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import BooleanField, F, Func, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import JSONObject, Now
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.views import ChangeList

from orders.contracts import DeadlinePassed
from orders.office.models import Process
from orders.saga import OVERDUE, STOPPED, scenarios
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.paging import FAR

Status = InboxMessage.Status
Processes = QuerySet[Any]
Ids = QuerySet[Any, Any]  # of processes, as `process`; each has an index
MANY = 1000  # tables that begin alike


class ProcessList(ChangeList):
    """A page of processes, each with its last step and its last trouble."""

    def get_ordering(self, request: HttpRequest, queryset: Processes) -> list[str]:
        """By age, which an id begins with: nothing else has an index that leads through all processes."""
        first = super().get_ordering(request, queryset)[0]
        return [first] if first in ("id", "-id") else ["-id"]

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        shown = self.result_list.query
        ids = self._ids(self.queryset, shown.low_mark, shown.high_mark or self.list_max_show_all)
        self.result_list: Any = list(with_details(ids).order_by(*self.queryset.query.order_by))

    def _ids(self, processes: Processes, first: int, last: int) -> list[UUID]:
        """Of those from the first to the last. Each scenario is asked alone, for its table's own best plan:
        merged by PostgreSQL, one with no such process would be read to its end."""
        each = [processes.filter(scenario=scenario.label()) for scenario in scenarios()]
        found = [pk for one in each for pk in one.values_list("pk", flat=True)[:last]]
        return sorted(found, reverse=processes.query.order_by[0] == "-id")[first:last]


def with_details(ids: list[UUID]) -> Processes:
    """These processes with their last step and last trouble."""
    handled = InboxMessage.objects.filter(saga_id=OuterRef("pk")).order_by("-id")
    trouble = JSONObject(type="type", status="status", error="error", attempts="attempts")
    return Process.objects.filter(pk__in=ids).annotate(
        step=Subquery(handled.exclude(step="").values("step")[:1]),
        trouble=Subquery(handled.in_trouble().values(found=trouble)[:1]),
    )


# --- Searching ------------------------------------------------------------------------------------


def search(processes: Processes, text: str) -> Processes:
    """Those with this id, whose table begins so, or that have a message which fails with such an error."""
    text = text.strip()
    try:
        return processes.filter(pk=UUID(text))
    except ValueError:
        begins = Q(table__startswith=text) | Q(table__startswith=text.upper())
    begin = Process.objects.filter(begins)
    failing = InboxMessage.objects.in_trouble().filter(error__icontains=text).exclude(saga_id=None)
    errors = failing.values(process=F("saga_id"))
    if begin.order_by()[: MANY + 1].count() > MANY:
        # Each of those is compared with all of these: so many of the newest, and no more.
        return processes.filter(begins | Q(Among(ids(errors, most=MANY))))
    most = None if processes.query.has_filters() else FAR + 1
    among = AlsoAmong if _is_narrowed(processes) else Among
    return processes.filter(among(ids(begin.values(process=F("pk")), errors, most=most)))


def ids(*found: Ids, most: int | None = None) -> Ids:
    """One query of all these; most: the newest so many, where more are nowhere counted."""
    first, *more = (each.order_by() for each in found)
    either: Ids = first.union(*more) if more else first.distinct()
    return either.order_by("-process")[:most] if most else either


class Among(Func):
    """Whether a process is one of these: a query of ids, which is asked once. Each is then looked up by its
    key; a planner that saw a query there would guess wrongly how many there are, and read all processes."""

    template, arg_joiner = "%(expressions)s)", " = ANY(ARRAY"
    output_field = BooleanField()

    def __init__(self, found: Ids) -> None:
        super().__init__(F("pk"), Subquery(found))

    def as_sqlite(self, compiler: Any, connection: Any, **kwargs: Any) -> Any:
        return self.as_sql(compiler, connection, template="%(expressions)s", arg_joiner=" IN ", **kwargs)


class AlsoAmong(Among):
    """The same for those that another `Among` has found: of two of them PostgreSQL would try all pairs."""

    template, arg_joiner = "(%(expressions)s) IS TRUE", " IN "


def _is_narrowed(processes: Processes) -> bool:
    """Whether one is applied to them already."""
    where: Any = processes.query.where
    return any(isinstance(getattr(each, "lhs", None), Among) for each in where.leaves())


# --- Filters --------------------------------------------------------------------------------------


class ScenarioFilter(admin.SimpleListFilter):
    title = "scenario"
    parameter_name = "scenario"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(each.label(), str(each._meta.verbose_name)) for each in scenarios()]

    def queryset(self, request: HttpRequest, queryset: Processes) -> Processes:
        return queryset.filter(scenario=self.value()) if self.value() else queryset


class StateFilter(admin.SimpleListFilter):
    """By state. The index of those that run, or of those with an outcome, leads to them."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state.replace("_", " ")) for state in states()]

    def queryset(self, request: HttpRequest, queryset: Processes) -> Processes:
        state = self.value()
        if not state:
            return queryset
        ends = {each.outcomes[state] for each in scenarios() if state in each.outcomes}
        where = Q(state=state)
        if ends:
            where &= Q(standing__in=sorted(ends))
        else:
            where &= Q(finished_at=None)
        return queryset.filter(where)


def states() -> Iterable[str]:
    """All states of all scenarios, in the order of their stories."""
    found: dict[str, None] = {}
    for scenario in scenarios():
        for step in scenario.steps().values():
            found |= dict.fromkeys(step.targets)
    return found


ATTENTION = {
    "any": "anything of this",
    "failing": "a message fails",
    "dead": "a message is dead",
    "overdue": "overdue",
    "manager": "needs a manager",
}


class AttentionFilter(admin.SimpleListFilter):
    """Those that somebody has to look after."""

    title = "needs attention"
    parameter_name = "attention"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterator[tuple[str, str]]:
        return iter(ATTENTION.items())

    def queryset(self, request: HttpRequest, queryset: Processes) -> Processes:
        wanted = self.value()
        if wanted not in ATTENTION:
            return queryset
        kinds = [kind for kind in ATTENTION if kind != "any"] if wanted == "any" else [wanted]
        alone = request.GET.keys() <= {self.parameter_name, "p", "o", "all"}
        found = ids(*(each for kind in kinds for each in needing(kind)), most=FAR + 1 if alone else None)
        return queryset.filter(Among(found))


def needing(kind: str) -> list[Ids]:
    """The processes that need this kind of attention."""
    trouble = InboxMessage.objects.in_trouble().filter(saga_id__isnull=False)
    processes = Process.objects.all()
    match kind:
        case "failing":
            return [trouble.filter(status=Status.FAILED).values(process=F("saga_id"))]
        case "dead":
            return [trouble.filter(status=Status.DEAD).values(process=F("saga_id"))]
        case "manager":
            return [processes.filter(standing=STOPPED).values(process=F("pk"))]
    late = OutboxMessage.objects.filter(
        type=DeadlinePassed.__name__, sent_at=None, available_at__lt=Now(), saga_id__isnull=False
    )
    overdue = processes.filter(standing=OVERDUE).values(process=F("pk"))
    return [overdue, late.values(process=F("saga_id"))]


class StartedFilter(RangeDateTimeFilter):
    """Asked for between two times: an id begins with its time, so the key's own order finds them. Without
    a time a day is meant from its beginning, or to its end."""

    def queryset(self, request: HttpRequest, queryset: Processes) -> Processes:
        since, until = self._time("from", "00:00:00"), self._time("to", "23:59:59")
        if since:
            queryset = queryset.filter(pk__gte=first_id(since))
        if until:
            queryset = queryset.filter(pk__lt=first_id(until + timedelta(seconds=1)))
        return queryset

    def _time(self, end: str, otherwise: str) -> datetime | None:
        """What was typed; nothing where it is no time."""
        asked = self.used_parameters
        day, time = (asked.get(f"{self.parameter_name}_{end}_{part}") for part in (0, 1))
        try:
            typed = parse_datetime(f"{day} {time or otherwise}") if day else None
        except ValueError:
            return None
        return timezone.make_aware(typed) if typed else None


def first_id(at: datetime) -> UUID:
    """The smallest id (UUIDv7) that could have been made then."""
    milliseconds = max(int(at.timestamp() * 1000), 0)
    return UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62)


FILTERS = [AttentionFilter, StateFilter, ScenarioFilter, ("started_at", StartedFilter)]
