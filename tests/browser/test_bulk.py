"""Many processes are mended at once: what is meant is kept and shown, and it goes on in stages."""

from tests.browser.office import DEAD_LETTERS, PROCESSES, Office
from tests.browser.restaurant import Restaurant

MANY = 200
FEW = 14


def chosen(prefix: str) -> str:
    """The list's filter of those that have something dead, at tables that begin so."""
    return f"{PROCESSES}?attention=dead&q={prefix}"


def settled(restaurant: Restaurant, office: Office) -> dict[str, int]:
    """The processes of the mending that is shown, by what came of them."""
    mending = office.path.split("/")[4]
    sql = "SELECT status, count(*) FROM office_mended WHERE mending_id = %s GROUP BY status"
    return {row["status"]: row["count"] for row in restaurant.house.query(sql, [mending])}


def test_two_hundred_processes_of_a_filter_are_retried_in_stages(
    manager: Office, restaurant: Restaurant
) -> None:
    office = manager
    sagas = restaurant.with_dead_letters(*(f"MANY{n:03}" for n in range(MANY)))
    office.open(chosen("MANY"))
    office.select_all(across=True)
    office.run("retry")
    office.wait(lambda: office.has("#begin"), "what was prepared is shown")
    assert office.text("#count") == str(MANY)
    assert "MANY" in office.text("#scope")
    assert office.text("#previews #from-state") == "baking"
    assert office.has("#previews #again li")

    [late] = restaurant.with_dead_letters("MANYLATE")
    office.driver.refresh()
    assert office.text("#count") == str(MANY), "whoever comes later is not meant"
    restaurant.mend(*sagas, late)
    office.begin("the oven was heated")
    office.wait_for_progress("finished")
    assert settled(restaurant, office) == {"recovered": MANY}
    assert f"{MANY} recovered" in office.text("#progress")
    assert restaurant.state(late) == "baking"
    items = restaurant.house.query(
        "SELECT begun_at, settled_at FROM office_mended WHERE mending_id = %s ORDER BY position",
        [office.path.split("/")[4]],
    )
    for stage in (1, 11):
        settled_at = max(each["settled_at"] for each in items[:stage])
        assert all(each["begun_at"] >= settled_at for each in items[stage:]), f"{stage} went well before"


def test_a_bulk_retry_halts_at_the_first_that_fails_again(manager: Office, restaurant: Restaurant) -> None:
    office = manager
    restaurant.with_dead_letters(*(f"HALT{n:02}" for n in range(FEW)))
    office.open(chosen("HALT"))
    office.select_all(across=False)
    office.run("retry")
    office.wait(lambda: office.has("#begin"), "what was prepared is shown")
    office.begin("perhaps it helps")
    office.wait_for_progress("halted")
    assert settled(restaurant, office) == {"failed": 1, "waiting": FEW - 1}
    assert "failed again: DoPizza" in office.text("#results li")


def test_a_bulk_retry_is_stopped_and_goes_on(manager: Office, restaurant: Restaurant) -> None:
    office = manager
    sagas = restaurant.with_dead_letters(*(f"STOP{n:02}" for n in range(FEW)))
    office.open(chosen("STOP"))
    office.select_all(across=False)
    office.run("retry")
    office.wait(lambda: office.has("#begin"), "what was prepared is shown")
    with restaurant.mending(*sagas):  # until then the first of them hangs in the oven
        office.begin("the oven is being heated")
        office.wait(lambda: settled(restaurant, office) == {"sent": 1, "waiting": FEW - 1}, "one is begun")
        assert office.progress() == "running"
        office.click("#stop button")
        office.wait_for_progress("stopped")
    first = {"recovered": 1, "waiting": FEW - 1}
    office.wait(lambda: settled(restaurant, office) == first, "the first one has recovered, and no other")
    office.click("#continue button")
    office.wait_for_progress("finished")
    assert settled(restaurant, office) == {"recovered": FEW}


def test_all_processes_without_a_filter_are_not_meant(manager: Office, restaurant: Restaurant) -> None:
    office = manager
    restaurant.seat(*(f"ALL{n:02}" for n in range(60)))  # more than a page shows
    tables = "SELECT count(*) FROM orders_tableservice WHERE \"table\" LIKE 'ALL%%'"
    restaurant.house.wait_until(
        lambda: restaurant.house.query(tables)[0]["count"] == 60, 30, "all are seated"
    )
    before = restaurant.house.query("SELECT count(*) FROM office_mending")
    office.open(PROCESSES)
    office.select_all(across=True)
    office.run("cancel")
    office.wait(lambda: "there is no filter" in office.text("body"), "it is refused")
    assert restaurant.house.query("SELECT count(*) FROM office_mending") == before


def test_the_dead_letters_of_a_group_are_sent_again(manager: Office, restaurant: Restaurant) -> None:
    office = manager
    wish = (1, "pvege", "xl")  # no other test's: a group of its own
    sagas = restaurant.with_dead_letters(*(f"GROUP{n}" for n in range(FEW)), wish=wish)
    office.open(DEAD_LETTERS)
    [row] = [each for each in office.texts("#dead tbody tr") if "pvege" in each]
    assert row.startswith(str(FEW))
    group = next(n for n, each in enumerate(office.texts("#dead tbody tr"), 1) if "pvege" in each)
    office.click(f"#dead tbody tr:nth-child({group}) a")
    office.wait(lambda: len(office.texts("#messages tbody tr")) == FEW, "all of them are shown")
    office.click("#redrive button")
    office.wait(lambda: office.has("#begin"), "what was prepared is shown")
    assert office.text("#count") == str(FEW)
    assert "pvege" in office.text("#scope")
    restaurant.mend(*sagas)
    office.begin("the oven was heated")
    office.wait_for_progress("finished")
    assert settled(restaurant, office) == {"recovered": FEW}
