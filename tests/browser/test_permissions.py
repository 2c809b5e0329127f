"""Who may only look sees no button, and a request that no page has shown is refused."""

import pytest

from tests.browser.office import DEAD_LETTERS, MENDINGS, PROCESSES, QUEUES, Office
from tests.browser.restaurant import MANAGER, VIEWER, Restaurant

ACTIONS = ("retry", "cancel", "try_again", "write_off", "skip")
FORM = {"do": "1", "reason": "forged"}
FORBIDDEN = 403


@pytest.fixture(scope="module")
def saga(restaurant: Restaurant) -> str:
    """A process with a dead message."""
    [saga] = restaurant.with_dead_letters("GUARDED1")
    return saga


def test_a_viewer_sees_everything_and_no_button(viewer: Office, saga: str) -> None:
    office = viewer
    office.find_table("GUARDED1")
    assert "DoPizza" in office.read_why()
    assert office.buttons() == set()
    assert office.has("#download-test")
    office.open_message(saga)
    assert "too cold" in office.text("#error")
    office.open(DEAD_LETTERS)
    office.click("#dead tbody a")
    office.wait(lambda: office.has("#messages tr"), "the group is shown")
    office.open(QUEUES)
    assert office.has("[data-queue=kitchen]")
    for page in (PROCESSES, MENDINGS):
        office.open(page)
        assert not office.has("[name=action]")
        assert not office.has("[type=checkbox].action-select")


def test_a_viewer_cannot_forge_what_is_done_to_a_process(
    viewer: Office, restaurant: Restaurant, saga: str
) -> None:
    office = viewer
    office.open_process(saga)
    before = restaurant.traces(saga)
    answers = {action: office.forge(f"{PROCESSES}{saga}/mend/{action}/", FORM) for action in ACTIONS}
    assert answers == dict.fromkeys(ACTIONS, FORBIDDEN)
    for action in ACTIONS:
        assert office.forge(PROCESSES, {"action": action, "_selected_action": saga}) == FORBIDDEN, action
    assert restaurant.traces(saga) == before


def test_a_viewer_cannot_forge_what_is_done_to_a_message(
    viewer: Office, restaurant: Restaurant, saga: str
) -> None:
    office = viewer
    office.open_message(saga)
    message = office.path
    office.open(DEAD_LETTERS)
    group = office.values("#dead tbody a", "href")[0]
    before = restaurant.traces(saga)
    for action in ("redrive", "edit", "discard"):
        assert office.forge(message, FORM | {"action": action, "payload": "{}"}) == FORBIDDEN, action
    assert office.forge(f"{group}redrive/", {}) == FORBIDDEN
    assert restaurant.traces(saga) == before


def test_a_viewer_cannot_begin_stop_or_go_on_with_what_others_prepared(
    office: Office, restaurant: Restaurant
) -> None:
    office.come_in(MANAGER)
    sagas = restaurant.with_dead_letters("PREPARED1", "PREPARED2")
    office.open(f"{PROCESSES}?q=PREPARED")
    office.select_all(across=False)
    office.run("retry")
    office.wait(lambda: office.has("#begin"), "what was prepared is shown")
    mending = office.path.removesuffix("change/")

    office.come_in(VIEWER)
    office.open(f"{mending}change/")
    assert office.text("#count") == "2"
    assert not office.has("#begin")
    before = restaurant.traces(*sagas)
    for action in ("begin", "stop", "resume"):
        assert office.forge(f"{mending}{action}/", FORM) == FORBIDDEN, action
    assert office.progress() == "draft"
    assert restaurant.traces(*sagas) == before


def test_without_a_token_nobody_is_believed_to_have_sent_a_form(
    manager: Office, restaurant: Restaurant, saga: str
) -> None:
    office = manager
    office.open_process(saga)
    before = restaurant.traces(saga)
    status = office.forge(f"{PROCESSES}{saga}/mend/retry/", FORM, signed=False)
    assert status == FORBIDDEN
    assert restaurant.traces(saga) == before
