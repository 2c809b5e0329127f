"""Work that takes long: a worker that is stopped finishes it, one that is killed leaves it to another."""

from tests.house import House, Workers

QUEUE = "heavy_worker"


def test_a_worker_that_is_told_to_stop_finishes_what_runs_and_gives_back_the_rest(house: House) -> None:
    workers = house.workers(QUEUE, threads=1)
    for _ in range(3):
        house.manage("start_heavy_worker", "--seconds", "5")
    house.wait_until(lambda: progress(workers), 20, "the first is under way")
    assert workers.stop() == 0
    assert house.handled() == {"done": 1}
    assert workers.stderr.count("5 of 5 s") == 1

    house.workers(QUEUE, threads=2)
    house.wait_until(lambda: house.handled() == {"done": 3}, 30, "the next worker does the rest")
    assert house.query("SELECT max(attempts) AS attempts FROM messaging_inboxmessage") == [{"attempts": 1}]


def test_a_worker_that_is_killed_leaves_its_work_to_another(house: House) -> None:
    killed = house.workers(QUEUE, threads=1)
    house.manage("start_heavy_worker", "--seconds", "3")
    house.wait_until(lambda: progress(killed), 20, "it is under way")
    killed.kill()
    assert house.handled() == {}
    other = house.workers(QUEUE, threads=1)
    house.wait_until(lambda: house.handled() == {"done": 1}, 30, "another does it")
    assert other.stderr.count("heavy work") == 3, "from the beginning, a line a second"


def progress(workers: Workers) -> bool:
    return "heavy work" in workers.stderr
