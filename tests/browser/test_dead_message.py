"""A dead message is edited, by somebody who sees what would come of it, and the original is kept."""

import json

from tests.browser.office import Office
from tests.browser.restaurant import Restaurant


def edit(office: Office, payload: str, *, reason: str = "") -> None:
    """Type another payload, and press what there is to press: *preview*, or, with a reason, *now*."""
    office.type("#edit [name=payload]", payload)
    office.type("#edit [name=reason]", reason)
    office.click("#edit [name=preview]")


def test_a_dead_message_is_edited_and_sent_and_the_original_is_kept(
    manager: Office, restaurant: Restaurant
) -> None:
    office = manager
    [saga] = restaurant.with_dead_letters("EDIT1")
    office.open_message(saga)
    page = office.path
    payload = json.loads(office.typed("#edit [name=payload]"))
    assert payload["code"] == "pfngh"
    before = restaurant.traces(saga)

    edit(office, '{"code": "pmghr"')
    office.wait_for_text("#edit .office-error", "This is no JSON")
    edit(office, json.dumps({"code": "pmghr", "size": "xl"}))
    office.wait_for_text("#edit-preview", "missing required field `kitchen_order_id`")
    assert not office.has("#edit [name=do]"), "what the contract refuses cannot be sent"
    edit(office, json.dumps(payload | {"size": 7}))
    office.wait_for_text("#edit-preview", "Expected `str`, got `int`")
    assert restaurant.traces(saga) == before

    edit(office, json.dumps(payload | {"code": "pmghr"}), reason="they take a Margherita instead")
    office.wait_for_text("#edit-preview", "A new DoPizza goes to kitchen")
    assert "pmghr" in office.hidden_text("#edit-preview #sends")
    assert restaurant.traces(saga) == before
    office.click("#edit [name=do]")
    restaurant.wait_until_state(saga, "closed")
    office.wait(lambda: office.outcome()[0] == "recovered", "it is said to have recovered")

    baked = restaurant.house.query("SELECT code FROM kitchen_kitchenorder WHERE visit = %s", [saga])
    assert [row["code"] for row in baked] == ["pmghr"]
    office.open(page)
    assert office.values("#status", "data-status") != ["dead"]
    assert "they take a Margherita instead" in office.text("#detail")
    [original] = restaurant.house.query(
        "SELECT error, message FROM messaging_inboxmessage WHERE id = %s", [page.split("/")[-2]]
    )
    assert "too cold for pfngh" in original["error"]
    assert "pfngh" in str(original["message"])


def test_a_dead_message_is_discarded_and_kept(manager: Office, restaurant: Restaurant) -> None:
    office = manager
    [saga] = restaurant.with_dead_letters("DISCARD1")
    office.open_message(saga)
    page = office.path
    assert "DoPizza is never handled" in office.text("#discard-preview")
    office.type("#discard [name=reason]", "nobody waits for it")
    office.click("#discard [name=do]")
    office.wait(lambda: office.path != page, "it is done")
    office.open(page)
    assert office.values("#status", "data-status") != ["dead"]
    assert "nobody waits for it" in office.text("#detail")
    assert restaurant.state(saga) == "baking"
