"""What cannot be is refused at the edge, in one sentence, and nothing is started."""

import pytest

from tests.house import House


@pytest.mark.parametrize(
    ("arguments", "code", "names"),
    [
        (["no such table!"], 2, "no such table!"),
        (["T" * 21], 2, "T" * 21),
        ([""], 2, "table"),
        (["TBL1", "--order", "3 x nonesuch xl"], 1, "nonesuch xl"),
        (["TBL1", "--order", "0 x pmghr xl"], 2, "0 x pmghr xl"),
        (["TBL1", "--order", "1000000 x pmghr xl"], 2, "1000000 x pmghr xl"),
        (["TBL1", "--order", "pizza, please"], 2, "pizza"),
        (["TBL1", "--timeout", "-1"], 2, "timeout"),
        (["TBL1", "--timeout", "nan"], 2, "timeout"),
        ([], 2, "table"),
    ],
    ids=str,
)
def test_a_table_that_cannot_be_served_is_refused(
    house: House, arguments: list[str], code: int, names: str
) -> None:
    ran = house.manage("serve_table", *arguments, check=False)
    assert (ran.code, ran.stdout) == (code, "")
    assert names in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1
    assert_nothing_started(house)


@pytest.mark.parametrize("saga", ["nonsense", f"{0:032x}"])
def test_a_saga_that_is_not_there_is_said_to_be_so(house: House, saga: str) -> None:
    ran = house.manage("saga", saga, check=False)
    assert ran.code in {1, 2}
    assert "manage.py sagas" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_mistyped_queue_is_no_queue(house: House) -> None:
    ran = house.manage("rundramatiq", "--queues", "kichen", check=False)
    assert ran.code == 2
    assert "'kitchen'" in ran.stderr


def assert_nothing_started(house: House) -> None:
    assert house.states() == {}
    assert house.query("SELECT * FROM messaging_outboxmessage") == []
