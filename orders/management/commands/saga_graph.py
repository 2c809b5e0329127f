"""`manage.py saga_graph table_service`: the state graph, from the code."""

from typing import Any

from django.core.management.base import CommandParser

from orders.cli import Exit, Failed, HouseCommand
from orders.graph import mermaid
from orders.saga import scenarios


class Command(HouseCommand):
    help = "Draw a scenario's states and steps as Mermaid text."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("scenario", help="for example table_service")

    def handle(self, **options: Any) -> None:
        known = {scenario.label(): scenario for scenario in scenarios()}
        scenario = known.get(options["scenario"])
        if scenario is None:
            names = ", ".join(sorted(known))
            raise Failed(f"There is no scenario {options['scenario']!r}; there is {names}.", Exit.USAGE)
        self.stdout.write(mermaid(scenario))
