"""edgeseg.video.sinks.shm and edgeseg.video.shm_ring."""

import ctypes
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeseg.errors import InputFileError, OutputError, UsageError, VideoError
from edgeseg.frames import FrameTime
from edgeseg.types import Labels, Size
from edgeseg.video import shm_ring
from edgeseg.video.shm_ring import SharedLabels
from edgeseg.video.sinks import FrameView, SinkOptions
from edgeseg.video.sinks.shm import ShmSink, open_shm

pytestmark = pytest.mark.skipif(not shm_ring.FOLDER.is_dir(), reason="there is no /dev/shm")
SIZE = Size(30, 50)
BIG = Size(400, 600)
LABELS = Labels(names=("Road", "Car"), colors=((128, 64, 128), (64, 0, 200)))
WRITER = """
import sys, time
from tests.video.test_shm_sink import BIG, opened, view
sink = opened(sys.argv[1], slots=int(sys.argv[2]), size=BIG)
print("ready", flush=True)
until = time.monotonic() + float(sys.argv[3])
index = 0
while time.monotonic() < until:
    sink.write(view(index, size=BIG))
    index += 1
print(index, flush=True)
if sys.argv[4] == "close":
    sink.close()
else:
    time.sleep(60)
"""


def opened(name: str, *, slots: int = 8, size: Size = SIZE) -> ShmSink:
    wanted = SinkOptions(
        size=Size(size.height, 2 * size.width),
        mask_size=size,
        fps=None,
        labels=LABELS,
        cameras=("front", "rear"),
        title="a network",
    )
    return open_shm(f"{name}?slots={slots}", wanted)


def view(index: int, *, camera: int = 0, size: Size = SIZE) -> FrameView:
    """A frame whose classes, all of them, are its index."""
    return FrameView(
        index=index,
        picture=np.empty((0, 0, 3), np.uint8),
        labels=np.full(size, index % 256, np.uint8),
        time=FrameTime(index, 1000.5 + index, index / 30, 2),
        age_ms=12.5,
        camera=camera,
    )


@pytest.fixture
def name() -> Iterator[str]:
    name = f"edgeseg-test-{os.getpid()}-{time.monotonic_ns()}"
    yield name
    (shm_ring.FOLDER / name).unlink(missing_ok=True)


@pytest.fixture
def writer(name: str, root: Path) -> Iterator[subprocess.Popen[str]]:
    yield from _writing(name, root, "2", "0.6", "close")


@pytest.fixture
def idle_writer(name: str, root: Path) -> Iterator[subprocess.Popen[str]]:
    yield from _writing(name, root, "4", "0.01", "stay")


