"""System checks: a configuration that can lose messages is refused before anything runs."""

from collections.abc import Sequence
from typing import Any

import dramatiq
from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from dramatiq.middleware import Retries

from pizzahouse.messaging import handling, tracing
from pizzahouse.messaging.broker import EmbeddedBroker, RelayMiddleware, SafeRabbitmqBroker
from pizzahouse.messaging.messages import Command, contracts, owner

Found = list[CheckMessage]


@register()
def check_broker(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Found:
    """The broker keeps our promises."""
    broker = dramatiq.get_broker()
    if not isinstance(broker, (SafeRabbitmqBroker, EmbeddedBroker)):
        return [
            Error(
                f"{type(broker).__name__} can acknowledge a message it did not handle.",
                hint="Set DRAMATIQ_BROKER['BROKER'] to pizzahouse.messaging.broker.SafeRabbitmqBroker.",
                id="messaging.E001",
            )
        ]
    return [*_check_connection(broker), *_check_middleware(broker.middleware)]


def _check_connection(broker: SafeRabbitmqBroker | EmbeddedBroker) -> Found:
    if isinstance(broker, EmbeddedBroker):
        return []
    found: Found = []
    if not broker.connects_with.heartbeat:
        found.append(
            Error(
                "Without a heartbeat a half-open connection hangs for ever.",
                hint="Take heartbeat=0 out of RABBITMQ_URL; 15 to 60 seconds are sound.",
                id="messaging.E002",
            )
        )
    if not broker.connects_with.blocked_connection_timeout:
        found.append(
            Error(
                "Without a timeout a blocked broker holds the publisher for ever.",
                hint="Take blocked_connection_timeout out of RABBITMQ_URL.",
                id="messaging.E003",
            )
        )
    if broker.queue_type not in ("classic", "quorum"):
        found.append(
            Error(
                f"There are no {broker.queue_type!r} queues that keep messages safely.",
                hint='Set PIZZAHOUSE_QUEUE_TYPE to "classic" or "quorum".',
                id="messaging.E004",
            )
        )
    return found


def _check_middleware(middleware: Sequence[Any]) -> Found:
    found: Found = []
    if any(isinstance(each, Retries) for each in middleware):
        found.append(
            Error(
                "Dramatiq's Retries can lose a message that it fails to enqueue again.",
                hint="Take it out of DRAMATIQ_BROKER['MIDDLEWARE']; the inbox retries.",
                id="messaging.E005",
            )
        )
    if not any(isinstance(each, RelayMiddleware) for each in middleware):
        found.append(
            Error(
                "Workers run no relay, so what their handlers put waits for somebody else's.",
                hint="Add pizzahouse.messaging.broker.RelayMiddleware to DRAMATIQ_BROKER['MIDDLEWARE'].",
                id="messaging.E006",
            )
        )
    return found


@register()
def check_database(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Found:
    """The database keeps them, too."""
    database = settings.DATABASES["default"]
    options = database.get("OPTIONS", {})
    found: Found = []
    if database["ENGINE"].endswith("sqlite3"):
        if options.get("transaction_mode") != "IMMEDIATE":
            found.append(
                Error(
                    "SQLite's deferred transactions fail as soon as two threads write.",
                    hint='Set OPTIONS["transaction_mode"] to "IMMEDIATE".',
                    id="messaging.E007",
                )
            )
        if settings.RABBITMQ_URL:
            found.append(
                Warning(
                    "RabbitMQ with SQLite works on one machine only.",
                    hint="Set DATABASE_URL to a PostgreSQL database.",
                    id="messaging.W001",
                )
            )
    return found


@register()
def check_handlers(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Found:
    """Every command has somebody who handles it."""
    handled = {handler.contract for handler in handling.handlers().values()}
    return [
        Error(
            f"Nobody handles the command {contract.__name__}.",
            hint=f"Write a function with @handles({contract.__name__}) in {owner(contract)}/actors.py.",
            id="messaging.E008",
        )
        for contract in contracts()
        if issubclass(contract, Command) and contract not in handled
    ]


@register()
def check_tracing(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> Found:
    """Traces that are asked for can be made."""
    if not settings.MESSAGING["OTLP_ENDPOINT"] or not tracing.missing():
        return []
    return [
        Error(
            "OTEL_EXPORTER_OTLP_ENDPOINT asks for traces, and OpenTelemetry is not installed.",
            hint=f"Install it: {tracing.INSTALL}. Or unset the variable.",
            id="messaging.E009",
        )
    ]
