"""`manage.py bench_office` on twenty thousand processes: no page of the office reads a big table from end to
end, and nothing is left of the bench."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.urls import reverse

from orders.bench.plans import read_whole
from tests.house import House

BENCH_SECONDS = 250.0
KINDS = ("list", "search", "process", "dead letters", "queues", "mendings", "outbox", "inbox", "metrics")


@pytest.mark.timeout(300)
def test_no_page_reads_a_big_table_from_end_to_end_and_nothing_is_left_of_the_bench(house: House) -> None:
    sizes = ("--sagas", "20000", "--times", "1")
    bench = house.manage("bench_office", *sizes, "--json", timeout=BENCH_SECONDS, check=False)
    figures: dict[str, Any] = bench.json()

    pages = {page["name"]: page for page in figures["pages"]}
    assert {name.partition(":")[0] for name in pages} >= set(KINDS)
    assert {name: page["reads_whole"] for name, page in pages.items() if page["reads_whole"]} == {}
    assert figures["sagas"] == pytest.approx(20_000, rel=0.01)
    assert figures["messages"] > 100_000
    assert all(page["statements"] for page in figures["pages"])
    assert all(page["plan"] for page in figures["pages"] if page["slowest"].startswith("SELECT"))
    [database] = re.findall(r"own database: (\S+)", bench.stderr)
    assert house.query("SELECT datname FROM pg_database WHERE datname = %s", [database]) == []
    assert house.states() == {}  # nobody is served in the house that is configured


@pytest.mark.django_db
def test_a_table_that_is_read_from_end_to_end_is_named() -> None:
    rows = {Permission._meta.db_table: float(Permission.objects.count())}
    by_name, by_key = Permission.objects.filter(name="none"), Permission.objects.filter(pk=1)
    assert read_whole(*by_name.query.sql_with_params(), rows) == set(rows)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # of so small a table the key is not worth while
    assert read_whole(*by_key.query.sql_with_params(), rows) == set()
    assert read_whole("UPDATE auth_permission SET name = ''", None, rows) == set()


@pytest.mark.django_db
def test_what_a_page_asks_is_planned_for_what_it_asks_however_often_it_does(admin_client: Client) -> None:
    for _ in range(4):
        assert admin_client.get(reverse("admin:office_process_changelist"), {"q": "TBL"}).status_code == 200
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%office_process%'")
        assert cursor.fetchone() == (0,)


@pytest.mark.without_servers
def test_an_embedded_house_is_told_what_to_set(embedded_house: House) -> None:
    bench = embedded_house.manage("bench_office", check=False)
    assert bench.code == 2
    assert "DATABASE_URL" in bench.stderr


@pytest.mark.without_servers
@pytest.mark.parametrize(
    "sizes", [("--sagas", "10"), ("--sagas", "x"), ("--with-messages", "2000000"), ("--times", "0")]
)
def test_a_number_that_makes_no_sense_is_refused(embedded_house: House, sizes: tuple[str, str]) -> None:
    bench = embedded_house.manage("bench_office", *sizes, check=False)
    assert bench.code == 2
    assert sizes[0] in bench.stderr
    assert len(bench.stderr.splitlines()) == 1
    assert bench.stdout == ""
