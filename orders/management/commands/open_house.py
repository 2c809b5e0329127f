"""`manage.py open_house`: the whole house in one process, with guests, to look around."""

import logging
import os
import secrets
import signal
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import inf
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser
from django.db import InterfaceError, OperationalError, connection

from orders import embedded, web
from orders.cli import Exit, Failed, HouseCommand, note_console, result_console
from orders.visitors import ROUND, Visitors

EMAIL = "nobody@open-house.invalid"  # by which the demo user is known
PAUSE_SECONDS, BUSY_SECONDS = 20.0, 1.0  # between two parties
LOOK_SECONDS = 0.25
IN_PRODUCTION = ("DJANGO_SECRET_KEY", "DJANGO_ALLOWED_HOSTS", "DJANGO_CSRF_TRUSTED_ORIGINS")
NOT_HERE = (
    "open_house lets in a manager who may do everything, and prints the password; so it is for houses to"
    " try out, not for production. {why} If this is one to try out: {otherwise} manage.py open_house"
)


class Command(HouseCommand):
    help = (
        "Open the whole house in this one process, to look around: the office's pages, workers, a manager"
        " whose password is printed, and guests now and then, some of whom have troubles. Not in production."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="where the pages are (127.0.0.1)")
        parser.add_argument(
            "--port", type=_port, default=8000, metavar="N", help="0: any that is free (8000)"
        )
        parser.add_argument("--busy", action="store_true", help="a party each second, not every 20 seconds")
        parser.add_argument(
            "--tables", type=_number, metavar="N", help="so many parties and no more; 0: none"
        )
        parser.add_argument(
            "--user", type=_user, default="manager", metavar="NAME", help="who is let in (manager)"
        )

    def handle(self, **options: Any) -> None:
        https = settings.SECURE_SSL_REDIRECT
        if why := why_not(settings.DEBUG, https, _is_by_itself(), os.environ):
            otherwise = "DJANGO_HTTPS=false DJANGO_DEBUG=true" if https else "DJANGO_DEBUG=true"
            raise Failed(NOT_HERE.format(why=why, otherwise=otherwise))
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.default_int_handler)
        if "LOG_LEVEL" not in os.environ:  # what fails here fails on purpose, and the pages show it
            logging.getLogger("pizzahouse.messaging.handling").setLevel(logging.CRITICAL)
        with web.listen(options["host"], options["port"]) as server:
            settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, options["host"]]
            embedded.migrate()
            with let_in(options["user"]) as password, embedded.workers(), web.serving(server):
                address = web.address_of(server, options["host"])
                result_console().print(welcome(address, options["user"], password), markup=False)
                self._look_after(Visitors(), **_pace(options))

    def _look_after(self, visitors: Visitors, pause: float, most: float) -> None:
        """Guests come and are answered, until somebody closes the house."""
        seated, first = 0, 0 if visitors.number else len(ROUND)
        due = time.monotonic()
        try:
            while True:
                with surviving():
                    while seated < most and (seated < first or time.monotonic() >= due):
                        note_console().print(f"{time.strftime('%H:%M:%S')}  {visitors.seat()}", markup=False)
                        seated, due = seated + 1, time.monotonic() + pause
                    visitors.answer()
                time.sleep(LOOK_SECONDS)
        except KeyboardInterrupt:
            self.stderr.write("\nThe house is closed. What is under way goes on when it opens again.")


def why_not(debug: bool, https: bool, by_itself: bool, environment: Mapping[str, str]) -> str:
    """Why the house is not opened: a sentence that says what looks like production. Empty where nothing
    does: its pages need no TLS, and either it is a house for debugging, or it is by itself (neither database
    nor broker is a server) and nothing of a web server's is set."""
    if https:
        return "Here DJANGO_HTTPS is on, and this server speaks no TLS."
    if debug:
        return ""
    if environment.get("DJANGO_DEBUG"):
        return f"Here DJANGO_DEBUG is {environment['DJANGO_DEBUG']}."
    found = [name for name in IN_PRODUCTION if environment.get(name)]
    if found:
        return f"Here {found[0]} is set, and DJANGO_DEBUG is not."
    return "" if by_itself else "Here a database or a broker is configured, and DJANGO_DEBUG is not set."


def _is_by_itself() -> bool:
    return embedded.is_embedded() and connection.vendor == "sqlite"


@contextmanager
def let_in(name: str) -> Iterator[str]:
    """Somebody who may do everything, with a new password, which is good until the end of the block.
    Raises Failed where there is somebody else of this name."""
    password = secrets.token_urlsafe(9)
    known = User.objects.filter(username=name).first()
    if known is not None and known.email != EMAIL:
        raise Failed(
            f"There is a user {name!r} already, whose password is not touched. Choose another: --user NAME",
            Exit.USAGE,
        )
    may = {"email": EMAIL, "is_staff": True, "is_superuser": True, "is_active": True}
    User.objects.update_or_create(username=name, defaults={**may, "password": make_password(password)})
    try:
        yield password
    finally:
        User.objects.filter(username=name).update(password=make_password(None))


def welcome(address: str, name: str, password: str) -> str:
    """What somebody needs who wants to look around."""
    return (
        f"The house is open: {address}/admin/office/process/\n"
        f"  user      {name}\n"
        f"  password  {password}  (until it is closed)\n"
        "Ctrl-C closes it."
    )


@contextmanager
def surviving() -> Iterator[None]:
    """A database that does not answer for a while closes no house."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        note_console().print(f"The guests wait for the database: {str(error).strip()}", markup=False)
        connection.close()
        time.sleep(BUSY_SECONDS)


def _pace(options: dict[str, Any]) -> dict[str, float]:
    most = inf if options["tables"] is None else options["tables"]
    return {"pause": BUSY_SECONDS if options["busy"] else PAUSE_SECONDS, "most": most}


def _number(text: str) -> int:
    """Raises ArgumentTypeError."""
    if not text.isdecimal() or len(text) > 9:
        raise ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return int(text)


def _user(text: str) -> str:
    """Raises ArgumentTypeError."""
    try:
        return str(User._meta.get_field("username").clean(text, None))
    except ValidationError as error:
        why = " ".join(error.messages).rstrip(".")
        raise ArgumentTypeError(f"{text!r} is not a user's name: {why}") from error


def _port(text: str) -> int:
    """Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text[:6]) > 65535:
        raise ArgumentTypeError(f"{text!r} is not a port: a number from 0 to 65535")
    return int(text)
