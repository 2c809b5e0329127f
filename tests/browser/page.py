"""A page in the browser, as it is read and used. What is not there yet is waited for, with a deadline."""

from collections.abc import Callable
from urllib.parse import urljoin

from selenium.common import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from tests.servers import wait_until

PATIENCE = 30.0  # seconds; two cores serve all of this
# It was swapped or moved at that very moment.
NOT_YET = (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)
TEXTS = "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText.trim())"
VALUES = "return [...document.querySelectorAll(arguments[0])].map((each) => each.getAttribute(arguments[1]))"
SWITCH = "Alpine.$data(document.documentElement).switchTheme(arguments[0])"
IS_DARK = "return document.documentElement.classList.contains('dark')"
IS_QUIET = "return document.fonts.status === 'loaded' && !document.querySelector('.htmx-request')"
POST = """
const [path, fields, signed, done] = arguments;
const token = document.cookie.match(/csrftoken=([^;]+)/)[1];
const headers = signed ? {"X-CSRFToken": token} : {};
fetch(path, {method: "POST", body: new URLSearchParams(fields), headers}).then(
  (response) => done(response.status), (error) => done(String(error)));
"""


class Page:
    """Whatever page the browser shows of the site at an address."""

    def __init__(self, driver: Chrome, address: str) -> None:
        self.driver = driver
        self.address = address

    def open(self, path: str) -> None:
        """Go to a page."""
        self.driver.get(urljoin(self.address, path))

    @property
    def path(self) -> str:
        """Of the page that is shown."""
        return str(self.driver.current_url).removeprefix(self.address)

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Until it holds. Raises NotInTime."""
        wait_until(condition, PATIENCE, f"{what}; the page is {self.path}")

    # --- What is read -----------------------------------------------------------------------------

    def texts(self, css: str) -> list[str]:
        """Of all these elements, read at one moment."""
        found: list[str] = self.driver.execute_script(TEXTS, css)
        return found

    def text(self, css: str) -> str:
        """Of the first of these elements; empty where there is none."""
        found = self.texts(css)
        return found[0] if found else ""

    def hidden_text(self, css: str) -> str:
        """Of the first of these elements, with what is folded."""
        return str(self.driver.find_element(By.CSS_SELECTOR, css).get_property("textContent"))

    def values(self, css: str, attribute: str) -> list[str]:
        """An attribute of all these elements."""
        found: list[str] = self.driver.execute_script(VALUES, css, attribute)
        return found

    def typed(self, css: str) -> str:
        """What is in a field."""
        return str(self._shown(css).get_property("value"))

    def has(self, css: str) -> bool:
        """Whether there is such an element."""
        return bool(self.texts(css))

    def wait_for_text(self, css: str, text: str) -> None:
        """Until it is in one of these elements."""
        self.wait(lambda: any(text in each for each in self.texts(css)), f"{css} says {text!r}")

    # --- What is done -----------------------------------------------------------------------------

    def click(self, css: str) -> None:
        """The first of these elements that is shown, once it can be clicked."""
        self.wait(lambda: self._clicked(css), f"{css} can be clicked")

    def _clicked(self, css: str) -> bool:
        try:
            self._shown(css).click()
        except NOT_YET:
            return False
        return True

    def _shown(self, css: str) -> WebElement:
        for each in self.driver.find_elements(By.CSS_SELECTOR, css):
            if each.is_displayed():
                return each
        raise NoSuchElementException(css)

    def type(self, css: str, text: str) -> None:
        """Into this field, instead of what is in it."""
        field = self._shown(css)
        field.clear()
        field.send_keys(text)

    def choose(self, css: str, value: str) -> None:
        """One of a list's values."""
        Select(self._shown(css)).select_by_value(value)

    def switch_theme(self, theme: str) -> None:
        """To "dark" or "light" colours, as the menu of the theme does."""
        self.driver.execute_script(SWITCH, theme)
        self.wait(lambda: self.driver.execute_script(IS_DARK) == (theme == "dark"), f"the page is {theme}")

    def wait_for_quiet(self) -> None:
        """Until fonts are loaded and nothing is on its way."""
        self.wait(lambda: self.driver.execute_script(IS_QUIET), "the page is quiet")

    def forge(self, path: str, fields: dict[str, str], *, signed: bool = True) -> int:
        """Send a form that no page has shown, from this browser's session; returns the answer's status.
        signed: with the token against requests from elsewhere."""
        status = self.driver.execute_async_script(POST, path, fields, signed)
        assert isinstance(status, int), status
        return status
