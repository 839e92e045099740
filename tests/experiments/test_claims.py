"""Claims of processes: one owner at a time, taken over from the dead alone, with nothing but renaming."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from killing import deaths

from headrouter.experiments.run_folder.claims import Claims
from headrouter.experiments.run_folder.process import Heartbeat, Processes, died_here, new_name

ELSEWHERE = "far+1234-5+77+99+"


def of(folder: Path, name: str, patience: float = 300) -> Claims:
    for part in ("claims", "processes", f"unfinished/{name}"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    return Claims(folder / "claims", folder / "unfinished" / name, name, Processes(folder / "processes", patience))


@pytest.fixture
def dead() -> str:
    """The name of a process of this machine that has ended."""
    read, write = os.pipe()
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    os.close(read), os.close(write)
    host, boot, _, _, token = new_name().split("+")
    return "+".join([host, boot, str(pid), "1", token])


def test_a_claim_has_one_owner(tmp_path: Path) -> None:
    one, other = of(tmp_path, new_name()), of(tmp_path, new_name())
    assert one.take("a") == "" and one.take("a") == "" and one.holds("a")
    assert other.take("a") is None and not other.holds("a") and other.take("b") == ""
    other.release("a")  # not its own
    assert one.holds("a") and set(one.owners()) == {"a", "b"}
    one.release("a")
    assert not one.holds("a") and other.take("a") == ""
    assert sorted(path.name for path in (tmp_path / "claims").iterdir()) == ["a", "b"]


def test_of_many_that_try_at_once_one_succeeds(tmp_path: Path, dead: str) -> None:
    claims = [of(tmp_path, new_name()) for _ in range(8)]
    for number in range(30):
        if number % 2:
            assert of(tmp_path, dead).take(str(number)) == ""
        with ThreadPoolExecutor(8) as pool:
            taken = list(pool.map(lambda one, key=str(number): one.take(key), claims))
        assert [owner for owner in taken if owner is not None] == [dead if number % 2 else ""]
        assert sum(one.holds(str(number)) for one in claims) == 1


def test_the_claim_of_a_living_process_is_never_taken(tmp_path: Path) -> None:
    """However long its heartbeat stands still: on one machine the system knows that a paused process lives."""
    one, other = of(tmp_path, new_name()), of(tmp_path, new_name(), patience=0)
    assert one.take("a") == "" and other.take("a") is None
    time.sleep(0.01)
    assert other.take("a") is None


def test_the_claim_of_a_dead_process_is_taken(tmp_path: Path, dead: str) -> None:
    assert of(tmp_path, dead).take("a") == "" and of(tmp_path, dead).take("b") == ""
    one, other = of(tmp_path, new_name()), of(tmp_path, new_name())
    assert one.take("a") == dead and other.take("a") is None and not of(tmp_path, dead).holds("a")
    of(tmp_path, dead).release("a")
    assert one.holds("a")
    other.tidy()
    assert set(other.owners()) == {"a"}


def test_a_process_of_another_machine_is_dead_when_its_heartbeat_stands_still(tmp_path: Path) -> None:
    far, near = f"{ELSEWHERE}x", new_name()
    assert died_here(far) is None
    assert of(tmp_path, far).take("a") == ""
    one = of(tmp_path, near, patience=0.05)
    with Heartbeat(tmp_path / "processes", far, interval=0.01):
        assert one.take("a") is None
        time.sleep(0.1)
        assert one.take("a") is None  # it beats
        time.sleep(0.1)
        assert one.take("a") is None
    assert one.take("a") is None  # seen for the first time without
    time.sleep(0.1)
    assert one.take("a") == far
    assert not of(tmp_path, far).holds("a")  # it was paused: before it writes anything it sees that this is gone


def test_clocks_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = f"{ELSEWHERE}x"
    of(tmp_path, far).take("a")
    heartbeat, one = Heartbeat(tmp_path / "processes", far), of(tmp_path, new_name(), patience=30)
    for years in (0, -20, 20):
        with monkeypatch.context() as patch:
            now = time.time()
            patch.setattr(time, "time", lambda shifted=now + years * 3e7: shifted)
            heartbeat.beat()
        assert one.take("a") is None


def test_names_tell_processes_apart(dead: str) -> None:
    host, boot, number, start, _ = new_name().split("+")
    assert number == str(os.getpid()) and new_name() != new_name()
    assert died_here(f"{host}+{boot}+{number}+{start}+x") is False and died_here(dead) is True
    assert died_here(f"{host}+{boot}+{number}+{int(start) - 1}+x") is True  # its number was given to another
    assert died_here(f"{host}+other+{number}+{start}+x") is None and died_here("something.txt") is None


WORK: list[Callable[[Claims], object]] = [
    lambda claims: claims.take("a"),
    lambda claims: (claims.take("a"), claims.release("a")),
    lambda claims: (claims.take("a"), claims.release("a"), claims.take("a")),
]


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("before", [False, True], ids=["a new claim", "one of the dead"])
def test_a_process_that_dies_at_any_file_operation_blocks_nobody(
    work: Callable[[Claims], object], before: bool, dead: str, tmp_path: Path
) -> None:
    first, second = dead, dead[:-1] + ("0" if dead[-1] != "0" else "1")

    def begin(folder: Path) -> None:
        of(folder, second)
        if before:
            of(folder, first).take("a")

    count = 0
    for folder in deaths(tmp_path, lambda folder: work(of(folder, second)), begin):
        one, other = of(folder, new_name()), of(folder, new_name())
        assert one.take("a") is not None and other.take("a") is None
        one.release("a")
        assert other.take("a") == ""
        count += 1
    assert count > 3
