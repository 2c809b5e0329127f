"""The explorer's last reports, as `manage.py explore_saga --keep` left them."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from orders.explorer.worlds import BOUNDED
from orders.office.frame import OfficeAdmin, badge
from orders.office.models import ExplorerReport, scenario_named
from orders.office.words import in_plain, number_of
from orders.steps import NEW
from pizzahouse.messaging.admin import exactly

ASKED = {"pizzas": "that the guests order", "stock": "pizzas of each kind that can be baked", **BOUNDED}


def verdict(report: ExplorerReport) -> tuple[str, str]:
    """What it says of the scenario, in a word or two, and how that looks."""
    if report.findings:
        return number_of(len(report.findings), "finding"), "bad"
    return ("nothing is wrong", "good") if report.complete else ("proves nothing", "warn")


def summary(report: ExplorerReport) -> str:
    """The same, in a sentence or two."""
    if report.complete:
        looked = f"All {report.worlds:,} states of the whole house that can be reached were looked at."
        end = "Nothing is wrong there."
    else:
        looked = f"Only the first {report.worlds:,} states of the whole house were looked at."
        end = "Nothing is wrong with these, which proves nothing: more can be reached."
    return (
        f"{looked} What is wrong, and how it comes to that, is below."
        if report.findings
        else f"{looked} {end}"
    )


def parameters(report: ExplorerReport) -> Iterator[tuple[str, int, str]]:
    """What was asked for: name, number, and what it is of. A database may keep them in any order."""
    asked = report.parameters
    for name in [*(each for each in ASKED if each in asked), *(each for each in asked if each not in ASKED)]:
        yield name, asked[name], ASKED.get(name, "")


def coverage(report: ExplorerReport) -> list[tuple[str, bool]]:
    """The states of the scenario, as its code is now, in the order of its story, and whether they were
    reached; none where there is no such scenario any more."""
    try:
        steps = scenario_named(report.scenario).steps().values()
    except KeyError:
        return []
    states = dict.fromkeys(state for step in steps for state in (step.source, *step.targets))
    return [(state, state in report.saga_states) for state in states if state != NEW]


def duration(seconds: float) -> str:
    """As it is read: "0.4 seconds", "3 minutes, 20 seconds"."""
    if seconds < 60:
        return f"{seconds:.1f} seconds"
    return f"{number_of(int(seconds // 60), 'minute')}, {number_of(int(seconds % 60), 'second')}"


@admin.register(ExplorerReport)
class ExplorerReportAdmin(OfficeAdmin):
    """What was explored and found."""

    list_display = ["made", "scenario", "verdict", "worlds", "moves", "took", "asked"]
    list_filter = ["scenario", "complete"]
    made = exactly("made_at")

    @admin.display(description="what came of it")
    def verdict(self, report: ExplorerReport) -> str:
        return badge(*verdict(report))

    @admin.display(ordering="seconds")
    def took(self, report: ExplorerReport) -> str:
        return duration(report.seconds)

    @admin.display(description="asked for")
    def asked(self, report: ExplorerReport) -> str:
        return ", ".join(f"{name} {number}" for name, number, _what in parameters(report))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        report = self.found(request, object_id)
        text, tone = verdict(report)
        states = coverage(report)
        context = {
            "report": report,
            "made": f"{timezone.localtime(report.made_at):%Y-%m-%d %H:%M:%S}",
            "took": duration(report.seconds),
            "verdict": text,
            "tone": tone,
            "summary": summary(report),
            "parameters": parameters(report),
            "reached": [in_plain(state) for state, is_reached in states if is_reached],
            "missed": [in_plain(state) for state, is_reached in states if not is_reached],
            "states": len(states),
        }
        title = f"{in_plain(report.scenario)}, explored"
        return self.page(request, "office/explored.html", title, **context)
