"""The settings of a house whose oven and whose guests' cards have troubles where a test says so."""

from kitchen import oven
from pizzahouse.settings import *  # noqa: F403
from waiter import guest

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def check(code: str) -> None:
    """Instead of the oven's own: called before a pizza is baked."""
    from pizzahouse.messaging.handling import correlation
    from tests.browser import troubles

    if troubles.has(correlation(), code):
        raise oven.OvenIsCold(code)


def declines() -> bool:
    """Instead of the guest's own: called while they pay."""
    from pizzahouse.messaging.handling import correlation
    from tests.browser import troubles

    return troubles.has(correlation(), troubles.CARD)


oven.check = check
guest.declines = declines
