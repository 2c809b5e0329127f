"""The oven: simulated, so it burns a pizza now and then if it is told to."""

import random

from django.conf import settings

BAKING = 1.0  # seconds at pace 1


def baking_seconds() -> float:
    """How long a pizza takes."""
    return BAKING * float(settings.PIZZAHOUSE_PACE)


def burns() -> bool:
    """Whether this one burns."""
    return random.random() < settings.PIZZAHOUSE_MISHAPS["burned"]  # noqa: S311
