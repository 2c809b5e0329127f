"""What the office asks of the database does not grow with what there is."""

from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from orders.bench import pages
from orders.office.models import Mended, Mending
from pizzahouse.messaging import testing
from tests.unit.office import NOT_ON_ANY_MENU, page_of, seat, tick
from waiter.contracts import Wish

pytestmark = [
    pytest.mark.django_db,
    # WhiteNoise says so where collectstatic never ran; the pages are the same.
    pytest.mark.filterwarnings("ignore:No directory at"),
]
FEW, MANY = 2, 12


@pytest.fixture(autouse=True)
def _house(settings):
    """One attempt, so that what fails is dead; pauses, so that messages wait for their time."""
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 1}
    settings.PIZZAHOUSE_PACE = 1.0


def statements(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200
    return len(queries)


def of_all_pages(examples: dict[str, UUID]) -> dict[str, int]:
    """By name. A few processes have no second page; what a mending would do to one depends on that one."""
    client = pages.log_in()
    return {
        name: statements(client, url)
        for name, url in pages.pages(examples)
        if not name.startswith(("list: page", "mendings: one"))
    }


def test_every_page_asks_as_many_statements_for_three_processes_as_for_thirty(settings):
    settings.PIZZAHOUSE_PACE = 30.0  # who chooses goes on choosing until all is counted
    served = seat("TBL")
    testing.deliver(later=True)
    examples = {"served": served, "failing": seat("DEAD", NOT_ON_ANY_MENU), "ordering": seat("NEW")}
    of_all_pages(examples)  # what is looked up once in a process's life has been
    few = of_all_pages(examples)
    assert len(few) > 40
    for number in range(9):
        seat(f"TBL{number}"), seat(f"DEAD{number}", NOT_ON_ANY_MENU), seat(f"NEW{number}")
    assert of_all_pages(examples) == few


def test_the_page_of_a_big_process_asks_as_many_statements_as_that_of_a_small_one(operator):
    small, big = seat("TBL1", (Wish(1, "pmghr", "xl"),)), seat("TBL2", (Wish(60, "pmghr", "xl"),))
    testing.deliver(later=True)
    assert statements(operator, page_of(big)) == statements(operator, page_of(small))


def test_the_page_of_a_mending_of_many_asks_as_many_statements_as_that_of_few(operator):
    def prepared(tables: int) -> str:
        sagas = [seat(f"BAD{number}", NOT_ON_ANY_MENU) for number in range(tables)]
        tick(operator, "retry", *sagas)
        mending = Mending.objects.latest("id")
        mending.processes.update(status=Mended.Status.RECOVERED)
        Mending.objects.update(status=Mending.Status.FINISHED)
        return reverse("admin:office_mending_change", args=[mending.pk])

    assert statements(operator, prepared(FEW)) == statements(operator, prepared(MANY))
