"""What the bench borrows from the configured servers, and gives back."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import dramatiq
import pika
from django.conf import settings
from django.db import ProgrammingError, connection
from pika.exceptions import AMQPError

from orders.bench import direct
from orders.bench.figures import Plan
from orders.cli import Exit, Failed


@contextmanager
def own_database(tag: str, *, keep: bool = False) -> Iterator[tuple[str, str]]:
    """A new, empty database beside the configured one; gives its name and URL. keep: it is left there.
    Raises Failed."""
    configured = urlsplit(os.environ["DATABASE_URL"])
    name = f"{connection.settings_dict['NAME'][:40]}_bench_{tag}"
    quoted = connection.ops.quote_name(name)
    with connection.cursor() as cursor:
        try:
            cursor.execute(f"CREATE DATABASE {quoted} TEMPLATE template0")
        except ProgrammingError as error:
            raise Failed(
                f"The bench needs a database of its own: {str(error).strip()}. Allow it: ALTER ROLE"
                f" {connection.settings_dict['USER']} CREATEDB"
            ) from error
    try:
        yield name, configured._replace(path=f"/{name}").geturl()
    finally:
        connection.close()  # it has been idle for long, or interrupted in the middle of an answer
        if not keep:
            with connection.cursor() as cursor:
                cursor.execute(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")


@contextmanager
def own_queues(plan: Plan, prefix: str) -> Iterator[None]:
    """Whatever queues workers declare under this prefix are deleted afterwards. Raises Failed."""
    configured = str(settings.MESSAGING["QUEUE_PREFIX"])
    names = [
        prefix + str(name).removeprefix(configured) for name in dramatiq.get_broker().get_declared_queues()
    ]
    with _broker():  # it answers
        pass
    try:
        yield
    finally:
        with _broker() as link:
            channel = link.channel()
            for name in (*names, *direct.all_queues(plan.processes, prefix)):
                channel.queue_delete(name)


@contextmanager
def _broker() -> Iterator[pika.BlockingConnection]:
    try:
        link = pika.BlockingConnection(pika.URLParameters(settings.RABBITMQ_URL))
    except (AMQPError, OSError) as error:
        raise Failed(
            "RabbitMQ does not answer. Start it, or correct RABBITMQ_URL.", Exit.UNREACHABLE
        ) from error
    try:
        yield link
    finally:
        link.close()


def rabbitmq_version() -> str:
    """As the server tells it to every client."""
    with _broker() as link:
        properties = link._impl.server_properties or {}  # pika has no public way to them
        return str(properties.get("version", "?"))


def broker_port() -> int:
    """Where RabbitMQ listens."""
    return int(pika.URLParameters(settings.RABBITMQ_URL).port)
