"""Two builds of one folder: one after the other, in processes of their own."""

import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeseg.errors import OutputError
from edgeseg.lock import building
from edgeseg.manifest import read_manifest
from edgeseg.publish import staged
from tests.engines import write_engine

BUILDER = """
import logging, signal, sys
from pathlib import Path
from edgeseg.lock import building
from edgeseg.publish import staged
from tests.engines import write_engine

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
out, wanted, name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
with building(out, wanted) as turn:
    print("turn", turn.waited, turn.done, flush=True)
    if turn.done:
        sys.exit()
    with staged(out) as stage:
        write_engine(stage, name=name)
        go = sys.stdin.readline()
        if go == "fail\\n":
            raise SystemExit(5)
print("published", flush=True)
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "engines" / "net"


@pytest.fixture
def start(out: Path, root: Path) -> Iterator[Start]:
    """Starts a build that publishes when it is told to; it says what turn it got."""
    running: list[subprocess.Popen[str]] = []

    def start(name: str, wanted: str = "the same") -> "subprocess.Popen[str]":
        child = subprocess.Popen(
            [sys.executable, "-c", BUILDER, str(out), wanted, name],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(child)
        return child

    yield start
    for child in running:
        child.kill()
        child.communicate()


def said(child: "subprocess.Popen[str]") -> str:
    """The next line of the child."""
    assert child.stdout is not None
    return child.stdout.readline().strip()


def told(child: "subprocess.Popen[str]", word: str) -> None:
    assert child.stdin is not None
    child.stdin.write(f"{word}\n")
    child.stdin.flush()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_second_waits_and_takes_what_the_first_published(start: Start, out: Path) -> None:
    first = start("first")
    assert said(first) == "turn False False"
    second = start("second")
    assert said(second) == f"another build of {out} runs (pid {first.pid}); waiting for it"
    told(first, "go")
    assert said(first) == "published"

    assert said(second) == f"it built what is wanted here too: {out} is ready"
    assert said(second) == "turn True True"
    assert second.wait(20) == 0
    assert read_manifest(out).name == "first"
    assert names_in(out.parent) == ["net"]


@pytest.mark.parametrize(
    ("wanted", "word", "survivor"),
    [("another engine", "go", "second"), ("the same", "fail", "second")],
    ids=["of another engine", "that failed"],
)
def test_after_a_build_of_no_use_the_second_builds(
    start: Start, out: Path, wanted: str, word: str, survivor: str
) -> None:
    first = start("first", wanted)
    said(first)
    second = start("second")
    said(second)
    told(first, word)

    assert said(second) == "turn True False"
    told(second, "go")
    assert said(second) == "published"
    assert second.wait(20) == 0
    assert read_manifest(out).name == survivor
    assert names_in(out.parent) == ["net"]


def test_a_killed_build_holds_nobody_up(start: Start, out: Path) -> None:
    first = start("first")
    said(first)
    second = start("second")
    said(second)
    first.send_signal(signal.SIGKILL)

    assert said(second) == "turn True False"
    told(second, "go")
    assert said(second) == "published"
    assert second.wait(20) == 0
    assert ".net.lock" not in names_in(out.parent)


def test_three_at_once_build_one_at_a_time_and_leave_one_whole_engine(
    start: Start, out: Path
) -> None:
    children = [start(f"number {index}", str(index)) for index in range(3)]
    for child in children:
        told(child, "go")

    for child in children:
        assert child.communicate(timeout=60)[0].endswith("published\n")
        assert child.returncode == 0
    assert read_manifest(out).name.startswith("number")
    assert names_in(out.parent) == ["net"]


def test_a_wait_can_be_interrupted(start: Start, out: Path) -> None:
    with building(out):
        second = start("second")
        assert "waiting" in said(second)
        second.send_signal(signal.SIGINT)
        assert second.wait(20) != 0
    assert not out.parent.exists()


def test_an_engine_from_before_is_not_what_was_waited_for(start: Start, out: Path) -> None:
    with staged(out) as stage:
        write_engine(stage, name="old")
    with building(out, "the same"):
        second = start("second")
        said(second)
        time.sleep(0.05)

    assert said(second) == "turn True False"


def test_folders_with_two_names_are_one(tmp_path: Path, start: Start, out: Path) -> None:
    out.parent.mkdir()
    (tmp_path / "link").symlink_to(out.parent)
    with building(tmp_path / "link" / "net"):
        assert "waiting" in said(start("second"))


def test_the_folder_that_one_stands_in_can_be_locked(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out.mkdir(parents=True)
    monkeypatch.chdir(out)
    with building(Path()):
        assert names_in(out.parent) == [".net.lock", "net"]
    assert names_in(out.parent) == ["net"]


def test_nothing_is_left_of_a_build_that_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), building(tmp_path / "a" / "b" / "net"):
        raise ZeroDivisionError
    assert names_in(tmp_path) == []


def test_a_place_below_a_file_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(OutputError, match="cannot be written") as refused,
        building(tmp_path / "file" / "net"),
    ):
        pytest.fail("the block must not run")

    assert refused.value.exit_code == 9


def test_a_lock_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".net.lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OutputError), building(tmp_path / "net"):
        pytest.fail("the block must not run")

    assert not (tmp_path / "elsewhere").exists()


def test_where_there_are_no_locks_the_build_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING), building(tmp_path / "net") as turn:
        assert (turn.waited, turn.done) == (False, False)

    assert "build one at a time" in caplog.text
    assert names_in(tmp_path) == []
