"""`manage.py serve SCENARIO TABLE`: start a process of any scenario, and tell how it goes."""

from typing import Any

from django.core.management.base import CommandParser

from orders.cli import scenario_of
from orders.serving import ServeCommand


class Command(ServeCommand):
    help = "Start a process of any scenario and follow it to its end: serve simple_serving BAR"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("scenario", help="for example table_service")
        super().add_arguments(parser)

    def handle(self, **options: Any) -> None:
        self.scenario = scenario_of(options["scenario"])  # type: ignore[misc]
        super().handle(**options)
