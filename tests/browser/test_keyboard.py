"""Everything can be done without a mouse, and where one is can be seen."""

import pytest
from selenium.webdriver import ActionChains, Keys

from tests.browser import chromium
from tests.browser.office import DEAD_LETTERS, PROCESSES, Office
from tests.browser.restaurant import Restaurant

MOST_STOPS = 300
# What has the focus: which selectors match it, and whether it, or what it lies in, looks otherwise without.
FOCUSED = """
const element = document.activeElement;
if (!element || element === document.body) return null;
const around = [element, element.parentElement, element.parentElement?.parentElement];
const look = () => around.map((each) => {
  const style = each ? getComputedStyle(each) : {};
  return [style.outlineStyle, style.outlineWidth, style.boxShadow, style.borderColor].join();
}).join();
const focused = look();
element.blur();
const other = look();
element.focus({focusVisible: true, preventScroll: true});
const box = element.getBoundingClientRect();
return {
  matches: arguments[0].filter((css) => element.matches(css)),
  name: element.outerHTML.slice(0, 200),
  visible: focused !== other && box.width > 0 && box.height > 0,
};
"""


def press(office: Office, *keys: str) -> None:
    ActionChains(office.driver).send_keys(*keys).perform()


def tab_to(office: Office, css: str) -> None:
    """Press Tab until this has the focus; on the way there the focus must always be seen."""
    for _ in range(MOST_STOPS):
        press(office, Keys.TAB)
        focused = office.driver.execute_script(FOCUSED, [css])
        if focused is None:  # past the last one: the next is the first
            continue
        assert focused["visible"], f"nobody sees that this has the focus: {focused['name']}"
        if focused["matches"]:
            return
    pytest.fail(f"{css} is not reached by Tab on {office.path}", pytrace=False)


def test_a_process_is_found_and_retried_by_keyboard(manager: Office, restaurant: Restaurant) -> None:
    office = manager
    [saga] = restaurant.with_dead_letters("KEYS1")
    restaurant.mend(saga)
    office.open(PROCESSES)
    tab_to(office, "#searchbar")
    press(office, "KEYS1", Keys.ENTER)
    office.wait(lambda: "q=KEYS1" in office.driver.current_url, "it is searched")
    tab_to(office, f"#result_list a[href*='{saga}']")
    press(office, Keys.ENTER)
    office.wait(office.read_why, "the process is shown")
    tab_to(office, "[data-action=retry]")
    press(office, Keys.ENTER)
    office.wait(lambda: office.has("#preview"), "the preview is shown")
    tab_to(office, "#mend [name=reason]")
    press(office, "by keyboard")
    tab_to(office, "#mend [name=do]")
    press(office, Keys.ENTER)
    office.wait(lambda: office.path.endswith("/change/"), "it is done")
    assert office.wait_for_outcome()[0] == "recovered"


def test_every_action_of_a_process_is_reached(manager: Office, restaurant: Restaurant) -> None:
    office = manager
    [dead] = restaurant.with_dead_letters("REACH1")
    stopped = restaurant.with_declined_card("REACH2")
    for saga, actions in ((dead, ("retry", "cancel", "skip")), (stopped, ("try_again", "write_off"))):
        office.open_process(saga)
        for action in actions:
            tab_to(office, f"[data-action={action}]")
        for more in ("#download-test", "#history", "#diagram [tabindex]", "#timeline summary"):
            tab_to(office, more)


@pytest.mark.parametrize("width", [chromium.WIDE, chromium.NARROW])
def test_the_list_is_filtered_by_keyboard(manager: Office, restaurant: Restaurant, width: int) -> None:
    office = manager
    chromium.look(office.driver, width=width)
    restaurant.with_dead_letters(f"FILTER{width}")
    office.open(f"{PROCESSES}?q=FILTER{width}")
    tab_to(office, "#counters a")
    tab_to(office, "a[x-on\\:click*=filterOpen]")
    press(office, Keys.ENTER)
    tab_to(office, "[name=scenario], a[href*='scenario=table_service']")


def test_an_action_of_the_list_is_chosen_by_keyboard(manager: Office, restaurant: Restaurant) -> None:
    office = manager
    restaurant.with_dead_letters("CHOOSE1", "CHOOSE2")
    office.open(f"{PROCESSES}?attention=dead&q=CHOOSE")
    tab_to(office, "#action-toggle")
    press(office, Keys.SPACE)
    tab_to(office, "#result_list [name=_selected_action]")
    tab_to(office, "#changelist-actions [name=action]")
    press(office, "Retry")
    tab_to(office, "#changelist-actions [type=submit]")
    press(office, Keys.ENTER)
    office.wait(lambda: office.has("#begin"), "what was prepared is shown")
    assert office.text("#count") == "2"


def test_a_mending_is_begun_by_keyboard(manager: Office, restaurant: Restaurant) -> None:
    office = manager
    sagas = restaurant.with_dead_letters("KEYB1", "KEYB2")
    restaurant.mend(*sagas)
    office.open(f"{PROCESSES}?attention=dead&q=KEYB")
    office.select_all(across=False)
    office.run("retry")
    office.wait(lambda: office.has("#begin"), "what was prepared is shown")
    tab_to(office, "#begin [name=reason]")
    press(office, "by keyboard")
    tab_to(office, "#begin [type=submit]")
    press(office, Keys.ENTER)
    office.wait_for_progress("finished")


def test_a_dead_message_is_reached(manager: Office, restaurant: Restaurant) -> None:
    office = manager
    [saga] = restaurant.with_dead_letters("KEYM1")
    office.open(DEAD_LETTERS)
    tab_to(office, "#dead tbody a")
    press(office, Keys.ENTER)
    office.wait(lambda: office.has("#redrive"), "the group is shown")
    tab_to(office, "#redrive button")
    tab_to(office, "#messages tbody a")
    office.open_message(saga)
    for action in ("redrive", "edit", "discard"):
        tab_to(office, f"#{action} [name=reason]")
        tab_to(office, f"#{action} button")
