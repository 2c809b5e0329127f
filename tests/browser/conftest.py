"""One browser and one restaurant for all tests of this folder. Where there is no browser, none runs."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from selenium.common import WebDriverException
from selenium.webdriver import Chrome

from tests.browser import axe, chromium
from tests.browser.office import Office
from tests.browser.restaurant import MANAGER, VIEWER, Restaurant
from tests.conftest import HOUSES, refuse
from tests.house import Databases, House
from tests.servers import POSTGRESQL, RABBITMQ


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    if missing := chromium.missing() or axe.missing():
        refuse(missing)


@pytest.fixture(scope="session")
def restaurant(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restaurant]:
    """A house with workers, a web server, and people who may log in."""
    house = House(tmp_path_factory.mktemp("restaurant"), databases.create(POSTGRESQL.url), RABBITMQ.url)
    try:
        yield Restaurant(house).open()
    finally:
        house.close()
        databases.drop(POSTGRESQL.url, house.database_url)


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """The browser."""
    driver = chromium.start(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


@pytest.fixture
def office(request: pytest.FixtureRequest, driver: Chrome, restaurant: Restaurant) -> Office:
    """The office's pages, as nobody."""
    request.node.stash[HOUSES] = [restaurant.house]
    chromium.look(driver)
    chromium.said(driver)  # what was said before is another test's
    driver.delete_all_cookies()
    return Office(driver, restaurant)


@pytest.fixture
def manager(office: Office) -> Office:
    """The same, as somebody who may do everything."""
    office.come_in(MANAGER)
    return office


@pytest.fixture
def viewer(office: Office) -> Office:
    """The same, as somebody who may only look."""
    office.come_in(VIEWER)
    return office


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep with a failed test what the browser showed."""
    report = yield
    office = getattr(item, "funcargs", {}).get("office")
    if report.failed and call.when == "call" and isinstance(office, Office):
        folder = item.config._tmp_path_factory.mktemp("failed")  # type: ignore[attr-defined]
        report.sections.append(("what the browser showed", shown(office.driver, folder / item.name)))
    return report


def shown(driver: Chrome, file: Path) -> str:
    """Keep the page and its picture; returns where they are, and what the browser said."""
    picture, page = file.with_suffix(".png"), file.with_suffix(".html")
    try:
        driver.save_screenshot(str(picture))
        page.write_text(driver.page_source)
        return "\n".join([driver.current_url, str(picture), str(page), *chromium.said(driver)])
    except WebDriverException as error:
        return f"The browser does not answer: {error}"