def _writing(name: str, root: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WRITER, name, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_a_reader_gets_what_was_written_last(name: str) -> None:
    sink = opened(name)
    with SharedLabels(name) as shared:
        assert shared.latest() is None
        assert (shared.size, shared.cameras, shared.title) == (SIZE, ("front", "rear"), "a network")
        assert shared.labels == LABELS
        for index in range(20):
            sink.write(view(index, camera=1))
        frame = shared.latest()
        assert frame is not None
        sink.write(view(77))
        np.testing.assert_array_equal(frame.labels, np.full(SIZE, 19))
        assert (frame.number, frame.index, frame.camera, frame.epoch) == (20, 19, 1, 2)
        assert (frame.captured_s, frame.age_s) == (1019.5, 0.0125)
        assert frame.pts_s == pytest.approx(19 / 30)
    sink.close()


def test_nobody_sees_half_a_frame_at_full_speed(writer: subprocess.Popen[str], name: str) -> None:
    seen: list[int] = []
    with SharedLabels(name) as shared:
        for frame in shared:
            assert frame.labels.min() == frame.labels.max() == frame.index % 256
            assert frame.number == frame.index + 1
            seen.append(frame.index)
    written = int(writer.communicate(timeout=20)[0])
    assert seen == sorted(set(seen))
    assert len(seen) > 5
    assert seen[-1] == written - 1
    assert not (shm_ring.FOLDER / name).exists()


def test_a_frame_overwritten_while_it_is_copied_is_not_taken(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = opened(name, slots=2)
    sink.write(view(0))
    fence, later = shm_ring.fence, iter(range(1, 8))

    def interrupted() -> None:
        fence()
        if (index := next(later, None)) is not None:
            sink.write(view(index))

    with SharedLabels(name) as shared:
        monkeypatch.setattr(shm_ring, "fence", interrupted)
        frame = shared.latest()
    sink.close()
    assert frame is not None
    assert frame.index >= 4
    np.testing.assert_array_equal(frame.labels, np.full(SIZE, frame.index))


def test_waiting_ends_with_the_run_and_at_the_timeout(name: str) -> None:
    sink = opened(name)
    with SharedLabels(f"shm://{name}") as shared:
        with pytest.raises(VideoError, match=r"no frame in .* within 0\.01 s"):
            shared.next(timeout_s=0.01)
        sink.write(view(5))
        sink.close()
        sink.close()
        assert [frame.index for frame in shared] == [5]
        assert shared.has_ended
        shared.close()
    with pytest.raises(OutputError, match="closed"):
        sink.write(view(6))


def test_a_writer_that_is_killed_ends_its_readers_and_is_replaced(
    idle_writer: subprocess.Popen[str], name: str
) -> None:
    with SharedLabels(name) as shared:
        assert not shared.has_ended
        with pytest.raises(OutputError, match=f"in use: process {idle_writer.pid} writes it"):
            opened(name)
        idle_writer.kill()
        idle_writer.wait(20)
        assert len(list(shared)) <= 1
    sink = opened(name)
    sink.write(view(3))
    with SharedLabels(name) as shared:
        frame = shared.latest()
    sink.close()
    assert frame is not None
    assert frame.index == 3


def test_the_file_is_the_users_own_and_whole_from_the_start(name: str) -> None:
    sink = opened(name)
    found = (shm_ring.FOLDER / name).stat()
    assert found.st_mode & 0o777 == 0o600
    assert found.st_blocks * 512 >= 8 * SIZE.height * SIZE.width
    assert list(shm_ring.FOLDER.glob(f".{name}*")) == []
    sink.close()
    assert not (shm_ring.FOLDER / name).exists()


def test_what_cannot_be_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for bad in ("", "a/b", ".hidden"):
        with pytest.raises(UsageError, match="no name for shared memory"):
            opened(bad)
    with pytest.raises(UsageError, match="'1' slots"):
        opened(name, slots=1)
    (shm_ring.FOLDER / name).write_bytes(b"somebody's")
    with pytest.raises(OutputError, match="is no ring"):
        opened(name)
    with pytest.raises(InputFileError, match="is no ring"):
        SharedLabels(name)
    with pytest.raises(InputFileError, match="nothing writes shm://not-there"):
        SharedLabels("not-there", timeout_s=0)

    def full(*_arguments: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match="No space left on device"):
        opened(name + "-2")
    assert list(shm_ring.FOLDER.glob(f".{name}*")) == []


def test_classes_of_another_size_are_refused(name: str) -> None:
    sink = opened(name)
    with pytest.raises(UsageError, match="50x30"):
        sink.write(view(0, size=BIG))
    sink.close()


@pytest.mark.parametrize("part", ["header", "slot"])
def test_the_documented_struct_is_the_layout(part: str, root: Path) -> None:
    text = (root / "docs" / "shm.md").read_text()
    body = re.search(rf"struct edgeseg_{part} {{.*?\n}};", text, re.DOTALL)
    assert body is not None
    lines = re.findall(r"^ +(\w+) +(\w+)(\[(\d*)\])?; +/\* +(\d+)", body[0], re.MULTILINE)
    kinds = {"char": ctypes.c_char, **{f"{name}_t": getattr(ctypes, f"c_{name}") for name in C}}
    fields = [
        (name, kinds[kind] * int(length or 0) if brackets else kinds[kind])
        for kind, name, brackets, length, _ in lines
    ]
    struct = type("Struct", (ctypes.LittleEndianStructure,), {"_fields_": fields})
    ours = shm_ring.HEADER if part == "header" else shm_ring.slot_type(SIZE)
    documented = {
        name: int(offset) for _, name, _, _, offset in lines if name not in {"reserved", "spare"}
    }
    assert documented == {name: ours.fields[name][1] for name in ours.names}
    assert documented == {name: getattr(struct, name).offset for name in documented}


C = ("uint8", "uint32", "uint64", "int64")


def test_the_documented_reader_reads(name: str, root: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (root / "docs" / "shm.md").read_text(), re.DOTALL)
    sink = opened(name)
    for index in range(11):
        sink.write(view(index))
    got = subprocess.run(
        [sys.executable, "-c", blocks[-1], name],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    sink.close()
    assert got.stdout.split() == ["11", "50", "30", "10", "10"]
