"""Every page of the office is for everybody: axe finds nothing serious, light or dark, wide or narrow."""

from collections.abc import Callable

import pytest

from tests.browser import axe, chromium
from tests.browser.office import DEAD_LETTERS, LOGIN, MENDINGS, PROCESSES, QUEUES, Office
from tests.browser.restaurant import Restaurant

REPORTS = "/admin/office/explorerreport/"
Saga = dict[str, str]


@pytest.fixture(scope="module")
def sagas(restaurant: Restaurant) -> Saga:
    """Processes to look at, by what is the matter with them."""
    [dead] = restaurant.with_dead_letters("AXEDEAD")
    stopped = restaurant.with_declined_card("AXESTOP")
    ended = restaurant.seat_one("AXEDONE")
    restaurant.wait_until_state(ended, "closed")
    # It explores on SQLite, which cannot look for troubles: so there is a finding to be shown.
    restaurant.house.manage("explore_saga", "simple_serving", "--pizzas", "1", "--keep", check=False)
    return {"dead": dead, "stopped": stopped, "ended": ended}


def draft(office: Office, sagas: Saga) -> None:
    """A retry of all that have something dead here, prepared."""
    office.open(f"{PROCESSES}?attention=dead&q=AXE")
    office.select_all(across=False)
    office.run("retry")
    office.wait(lambda: office.has("#begin"), "what was prepared is shown")


def halted(office: Office, sagas: Saga) -> None:
    """The same, after it was begun in vain."""
    draft(office, sagas)
    office.begin("to see it fail")
    office.wait_for_progress("halted")


def failed_again(office: Office, sagas: Saga) -> None:
    """The page of a process that was retried in vain."""
    office.open_mend(sagas["dead"], "retry")
    office.act("to see it fail")
    office.wait_for_outcome()


def refused(office: Office, sagas: Saga) -> None:
    """A form that was sent without what it asks for."""
    office.open_mend(sagas["dead"], "cancel")
    office.click("#mend [name=do]")
    office.wait(lambda: office.has("#mend .office-error"), "the reason is asked for")


def group(office: Office, sagas: Saga) -> None:
    """The dead letters of a group."""
    office.open(DEAD_LETTERS)
    office.open(office.values("#dead tbody a", "href")[0])


def report(office: Office, sagas: Saga) -> None:
    """What the explorer found last."""
    office.open(REPORTS)
    office.click("#result_list tbody th a")
    office.wait(lambda: office.path.endswith("/change/"), "the report is shown")


def unfolded(office: Office, sagas: Saga) -> None:
    """The page of a process that fails, with everything unfolded."""
    office.open_process(sagas["dead"])
    office.driver.execute_script("document.querySelectorAll('details').forEach((each) => each.open = true)")


def at(path: str) -> Callable[[Office, Saga], None]:
    """The page of this address."""
    return lambda office, _sagas: office.open(path)


def mending(which: str, action: str) -> Callable[[Office, Saga], None]:
    """Where this is done to one of the processes."""
    return lambda office, sagas: office.open_mend(sagas[which], action)


PAGES: dict[str, Callable[[Office, Saga], None]] = {
    "index": at("/admin/"),
    "processes": at(PROCESSES),
    "no process": at(f"{PROCESSES}?q=NONESUCH"),
    "process that fails": unfolded,
    "process that failed again": failed_again,
    "process that needs the manager": lambda office, sagas: office.open_process(sagas["stopped"]),
    "process that has ended": lambda office, sagas: office.open_process(sagas["ended"]),
    "audit log": lambda office, sagas: office.open(f"{PROCESSES}{sagas['dead']}/history/"),
    "retry": mending("dead", "retry"),
    "cancel": mending("dead", "cancel"),
    "cancel without a reason": refused,
    "skip": mending("dead", "skip"),
    "write off": mending("stopped", "write_off"),
    "mending that is prepared": draft,
    "mending that has halted": halted,
    "mendings": at(MENDINGS),
    "dead letters": at(DEAD_LETTERS),
    "group of dead letters": group,
    "dead letter": lambda office, sagas: office.open_message(sagas["dead"]),
    "queues": at(QUEUES),
    "reports": at(REPORTS),
    "report": report,
    "outbox": at("/admin/messaging/outboxmessage/"),
    "inbox": at("/admin/messaging/inboxmessage/"),
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_for_everybody(manager: Office, sagas: Saga, page: str) -> None:
    PAGES[page](manager, sagas)
    is_for_everybody(manager)


def test_the_login_is_for_everybody(office: Office) -> None:
    office.open(LOGIN)
    is_for_everybody(office)


def is_for_everybody(office: Office) -> None:
    """Asserts it of the page that is shown, for each kind of screen."""
    driver = office.driver
    found: dict[str, str] = {}
    for theme, width in (("light", chromium.WIDE), ("dark", chromium.WIDE), ("light", chromium.NARROW)):
        chromium.look(driver, width=width)
        office.switch_theme(theme)
        found |= dict.fromkeys(axe.findings(driver), f"{theme}, {width} px")
    assert found == {}, "\n".join(f"{look}: {told}" for told, look in found.items())
    over = driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert over <= 0, f"a narrow screen cuts {over} px of it"
    assert chromium.said(driver) == []
