"""Measured kernels: kept from build to build, and never what a build fails for."""

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgeseg.types import CompileOptions
from tests.tensorrt.conftest import Installed
from tests.tensorrt.fakes import fake_tensorrt
from tests.tensorrt.small_graphs import written

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "onnxsim")


def on(version: str, **board: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("trt", [(version, board)], indirect=True)


def measured(trt: Installed, folder: Path, cache: Path, kind: str = "float") -> int:
    """How many layers a build had to measure."""
    before: int = trt.fake.timed
    trt.module.compile(written(folder, kind), CompileOptions(timing_cache=cache))
    return trt.fake.timed - before


def test_a_second_build_measures_nothing(trt: Installed, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "timing.bin"
    assert measured(trt, tmp_path, cache) > 10
    assert measured(trt, tmp_path, cache) == 0


@on("10.3.0")
def test_without_a_file_nothing_is_remembered(trt: Installed, tmp_path: Path) -> None:
    path = written(tmp_path, "float")
    before = sorted(tmp_path.iterdir())
    trt.module.compile(path, CompileOptions())
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
@on("10.7.0")
def test_a_damaged_cache_starts_empty_and_is_whole_afterwards(
    trt: Installed, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes | None
) -> None:
    cache = tmp_path / "timing.bin"
    first = measured(trt, tmp_path, cache)
    cache.write_bytes(cache.read_bytes()[:-3] if damage is None else damage)
    assert measured(trt, tmp_path, cache) == first
    assert "damaged" in caplog.text
    assert measured(trt, tmp_path, cache) == 0


@on("8.6.1")
def test_a_cache_of_another_gpu_starts_empty(
    trt: Installed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "timing.bin"
    first = measured(trt, tmp_path, cache)
    assert trt.gpu is not None
    trt.gpu.name = "Thor"
    assert measured(trt, tmp_path, cache) == first
    assert "of another GPU" in caplog.text


@on("10.3.0")
def test_a_cache_of_another_version_starts_empty(
    trt: Installed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "timing.bin"
    first = measured(trt, tmp_path, cache)
    with fake_tensorrt("10.7.0") as other:
        from edgeseg.backends import tensorrt

        tensorrt.compile(written(tmp_path, "float"), CompileOptions(timing_cache=cache))
        assert other.fake.timed == first
    assert "another GPU or version" in caplog.text


@on("10.3.0")
def test_a_cache_that_cannot_be_written_costs_a_warning(
    trt: Installed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    trt.module.compile(
        written(tmp_path, "float"), CompileOptions(timing_cache=tmp_path / "taken" / "timing.bin")
    )
    assert "measures again" in caplog.text


@on("10.3.0")
def test_a_full_disk_costs_a_warning_and_leaves_nothing_behind(
    trt: Installed,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    graph, cache = written(tmp_path, "float"), tmp_path / "cache" / "timing.bin"
    monkeypatch.setattr(Path, "write_bytes", full)
    assert trt.module.compile(graph, CompileOptions(timing_cache=cache))
    assert "No space left" in caplog.text
    assert list(cache.parent.iterdir()) == []


class Meanwhile:
    """Another process that writes the cache while a build runs."""

    def __init__(self) -> None:
        self.source = self.target = Path()

    def __call__(self) -> None:
        if self.source.is_file():
            shutil.copy(self.source, self.target)


OTHER = Meanwhile()


@on("10.3.0", on_step=OTHER)
def test_what_another_build_measured_meanwhile_is_kept_too(trt: Installed, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.bin", tmp_path / "theirs.bin"
    OTHER.source = OTHER.target = Path()
    measured(trt, tmp_path, theirs, "small")
    OTHER.source, OTHER.target = theirs, ours
    measured(trt, tmp_path, ours)
    OTHER.source = Path()
    assert measured(trt, tmp_path, ours, "small") == 0
    assert measured(trt, tmp_path, ours) == 0


def test_each_gpu_and_version_has_a_cache_of_its_own(trt: Installed) -> None:
    here = trt.module.fingerprint()
    names = {
        trt.module.timing_cache_name(here | changed)
        for changed in ({}, {"gpu": "other"}, {"version": "9.9.9"}, {"compute_capability": "1.0"})
    }
    assert len(names) == 4
    assert trt.module.timing_cache_name(here) == trt.module.timing_cache_name()
    assert all(name.startswith("timing-") and "/" not in name for name in names)
