"""The broker or the database is away: what is accepted is kept, what cannot be is refused clearly."""

import pytest

from tests.conftest import OpenHouse
from tests.house import House
from tests.servers import OwnPostgres, OwnRabbit, free_port


def test_a_table_accepted_without_the_broker_is_served_once_it_is_back(
    open_house: OpenHouse, own_rabbitmq: OwnRabbit
) -> None:
    house = open_house(rabbitmq_url=own_rabbitmq.url)
    house.workers("orders")
    own_rabbitmq.stop()

    detaching = house.start("serve_table", "TBL1", "--detach")
    following = house.start("serve_table", "TBL2")
    for command, code in ((detaching, 0), (following, 4)):
        ran = command.finish()
        assert ran.code == code
        assert "RabbitMQ does not answer" in ran.stderr
        assert "the outbox holds it" in ran.stderr
    house.workers("menu", "waiter", "kitchen", wait=False)  # these start before the broker does

    own_rabbitmq.start()
    house.wait_until(lambda: house.all_sagas("closed", 2), 60, "both tables are served")


@pytest.mark.parametrize(
    "command",
    [
        ("serve_table", "TBL1"),
        ("serve_table", "TBL1", "--detach"),
        ("sagas", "--json"),
        ("saga", f"{0:032x}"),
    ],
    ids=" ".join,
)
def test_without_its_database_a_command_says_so(house: House, command: tuple[str, ...]) -> None:
    nowhere = {"DATABASE_URL": f"postgres://root@127.0.0.1:{free_port()}/nowhere"}
    ran = house.manage(*command, check=False, env=nowhere)
    assert (ran.code, ran.stdout) == (4, "")
    assert "database does not answer" in ran.stderr
    assert "DATABASE_URL" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_database_that_is_killed_half_way_costs_nothing(
    open_house: OpenHouse, own_postgres: OwnPostgres
) -> None:
    house = open_house(server=own_postgres.url, pace=0.3)
    house.workers()
    commands = [house.start("serve_table", f"TBL{n}", "--detach") for n in range(3)]
    assert [command.finish().code for command in commands] == [0, 0, 0]
    own_postgres.kill()
    own_postgres.start()
    house.wait_until(lambda: house.all_sagas("closed", 3), 60, "all three are served")
