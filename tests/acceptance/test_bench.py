"""`manage.py bench` as a user runs it: it measures, and leaves nothing behind."""

import re
from pathlib import Path
from typing import Any

import pytest
from pika.exceptions import ChannelClosedByBroker

from tests.conftest import OpenHouse
from tests.house import QUEUES, House
from tests.servers import connect_to_broker, free_port, wait_until

SMALL = ("--sagas", "10", "--pizzas", "2", "--threads", "2", "--concurrency", "4")
MESSAGES = 14 + 2 * 2  # a table's, and two per pizza
BENCH_SECONDS = 200.0


def traces(house: House, notes: str) -> list[str]:
    """What is left of a bench that told these notes: databases, queues, processes."""
    told = re.search(r"database (\S+), queues (bench-\S+-)\*", notes)
    assert told, notes
    database, prefix = told.groups()
    databases = house.query("SELECT datname FROM pg_database WHERE datname = %s", [database])
    direct = [f"direct-{name}" for name in ("orders-0", "orders-1", "menu", "waiter", "kitchen")]
    dramatiqs = [f"{name}.{end}" for name in direct for end in ("DQ", "XQ")]
    names = [prefix + name for name in (*QUEUES, *direct, *dramatiqs)]
    queues = [name for name in names if exists(house, name)]
    return [*(row["datname"] for row in databases), *queues, *processes(prefix)]


def exists(house: House, queue: str) -> bool:
    connection = connect_to_broker(house.rabbitmq_url)
    try:
        connection.channel().queue_declare(queue, passive=True)
    except ChannelClosedByBroker:
        return False
    finally:
        connection.close()
    return True


def processes(prefix: str) -> list[str]:
    """The processes whose environment names these queues."""
    found = []
    for each in Path("/proc").glob("[0-9]*/environ"):
        try:
            if prefix.encode() in each.read_bytes():
                found.append(each.parent.name)
        except OSError:
            continue  # another user's, or just ended
    return found


def in_order(percentiles: dict[str, float]) -> bool:
    return 0 < percentiles["p50"] <= percentiles["p95"] <= percentiles["p99"] < 60_000


@pytest.mark.timeout(300)
def test_a_small_bench_gives_plausible_figures_and_leaves_nothing_behind(house: House) -> None:
    ran = house.manage("bench", *SMALL, "--json", timeout=BENCH_SECONDS)
    figures: dict[str, Any] = ran.json()

    assert figures["parameters"] == {
        "sagas": 10, "pizzas": 2, "processes": 2, "threads": 2, "concurrency": 4
    }  # fmt: skip
    assert figures["machine"]["cores"] > 0
    assert figures["messages_per_saga"] == MESSAGES
    assert figures["messages_per_second"] == pytest.approx(figures["sagas_per_second"] * MESSAGES, rel=0.01)
    for each in (figures["load"], figures["alone"]):
        assert in_order(each["saga_ms"])
        assert in_order(each["put_to_finish_ms"])
        assert each["put_to_finish_ms"]["p50"] >= each["saga_ms"]["p50"]
    assert in_order(figures["direct"]["put_to_finish_ms"])
    assert figures["cpu_ms_per_saga"]["workers"] > 0
    assert figures["direct"]["cpu_ms_per_saga"]["workers"] > 0
    assert 1 <= figures["sql_statements_per_message"] < 20
    assert 1 <= figures["commits_per_message"] < 20
    assert figures["price_of_safety"] == pytest.approx(
        figures["direct"]["sagas_per_second"] / figures["sagas_per_second"], abs=0.01
    )
    assert traces(house, ran.stderr) == []
    assert house.states() == {}  # the bench serves nobody in the house that is configured


@pytest.mark.timeout(300)
def test_a_bench_that_is_interrupted_leaves_nothing_behind(house: House) -> None:
    bench = house.start("bench", *SMALL, "--sagas", "100000")
    wait_until(lambda: "under load" in bench.stderr, BENCH_SECONDS, "the bench is under load")
    assert len(traces(house, bench.stderr)) > 1 + len(QUEUES)  # what there is would be found

    bench.interrupt()
    ran = bench.finish()

    assert ran.code == 130, ran
    assert "Traceback" not in ran.stderr
    assert traces(house, ran.stderr) == []


@pytest.mark.without_servers
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--sagas", "0"),
        ("--pizzas", "-1"),
        ("--processes", "two"),
        ("--threads", "1.5"),
        ("--concurrency", "1" + "0" * 30),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(embedded_house: House, option: str, value: str) -> None:
    ran = embedded_house.manage("bench", option, value, check=False)

    assert ran.code == 2, ran
    assert option in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert ran.stdout == ""


@pytest.mark.without_servers
def test_an_embedded_house_is_told_what_to_set(embedded_house: House) -> None:
    ran = embedded_house.manage("bench", check=False)

    assert ran.code == 2, ran
    assert "DATABASE_URL" in ran.stderr
    assert "RABBITMQ_URL" in ran.stderr


@pytest.mark.without_servers
def test_a_database_that_does_not_answer_is_named(tmp_path: Path) -> None:
    nowhere = House(
        tmp_path,
        f"postgres://nobody@127.0.0.1:{free_port()}/none",
        f"amqp://guest:guest@127.0.0.1:{free_port()}/",
    )

    ran = nowhere.manage("bench", check=False)

    assert ran.code == 4, ran
    assert "DATABASE_URL" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_broker_that_does_not_answer_is_named(open_house: OpenHouse) -> None:
    house = open_house(rabbitmq_url=f"amqp://guest:guest@127.0.0.1:{free_port()}/")

    ran = house.manage("bench", check=False)

    assert ran.code == 4, ran
    assert "RABBITMQ_URL" in ran.stderr
    assert "Traceback" not in ran.stderr
