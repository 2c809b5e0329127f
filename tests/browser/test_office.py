"""The manager's office, walked through in a browser: what fails is found, understood, and mended."""

from tests.browser.office import Office
from tests.browser.restaurant import FUNGHI, MANAGER, Restaurant


def test_a_failing_process_is_found_understood_and_seen_to_recover(
    office: Office, restaurant: Restaurant
) -> None:
    office.log_in(MANAGER)
    [saga] = restaurant.with_dead_letters("FIND1")
    office.find_table("FIND1")
    assert saga in office.path
    assert office.state() == "baking"
    assert "DoPizza" in office.read_why()
    assert "the oven is too cold for pfngh" in office.text("#problems")

    before = restaurant.traces(saga)
    foreseen = office.preview("retry")
    assert foreseen.from_state == "baking"
    assert [each for each in foreseen.again if "DoPizza" in each], foreseen
    assert "the oven is too cold for pfngh" in foreseen.again[0]
    assert restaurant.traces(saga) == before

    with restaurant.mending(saga):
        office.act("the oven is warm again")
        office.driver.execute_script("window.seen = 'this very page'")
        assert office.outcome()[0] == "sent", "nothing is known of it yet"
    status, said = office.wait_for_outcome()
    assert status == "recovered", said
    office.wait(lambda: office.state() == "closed", "the page shows that the table was served")
    assert office.driver.execute_script("return window.seen") == "this very page"
    assert "the oven is warm again" in said
    assert not office.has("#problems:not([hidden])")
    assert "retry" not in office.buttons()


def test_a_retry_whose_cause_is_not_mended_is_said_to_have_failed_again(
    manager: Office, restaurant: Restaurant
) -> None:
    office = manager
    [saga] = restaurant.with_dead_letters("VAIN1")
    office.open_process(saga)
    office.preview("retry")
    office.act("perhaps it helps")
    status, said = office.wait_for_outcome()
    assert status == "failed"
    assert "failed again: DoPizza: " in said
    assert "the oven is too cold for pfngh" in said
    assert restaurant.state(saga) == "baking"
    assert not office.has("[data-mending-status=recovered]")


def test_a_process_is_cancelled_and_what_it_has_done_is_undone(
    manager: Office, restaurant: Restaurant
) -> None:
    office = manager
    [saga] = restaurant.with_dead_letters("CANCEL1")
    office.open_process(saga)
    foreseen = office.preview("cancel")
    assert foreseen.from_state == "baking"
    assert foreseen.to_state in ("recalling", "apologizing")
    assert foreseen.sends
    office.act("the guests are tired of waiting")
    status, said = office.wait_for_outcome()
    assert status == "done", said
    office.wait(lambda: office.state() == "called_off", "the page shows that it is called off")


def test_where_the_manager_has_to_decide_the_payment_is_tried_again(
    manager: Office, restaurant: Restaurant
) -> None:
    office = manager
    saga = restaurant.with_declined_card("DECIDE1")
    office.find_table("DECIDE1")
    assert "declined 3 times" in office.read_why()
    assert {"try_again", "write_off"} <= office.buttons()
    foreseen = office.preview("try_again")
    assert (foreseen.from_state, foreseen.to_state) == ("needs_manager", "billing")
    assert "ShowBill" in foreseen.sends[0]
    restaurant.mend(saga)
    office.act("they have another card")
    status, said = office.wait_for_outcome()
    assert status == "done", said
    office.wait(lambda: office.state() == "closed", "the page shows that it is closed")
    assert restaurant.house.query("SELECT paid_at FROM waiter_bill WHERE visit = %s", [saga])[0]["paid_at"]


def test_where_the_manager_has_to_decide_the_bill_is_written_off(
    manager: Office, restaurant: Restaurant
) -> None:
    office = manager
    saga = restaurant.with_declined_card("DECIDE2")
    office.open_process(saga)
    foreseen = office.preview("write_off")
    assert (foreseen.from_state, foreseen.to_state) == ("needs_manager", "thanking")
    assert "ThankClient" in foreseen.sends[0]
    office.act("they are regulars")
    status, said = office.wait_for_outcome()
    assert status == "done", said
    office.wait(lambda: office.state() == "closed", "the page shows that it is closed")
    [bill] = restaurant.house.query("SELECT paid_at FROM waiter_bill WHERE visit = %s", [saga])
    assert bill["paid_at"] is None


def test_a_step_that_nobody_can_make_is_skipped(manager: Office, restaurant: Restaurant) -> None:
    office = manager
    [saga] = restaurant.with_dead_letters("SKIP1")
    office.open_process(saga)
    foreseen = office.preview("skip")
    assert (foreseen.from_state, foreseen.to_state) == ("baking", "serving")
    assert "ServePizzas" in foreseen.sends[0]
    office.choose("#mend [name=event]", "PizzaDone")
    office.act("it was bought next door")
    status, said = office.wait_for_outcome()
    assert status == "done", said
    office.wait(lambda: office.state() == "closed", "the page shows that it is closed")
    assert restaurant.house.query("SELECT id FROM kitchen_kitchenorder WHERE visit = %s", [saga]) == []


def test_what_was_asked_for_without_a_reason_is_not_done(manager: Office, restaurant: Restaurant) -> None:
    office = manager
    saga = restaurant.seat_one("SILENT1", wish=[FUNGHI], troubles=["pfngh"])
    restaurant.wait_until_state(saga, "baking")
    before = restaurant.house.query("SELECT count(*) FROM office_mending")
    office.open_mend(saga, "cancel")
    office.click("#mend [name=do]")
    office.wait(lambda: office.has("#mend .office-error"), "the reason is asked for")
    assert "Say why" in office.text("#mend .office-error")
    assert restaurant.house.query("SELECT count(*) FROM office_mending") == before
