"""Accessibility, as axe-core finds it in the page that a browser shows."""

from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome

from tests.house import PROJECT

SCRIPT = PROJECT / ".venv/axe/node_modules/axe-core/axe.min.js"
GRAVE = ("serious", "critical")
RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"]}).then(
  (found) => done(found.violations), (error) => done(String(error)));
"""


def missing() -> str:
    """What is not installed, as a sentence; empty where it is there."""
    return (
        "" if SCRIPT.exists() else f"There is no axe-core: `make {SCRIPT.relative_to(PROJECT)}` installs it."
    )


def findings(driver: Chrome) -> list[str]:
    """What is seriously wrong with the page, a line for each element: rule, element, what to do."""
    if not driver.execute_script("return 'axe' in window"):
        driver.execute_script(_source(SCRIPT))
    violations = driver.execute_async_script(RUN)
    assert isinstance(violations, list), violations
    grave = [each for each in violations if each["impact"] in GRAVE]
    return [_told(rule, node) for rule in grave for node in rule["nodes"]]


def _source(script: Path) -> str:
    return script.read_text()


def _told(rule: dict[str, Any], node: dict[str, Any]) -> str:
    target = " ".join(str(each) for each in node["target"])
    wrong = node["failureSummary"].replace("\n", " ")
    return f"{rule['impact']}: {rule['id']}: {target}: {wrong}"
