"""The load of other processes, measured on this machine and on a made-up /proc."""

import mmap
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgeseg.metrics import load
from edgeseg.metrics.load import ForeignLoad, resident_mib

pytestmark = pytest.mark.skipif(
    not Path("/proc/stat").exists(), reason="this system has no Linux /proc"
)


def _write(folder: Path, *, machine: tuple[int, ...], own: tuple[int, ...]) -> None:
    (folder / "stat").write_text(f"cpu  {' '.join(map(str, machine))}\ncpu0 1 2 3\n")
    (folder / "self").write_text(f"7 (a (b) c) R {'0 ' * 10}{' '.join(map(str, own))} 20 0")


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc of our own and a clock that says two seconds passed; 100 ticks make one."""
    times = iter([10.0, 12.0])
    monkeypatch.setattr(load, "STAT", tmp_path / "stat")
    monkeypatch.setattr(load, "SELF_STAT", tmp_path / "self")
    monkeypatch.setattr(load.time, "monotonic", lambda: next(times))
    monkeypatch.setattr(load.os, "sysconf", lambda _: 100)
    return tmp_path


def test_what_is_neither_idle_nor_ours_is_foreign(made_up: Path) -> None:
    _write(made_up, machine=(10, 0, 10, 500, 50, 0, 0, 0, 0, 0), own=(5, 5, 0, 0))
    with ForeignLoad() as other:
        # 300 busy ticks in 2 s; 200 of them ours, of which a child that ended took 60
        _write(made_up, machine=(210, 20, 60, 600, 70, 5, 5, 20, 9, 9), own=(105, 45, 40, 20))
    assert other.cpus == pytest.approx((300 - 200) / 100 / 2)
    assert other.dirty


def test_a_little_is_not_dirty(made_up: Path) -> None:
    _write(made_up, machine=(0,) * 10, own=(0, 0, 0, 0))
    with ForeignLoad() as other:
        _write(made_up, machine=(30, 0, 0, 370, 0, 0, 0, 0, 0, 0), own=(0, 0, 0, 0))
    assert other.cpus == pytest.approx(0.15)
    assert not other.dirty


def test_without_proc_nothing_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "STAT", tmp_path / "missing")
    with ForeignLoad() as other:
        pass
    assert other.cpus is None
    assert not other.dirty


def test_a_process_that_still_runs_beside_us_is_foreign() -> None:
    busy = "import time\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass"
    other = subprocess.Popen([sys.executable, "-c", busy])
    with ForeignLoad() as theirs:
        time.sleep(0.8)
    other.wait()
    assert theirs.cpus is not None
    assert theirs.cpus > 0.2


def test_resident_memory_grows_by_what_is_allocated() -> None:
    before = resident_mib()
    # A mapping of its own: the heap may hand out pages that it holds already.
    with mmap.mmap(-1, 64 << 20) as block:
        np.frombuffer(block, np.uint8).fill(1)
        after = resident_mib()
    assert before is not None
    assert after is not None
    assert 55 < after - before < 90
