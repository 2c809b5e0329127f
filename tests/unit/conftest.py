"""What the unit tests share."""

from collections.abc import Iterator

import pytest

from tests.unit import postoffice


@pytest.fixture
def counter() -> Iterator[postoffice.Counter]:
    """The post office's counter: set what it does."""
    yield postoffice.counter
    postoffice.counter.refill()
