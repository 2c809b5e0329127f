"""The oven: simulated, so it burns a pizza now and then, or stays cold, if it is told to."""

import random

from django.conf import settings

BAKING = 1.0  # seconds at pace 1


class OvenIsCold(Exception):
    """Nothing is baked, and it is tried again by itself. PIZZAHOUSE_COLD_OVEN says for which pizzas it is."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the oven is too cold for {code}")


def check(code: str) -> None:
    """Raises OvenIsCold where it is told to be, for this pizza."""
    if code in settings.PIZZAHOUSE_COLD_OVEN:
        raise OvenIsCold(code)


def baking_seconds() -> float:
    """How long a pizza takes."""
    return BAKING * float(settings.PIZZAHOUSE_PACE)


def burns() -> bool:
    """Whether this one burns."""
    return random.random() < settings.PIZZAHOUSE_MISHAPS["burned"]  # noqa: S311
