"""What the unit tests share."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client

from kitchen import oven
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
