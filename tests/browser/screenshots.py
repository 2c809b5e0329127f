"""`make screenshots`: an evening in a house of its own, and the pictures of it in docs/screenshots."""

import base64
import sys
import tempfile
from pathlib import Path

from selenium.webdriver import Chrome

from tests.browser import chromium
from tests.browser.office import PROCESSES, Office
from tests.browser.restaurant import MANAGER, Restaurant
from tests.house import PROJECT, Databases, House
from tests.servers import POSTGRESQL, RABBITMQ

FOLDER = PROJECT / "docs" / "screenshots"
SCREENS = {"wide": (chromium.WIDE, 1), "narrow": (chromium.NARROW, 2)}  # CSS pixels, and pixels for each
MOST_HEIGHT = {"wide": 1200, "narrow": 1250}
HEIGHT = "return document.querySelector('#main, main, body').scrollHeight"
EVENING = [(2, "pmghr", "xl"), (1, "proma", "xl"), (2, "pamat", "xxl")]
SOLD_OUT = """UPDATE kitchen_stock SET "left" = CASE code WHEN 'pvege' THEN 0 ELSE 40 + "left" % 40 END"""
# What was served is moved into the minutes before, so that there is an evening to be seen.
EARLIER = """
UPDATE orders_tableservice SET started_at = started_at - ago, finished_at = finished_at - ago
FROM (SELECT id AS moved, sqrt(random()) * interval '14 minutes' AS ago FROM orders_tableservice) AS times
WHERE id = moved AND finished_at IS NOT NULL
"""


def evening(restaurant: Restaurant) -> str:
    """Tables that were served, and some that were not; returns the process that is worth a look."""
    house = restaurant.house
    house.query(SOLD_OUT)
    served = restaurant.seat(*(f"TBL{n}" for n in range(1, 7)), wish=EVENING)
    served += restaurant.seat("TBL7", wish=[(1, "pmghr", "xl"), (2, "pvege", "xl")])  # of a second round
    house.wait_until(lambda: house.all_sagas("closed", len(served)), 90, "all were served")
    house.query(EARLIER)
    restaurant.with_declined_card("TBL8")
    cancelled, _ = restaurant.with_dead_letters("TBL9", "TBL10")
    house.manage("cancel_saga", cancelled, "--reason", "the guests have a train to catch")
    shown = restaurant.seat_one("TBL11", wish=EVENING, troubles=["proma"])
    dead = "SELECT id FROM messaging_inboxmessage WHERE status = 'dead' AND saga_id = %s"
    house.wait_until(lambda: house.query(dead, [shown]), 60, "one is worth a look")
    restaurant.seat("TERRACE1", in_person=True)
    return shown


def take(driver: Chrome, file: Path, screen: str) -> None:
    """A picture of the page, as long as it is."""
    width, scale = SCREENS[screen]
    height = min(int(driver.execute_script(HEIGHT)), MOST_HEIGHT[screen])
    chromium.look(driver, width=width, height=height, scale=scale)
    picture = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    file.write_bytes(base64.b64decode(picture))
    print(f"{file.relative_to(PROJECT)}: {file.stat().st_size / 1000:.0f} kB", file=sys.stderr)


def take_all(office: Office, saga: str) -> None:
    """The pictures of the list, and of one process after a retry in vain."""
    FOLDER.mkdir(exist_ok=True)
    office.log_in(MANAGER)
    office.open_mend(saga, "retry")
    office.act("the oven was lit again")
    office.wait_for_outcome()
    newest = office.restaurant.seat_one("TBL12", wish=EVENING)
    office.wait(lambda: office.restaurant.state(newest), "another table was seated")
    for page, path in (("list", PROCESSES), ("process", f"{PROCESSES}{saga}/change/")):
        for theme in ("light", "dark"):
            for screen, (width, _scale) in SCREENS.items():
                chromium.look(office.driver, width=width)
                office.open(path)
                office.switch_theme(theme)
                office.wait_for_quiet()
                take(office.driver, FOLDER / f"{page}-{theme}-{screen}.png", screen)


def main() -> None:
    """Raises NotInTime where the house or a page does not get as far as it should."""
    missing = [each for each in (POSTGRESQL.missing, RABBITMQ.missing, chromium.missing()) if each]
    if missing:
        sys.exit("\n".join(missing))
    with tempfile.TemporaryDirectory() as folder:
        databases = Databases(Path(folder))
        house = House(Path(folder), databases.create(POSTGRESQL.url), RABBITMQ.url)
        driver = chromium.start(Path(folder, "chromium"))
        try:
            restaurant = Restaurant(house, PIZZAHOUSE_PACE="1", PIZZAHOUSE_RETRY_SECONDS="1").open()
            take_all(Office(driver, restaurant), evening(restaurant))
        finally:
            driver.quit()
            house.close()
            databases.drop(POSTGRESQL.url, house.database_url)
            databases.close()


if __name__ == "__main__":
    main()
