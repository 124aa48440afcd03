"""An engine folder appears whole, or the one that was there stays."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgeseg.publish as publish_module
from edgeseg.engine import Engine
from edgeseg.errors import EngineMismatch, OutputError
from edgeseg.manifest import read_manifest
from edgeseg.publish import refuse_foreign, seal, staged
from tests.engines import tiny_manifest, write_engine


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """An engine called `old` in a folder of its own."""
    folder = tmp_path / "engines" / "net"
    folder.mkdir(parents=True)
    write_engine(folder, name="old")
    return folder


def test_a_new_engine_appears_with_its_parents(tmp_path: Path) -> None:
    out = tmp_path / "some" / "where" / "net"
    with staged(out) as stage:
        assert stage.parent == out.parent  # else the rename is no rename
        write_engine(stage, name="new")
        assert not out.exists()
    assert read_manifest(out).name == "new"
    assert names_in(out.parent) == ["net"]
    Engine.open(out).close()


def test_it_is_readable_by_others(tmp_path: Path) -> None:
    with staged(tmp_path / "net") as stage:
        write_engine(stage, name="new")
    assert (tmp_path / "net").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("exchange", [True, False], ids=["one step", "two steps"])
def test_a_rebuilt_engine_takes_the_old_ones_place(
    old: Path, exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchange:
        monkeypatch.setattr(publish_module, "_exchange", lambda *_: False)
    (old / "left.over").touch()
    with staged(old) as stage:
        write_engine(stage, name="new")
        assert read_manifest(old).name == "old"
    assert read_manifest(old).name == "new"
    assert not (old / "left.over").exists()
    assert names_in(old.parent) == ["net"]
    Engine.open(old).close()


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, EngineMismatch("no")])
def test_a_failure_leaves_the_old_engine_and_nothing_else(
    old: Path, error: type[BaseException] | BaseException
) -> None:
    with (  # noqa: PT012
        pytest.raises((ZeroDivisionError, KeyboardInterrupt, EngineMismatch)),
        staged(old) as stage,
    ):
        write_engine(stage, name="new")
        raise error
    assert read_manifest(old).name == "old"
    assert names_in(old.parent) == ["net"]
    Engine.open(old).close()


def test_a_failure_leaves_nothing_where_nothing_was(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), staged(tmp_path / "net"):
        raise ZeroDivisionError
    assert names_in(tmp_path) == []


def test_a_full_disk_is_an_output_error_that_leaves_the_old_engine(old: Path) -> None:
    with pytest.raises(OutputError, match="No space left") as caught, staged(old):
        raise OSError(28, "No space left on device")
    assert caught.value.exit_code == 9
    assert read_manifest(old).name == "old"
    assert names_in(old.parent) == ["net"]


def test_a_folder_that_is_no_engine_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"dear")
    with pytest.raises(OutputError, match="is no engine folder") as caught, staged(tmp_path):
        pytest.fail("the block must not run")
    assert "-o" in caught.value.fix
    assert (tmp_path / "holiday.jpg").read_bytes() == b"dear"


def test_a_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(b"dear")
    with pytest.raises(OutputError):
        refuse_foreign(tmp_path / "net")


def test_an_empty_folder_may_become_an_engine(tmp_path: Path) -> None:
    out = tmp_path / "net"
    out.mkdir()
    with staged(out) as stage:
        write_engine(stage, name="new")
    assert read_manifest(out).name == "new"
    assert names_in(tmp_path) == ["net"]


def test_a_place_below_a_file_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError), staged(tmp_path / "file" / "net"):
        pytest.fail("the block must not run")


def test_sealing_hashes_every_file_but_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abc")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "x").touch()
    (tmp_path / "manifest.json").write_text("older")
    sealed = seal(tiny_manifest(name="net"), tmp_path)
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sealed.files == {"a.bin": abc}
    assert read_manifest(tmp_path) == sealed


KILLED = """
import os, signal, sys
from pathlib import Path
import edgeseg.publish as publish
from tests.engines import write_engine

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

out, point = Path(sys.argv[1]), sys.argv[2]
exchange, rmtree = publish._exchange, publish.shutil.rmtree
if point == "before the swap":
    publish._exchange = die
if point == "after the swap":
    publish._exchange = lambda *paths: (exchange(*paths), die())
if point == "while the old one goes":
    publish.shutil.rmtree = lambda folder, **_: (next(Path(folder).iterdir()).unlink(), die())
with publish.staged(out) as stage:
    if point == "empty stage":
        die()
    write_engine(stage, name="new")
    if point == "half a stage":
        (stage / "manifest.json").unlink()
        die()
print("not killed")
"""


@pytest.mark.parametrize(
    ("point", "survivor"),
    [
        ("empty stage", "old"),
        ("half a stage", "old"),
        ("before the swap", "old"),
        ("after the swap", "new"),
        ("while the old one goes", "new"),
        ("never", "new"),
    ],
)
def test_a_kill_at_any_point_leaves_one_whole_engine_that_opens(
    old: Path, root: Path, point: str, survivor: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(old), point],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == (0 if point == "never" else -signal.SIGKILL), done.stderr
    with Engine.open(old) as engine:
        assert engine.manifest.name == survivor
        assert engine(np.zeros((*engine.frame_size, 3), np.uint8)).shape == engine.frame_size
    # The next build is not in the way of what the killed one left behind.
    with staged(old) as stage:
        write_engine(stage, name="next")
    assert read_manifest(old).name == "next"
