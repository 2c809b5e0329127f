"""The browser: Debian's Chromium, with nothing that it would look for in the network."""

import shutil
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)
PROGRAMS = {"chromium": "chromium", "chromedriver": "chromium-driver"}
WIDE, NARROW = 1280, 390  # CSS pixels
HEIGHT = 900


def missing() -> str:
    """What is not installed, as a sentence; empty where all is there."""
    packages = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    return f"There is no browser to test in: install {' and '.join(packages)}." if packages else ""


def start(profile: Path) -> Chrome:
    """A browser with nothing in it. profile: a folder of its own."""
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={WIDE},{HEIGHT}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options, ChromeService(str(shutil.which("chromedriver"))))
    driver.set_page_load_timeout(30)
    driver.set_script_timeout(30)
    return driver


def look(driver: Chrome, *, width: int = WIDE, height: int = HEIGHT, scale: int = 1) -> None:
    """Have pages shown on such a screen, to somebody who wants nothing to move."""
    still = {"name": "prefers-reduced-motion", "value": "reduce"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [still]})
    screen: dict[str, Any] = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def said(driver: Chrome) -> list[str]:
    """What is wrong in the page or on the way to it, as the console has told since this was asked last."""
    log: list[dict[str, Any]] = driver.get_log("browser")  # type: ignore[no-untyped-call]
    return [each["message"] for each in log if each["level"] == "SEVERE"]
