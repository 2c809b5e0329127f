"""`manage.py serve_table TBL1`: serve a table, and tell how it goes."""

import sys
from typing import Any

from django.core.management.base import CommandParser

from orders.cli import Exit, Failed
from orders.guests import Guests
from orders.serving import ServeCommand
from orders.story import Story
from orders.table_service import TableService


class Command(ServeCommand):
    help = "Serve a table: start its process and follow it to the bill."
    scenario = TableService
    guests: Guests | None = None

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--interactive", action="store_true", help="you are the guest: you order, and pay or do not"
        )

    def wishes(self, options: dict[str, Any]) -> dict[str, Any]:
        self.interactive = options["interactive"]
        if self.interactive and (options["json"] or options["detach"] or options["order"]):
            raise Failed("--interactive goes without --json, --detach and --order.", Exit.USAGE)
        if self.interactive and not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise Failed("--interactive needs a terminal to type in.", Exit.USAGE)
        return {"in_person": self.interactive}

    def look_after(self, story: Story) -> bool:
        if not self.interactive:
            return False
        self.guests = self.guests or Guests(story.saga_id)
        question = self.guests.question()
        if question is None:
            return False
        with story.paused():
            story.go_on()  # what was told so far may be older than the question
            self.guests.reply(question)
        return True
