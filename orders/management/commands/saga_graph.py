"""`manage.py saga_graph table_service`: the state graph, from the code."""

from typing import Any

from django.core.management.base import CommandParser

from orders.cli import HouseCommand, scenario_of
from orders.graph import mermaid


class Command(HouseCommand):
    help = "Draw a scenario's states and steps as Mermaid text."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("scenario", help="for example table_service")

    def handle(self, **options: Any) -> None:
        self.stdout.write(mermaid(scenario_of(options["scenario"])))
