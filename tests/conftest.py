"""Which tests need servers, and the houses and servers that tests may ask for."""

import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.house import Databases, House
from tests.servers import POSTGRESQL, RABBITMQ, OwnPostgres, OwnRabbit, Unavailable

HERE = Path(__file__).parent
HOUSES = pytest.StashKey[list[House]]()


def pytest_configure(config: pytest.Config) -> None:
    # Started with "&" from a script, pytest ignores Ctrl-C, and so would every process it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line(
        "markers", "without_servers: runs without a server, although it lies among those that need"
    )


# --- No servers: skipped, or failed where they are required ---------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if needs_servers(item):
        missing = [service.missing for service in (POSTGRESQL, RABBITMQ) if service.missing]
        if missing:
            refuse("\n".join(missing))


def needs_servers(item: pytest.Item) -> bool:
    """Tests of integration, acceptance and browser do, but for those that are marked."""
    layer = item.path.relative_to(HERE).parts[0]
    layers = {"integration", "acceptance", "browser"}
    return layer in layers and not item.get_closest_marker("without_servers")


def refuse(reason: str) -> NoReturn:
    """Skip the test; fail it where REQUIRE_SERVICES=1 forbids to skip."""
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(f"{reason}\nREQUIRE_SERVICES=1 forbids to skip this test.", pytrace=False)
    pytest.skip(reason)


# --- Houses ---------------------------------------------------------------------------------------

OpenHouse = Callable[..., House]


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Migrated databases, on any server."""
    databases = Databases(tmp_path_factory.mktemp("databases"))
    yield databases
    databases.close()


@pytest.fixture
def open_house(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[OpenHouse]:
    """Opens a house, by default on the servers that run already:
    `open_house(server=own_postgres.url, rabbitmq_url=own_rabbitmq.url, pace=1)`."""
    opened: list[tuple[str, House]] = []
    houses = request.node.stash.setdefault(HOUSES, [])

    def open_one(server: str = "", rabbitmq_url: str = "", pace: float = 0.0) -> House:
        server = server or POSTGRESQL.url
        house = House(tmp_path, databases.create(server), rabbitmq_url or RABBITMQ.url, pace)
        opened.append((server, house))
        houses.append(house)
        return house

    yield open_one
    for server, house in opened:
        house.close()
        databases.drop(server, house.database_url)


@pytest.fixture
def house(open_house: OpenHouse) -> House:
    """A house on PostgreSQL and RabbitMQ, at pace 0, without workers yet."""
    return open_house()


@pytest.fixture
def embedded_house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """A house with nothing configured but where its SQLite file lies."""
    house = House(tmp_path, f"sqlite:///{tmp_path / 'pizzahouse.sqlite3'}")
    request.node.stash[HOUSES] = [house]
    yield house
    house.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failed test what its houses said."""
    report = yield
    if report.failed:
        for house in item.stash.get(HOUSES, []):
            report.sections.append(("what the house's commands and workers said", house.report()))
    return report


# --- Servers of one's own -------------------------------------------------------------------------


@pytest.fixture(scope="session")
def rabbitmq_node() -> Iterator[OwnRabbit]:
    """A RabbitMQ node that is started once, since its start takes some seconds."""
    try:
        node = OwnRabbit()
    except Unavailable as error:
        refuse(str(error))
    yield node
    node.close()


@pytest.fixture
def own_rabbitmq(rabbitmq_node: OwnRabbit) -> OwnRabbit:
    """A RabbitMQ of one's own: it runs, and may be stopped, killed, and told to cut connections."""
    return rabbitmq_node.start()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[OwnPostgres]:
    """A PostgreSQL that is set up once."""
    try:
        server = OwnPostgres()
    except Unavailable as error:
        refuse(str(error))
    yield server
    server.close()


@pytest.fixture
def own_postgres(postgres_server: OwnPostgres) -> OwnPostgres:
    """A PostgreSQL of one's own: it runs, and may be stopped and killed."""
    return postgres_server.start()
