"""What the unit tests share."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client

from kitchen import oven
from kitchen.models import Stock
from tests.unit import postoffice
from tests.unit.office import ColdOven, logged_in, somebody


@pytest.fixture
def counter() -> Iterator[postoffice.Counter]:
    """The post office's counter: set what it does."""
    yield postoffice.counter
    postoffice.counter.refill()


# --- The office -----------------------------------------------------------------------------------


@pytest.fixture
def operator(admin_user: User) -> Client:
    """Somebody who may do everything."""
    return logged_in(admin_user)


@pytest.fixture
def onlooker(db: None) -> Client:
    """Somebody who may view everything and change nothing."""
    return somebody("onlooker")


@pytest.fixture
def cold_oven(monkeypatch: pytest.MonkeyPatch) -> ColdOven:
    """An oven that one can heat."""
    cold = ColdOven()
    monkeypatch.setattr(oven, "burns", cold.burns)
    return cold


@pytest.fixture
def full_larder(db: None) -> None:
    """All that the kitchen has at first: tests that commit empty its tables."""
    for code in ("pmghr", "pfngh", "pvege", "proma", "pamat"):
        Stock.objects.update_or_create(code=code, defaults={"left": 1_000_000})
