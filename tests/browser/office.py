"""The manager's office as somebody in front of a browser uses it."""

from dataclasses import dataclass

from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By

from tests.browser.page import Page
from tests.browser.restaurant import PASSWORD, Restaurant

LOGIN = "/admin/login/"
PROCESSES = "/admin/office/process/"
DEAD_LETTERS = "/admin/office/dead-letters/"
QUEUES = "/admin/office/queues/"
MENDINGS = "/admin/office/mending/"


@dataclass(frozen=True)
class Preview:
    """What a page says would happen."""

    from_state: str
    to_state: str
    again: list[str]
    sends: list[str]


class Office(Page):
    """Somebody at the office's pages."""

    def __init__(self, driver: Chrome, restaurant: Restaurant) -> None:
        super().__init__(driver, restaurant.address)
        self.restaurant = restaurant

    # --- Pages ------------------------------------------------------------------------------------

    def open_process(self, saga: str) -> None:
        """Go to the page of a process."""
        self.open(f"{PROCESSES}{saga}/change/")

    def open_mend(self, saga: str, action: str) -> None:
        """Go where a process is mended so."""
        self.open(f"{PROCESSES}{saga}/mend/{action}/")

    def open_message(self, saga: str) -> None:
        """Go to the page of a process's dead message."""
        sql = "SELECT id FROM messaging_inboxmessage WHERE status = 'dead' AND saga_id = %s"
        [row] = self.restaurant.house.query(sql, [saga])
        self.open(f"{DEAD_LETTERS}message/{row['id']}/")

    def log_in(self, name: str) -> None:
        """With name and password, as nobody."""
        self.driver.delete_all_cookies()
        self.open(LOGIN)
        self.type("#id_username", name)
        self.type("#id_password", PASSWORD)
        self.driver.find_element(By.ID, "id_password").submit()
        self.wait(lambda: LOGIN not in self.driver.current_url, f"{name} is let in")

    def come_in(self, name: str) -> None:
        """As somebody who has logged in before; the first time they do it now."""
        sessions = self.restaurant.sessions
        if name not in sessions:
            self.log_in(name)
            cookie = self.driver.get_cookie("sessionid")
            assert cookie is not None
            sessions[name] = cookie["value"]
        cookie = {"name": "sessionid", "value": sessions[name], "url": self.restaurant.address}
        self.driver.execute_cdp_cmd("Network.setCookie", cookie)

    # --- What is read -----------------------------------------------------------------------------

    def read_why(self) -> str:
        """Why the process waits."""
        return self.text("#why")

    def state(self) -> str:
        """The state on the process's page, as the code names it."""
        return "".join(self.values("#state", "data-state"))

    def buttons(self) -> set[str]:
        """What can be done to the process."""
        return set(self.values("[data-action]", "data-action"))

    def outcome(self) -> tuple[str, str]:
        """What came of what was done last, on the process's page or the mending's: status, and what is said
        of it."""
        css = "[data-mending-status]"
        statuses, texts = self.values(css, "data-mending-status"), self.texts(css)
        return (statuses[0], texts[0]) if statuses and texts else ("", "")

    def wait_for_outcome(self) -> tuple[str, str]:
        """Once it is known."""
        self.wait(lambda: self.outcome()[0] not in ("", "waiting", "sent"), "it is known what came of it")
        return self.outcome()

    # --- What is done -----------------------------------------------------------------------------

    def search(self, text: str) -> None:
        """In the list of processes."""
        self.type("#searchbar", text + Keys.ENTER)
        self.wait(lambda: "q=" in self.driver.current_url, "it is searched")

    def find_table(self, table: str) -> None:
        """Go to the page of the process of this table, by the list's search."""
        self.open(PROCESSES)
        self.search(table)
        self.click("#result_list tbody th a")
        self.wait(self.read_why, "the process is shown")

    def preview(self, action: str) -> Preview:
        """Go where this is done, and read what would happen."""
        self.click(f'a[data-action="{action}"]')
        self.wait(lambda: self.has("#preview"), "the preview is shown")
        return self.foreseen()

    def foreseen(self) -> Preview:
        """What the page says would happen."""
        return Preview(
            self.text("#from-state"), self.text("#to-state"), self.texts("#again li"), self.texts("#sends li")
        )

    def act(self, reason: str) -> None:
        """Do it, and see the process's page again."""
        self.type("#mend [name=reason]", reason)
        self.click("#mend [name=do]")
        self.wait(lambda: self.path.endswith("/change/"), "it is done")

    def select_all(self, *, across: bool) -> None:
        """The processes of the list's page; across: of all its pages."""
        self.click("#action-toggle")
        if across:
            self.click(".question a")

    def run(self, action: str) -> None:
        """The list's action, for those that are selected."""
        self.choose("[name=action]", action)
        self.click("#changelist-actions [type=submit]")

    def begin(self, reason: str) -> None:
        """The mending that was prepared."""
        self.type("#begin [name=reason]", reason)
        self.click("#begin [type=submit]")
        self.wait(lambda: self.progress() not in ("", "draft"), "it is begun")

    def progress(self) -> str:
        """The status of the mending that is shown."""
        return "".join(self.values("#progress", "data-status"))

    def wait_for_progress(self, status: str) -> None:
        """Until the mending that is shown is so far."""
        self.wait(lambda: self.progress() == status, f"the mending is {status}")
