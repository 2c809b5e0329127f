"""`manage.py prune_messages --older-than 30d`: delete messages that nobody needs any more."""

import re
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser
from django.db.models import Q, QuerySet
from django.utils import timezone

from orders.cli import Exit, Failed, HouseCommand
from orders.saga import Saga, scenarios
from pizzahouse.messaging import retention

UNITS = {"h": "hours", "d": "days", "w": "weeks"}
SHORTEST = timedelta(days=1)  # what is younger is not looked for in the outbox when it is delivered again


class Command(HouseCommand):
    help = (
        "Delete messages that were handled so long ago, in batches, from the outbox and the inbox; never"
        " those of a process that runs or has ended since, nor what is pending, failing or dead."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--older-than", required=True, metavar="AGE", help="such as 30d, 12w, 48h")
        parser.add_argument("--dry-run", action="store_true", help="only count them")

    def handle(self, **options: Any) -> None:
        before = timezone.now() - _age(options["older_than"])
        running = [_running(scenario, before) for scenario in scenarios()]
        if options["dry_run"]:
            count = retention.prunable(before, *running).count()
            self.stdout.write(f"{count} messages would be deleted.")
            return
        total = 0
        while count := retention.prune(before, *running):
            total += count
        self.stdout.write(f"{total} messages deleted.")


def _age(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,5})([hdw])", text)
    if match is None:
        raise Failed(f"{text!r} is not an age; write it like this: 30d, 12w, 48h", Exit.USAGE)
    age = timedelta(**{UNITS[match[2]]: int(match[1])})
    if age < SHORTEST:
        raise Failed("Keep messages for a day at least: --older-than 1d", Exit.USAGE)
    return age


def _running(scenario: type[Saga], since: datetime) -> "QuerySet[Saga, UUID]":
    """The ids of its processes that run, or ended since."""
    still = Q(finished_at=None) | Q(finished_at__gte=since)
    return scenario._default_manager.filter(still).values_list("pk", flat=True)
