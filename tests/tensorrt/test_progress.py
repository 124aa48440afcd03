"""How far a build is, from whichever thread it comes, and Ctrl-C at any point of it."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeseg.device.signals import handle_on_own_stack
from edgeseg.types import CompileOptions
from tests.tensorrt.conftest import Installed
from tests.tensorrt.running import on
from tests.tensorrt.small_graphs import written

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "onnxsim")


def test_a_build_says_how_far_it_is(trt: Installed, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    trt.module.compile(written(tmp_path, "float"), CompileOptions(), lambda *at: told.append(at))
    assert told[0][1:] == (0, None)
    assert all(step.startswith("TensorRT") for step, _, _ in told)
    measured = [(done, total) for _, done, total in told if total is not None]
    assert trt.fake.faults == []
    assert measured[-1:] == ([] if trt.version == "8.6.1" else [(3, 3)])


@on("10.3.0")
def test_progress_comes_from_the_thread_that_waits(trt: Installed, tmp_path: Path) -> None:
    threads = set()
    trt.module.compile(
        written(tmp_path, "float"),
        CompileOptions(),
        lambda *_: threads.add(threading.current_thread()),
    )
    assert threads == {threading.current_thread()}


class CtrlC:
    """Ctrl-C at the first step of a build, which takes its time."""

    def __init__(self) -> None:
        self.done = False

    def __call__(self) -> None:
        if not self.done:
            self.done = True
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.02)


@pytest.fixture
def heeded() -> Iterator[None]:
    """Ctrl-C as an exception, also where a shell started the tests in its background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    handle_on_own_stack()  # tests before may have moved the other one, by OpenVINO
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
@on("10.13.0.35", on_step=CtrlC(), steps=20)
def test_ctrl_c_stops_a_build_at_its_next_step(trt: Installed, tmp_path: Path) -> None:
    cache = tmp_path / "timing.bin"
    with pytest.raises(KeyboardInterrupt):
        trt.module.compile(written(tmp_path, "float"), CompileOptions(timing_cache=cache))
    assert builds() == []
    assert not cache.exists()
    assert trt.fake.faults == []


RELEASED = threading.Event()


@on("8.6.1", on_step=lambda: RELEASED.wait(10), steps=1)
def test_ctrl_c_leaves_a_build_that_cannot_be_stopped_behind(
    trt: Installed,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object) -> None:
        if builds():
            raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["edgeseg.backends.tensorrt.progress"], "REPORT_S", 0.0)
    RELEASED.clear()
    with pytest.raises(KeyboardInterrupt):
        trt.module.compile(written(tmp_path, "float"), CompileOptions(), stop)
    (left,) = builds()
    RELEASED.set()
    assert "ends in the background" in caplog.text
    left.join(10)
    assert not left.is_alive()
    assert trt.fake.faults == []


def builds() -> list[threading.Thread]:
    """The threads in which builds run now."""
    return [thread for thread in threading.enumerate() if thread.name == "tensorrt-build"]


@on("10.3.0")
def test_a_build_that_is_not_yet_at_its_first_step_can_be_stopped_too(
    trt: Installed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    del trt
    module = sys.modules["edgeseg.backends.tensorrt.progress"]
    monkeypatch.setattr(module, "REPORT_S", 0.0)

    def stop(*_: object) -> None:
        if builds():
            raise KeyboardInterrupt

    def work() -> None:
        while progress.stepped("not begun", 0):
            time.sleep(0.01)

    progress = module.Progress(stop)
    progress.can_cancel = True

    with pytest.raises(KeyboardInterrupt):
        module.waited_for(work, progress)

    assert builds() == []
    assert "background" not in caplog.text
