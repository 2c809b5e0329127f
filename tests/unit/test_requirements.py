"""What is pinned is all that pip will ask for, extras included, so that a new release of somebody
else's breaks no installation of ours."""

import re
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^[a-z].*?(?= \\| ;)", re.MULTILINE)


def pins(name: str) -> dict[str, Requirement]:
    found = map(Requirement, PIN.findall((ROOT / name).read_text()))
    return {canonicalize_name(each.name): each for each in found}


def test_every_extra_that_an_installed_package_asks_for_is_pinned_with_its_package() -> None:
    pinned = pins("requirements-dev.txt")
    for distribution in distributions():
        own = pinned.get(canonicalize_name(distribution.name))
        if own is None:
            continue
        for text in distribution.requires or []:
            asked = Requirement(text)
            wanted = any(
                asked.marker is None or asked.marker.evaluate({"extra": extra}) for extra in ("", *own.extras)
            )
            if wanted and asked.extras:
                pin = pinned[canonicalize_name(asked.name)]
                assert asked.extras <= pin.extras, f"{distribution.name} asks for {asked}: {pin}"
