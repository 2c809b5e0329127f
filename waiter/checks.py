"""System check: a payment service that anybody could pass for is refused."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from waiter.bills import REMOTE

SHORTEST_SECRET = 16


@register()
def check_payment(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Remote payments are signed with a secret that cannot be guessed."""
    secret = settings.PIZZAHOUSE_PAYMENT_SECRET
    needed = settings.PIZZAHOUSE_PAYMENT == REMOTE or secret
    if not needed or len(secret) >= SHORTEST_SECRET:
        return []
    return [
        Error(
            "Whoever guesses the secret of remote payments can pay any bill with nothing.",
            hint=(
                f"Set PIZZAHOUSE_PAYMENT_SECRET to {SHORTEST_SECRET} characters or more, such as"
                " `openssl rand -hex 32` makes."
            ),
            id="waiter.E001",
        )
    ]
