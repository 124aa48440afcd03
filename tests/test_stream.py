import contextlib
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

import edgeseg
from edgeseg.engine import Engine
from edgeseg.errors import OutputError, VideoError
from edgeseg.frames import FrameTime, Source
from edgeseg.metrics.load import resident_mib
from edgeseg.run import run
from edgeseg.stream import stream
from edgeseg.types import Buffer, PixelFormat, Pixels, Size, Slot
from edgeseg.video import SINKS, SourceOptions, open_source
from tests.pictures import Pictures
from tests.small import FRAME, RecordingSink, street

pytestmark = pytest.mark.needs("openvino", "av", "cv2", "onnx")

BIG = Size(240, 320)


class CopyingSource:
    """Another source, with one copy of each frame that nobody needs."""

    def __init__(self, inner: Source) -> None:
        self.info, self._inner = inner.info, inner

    def read_into(self, pixels: Buffer) -> FrameTime | None:
        spare = np.empty_like(pixels)
        read = self._inner.read_into(spare)
        np.copyto(pixels, spare)
        return read

    def close(self) -> None:
        self._inner.close()


@pytest.fixture(autouse=True)
def _sinks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("recording", "copying", "breaking"):
        monkeypatch.setitem(SINKS, name, f"tests.small:open_{name}")
    monkeypatch.setattr(RecordingSink, "opened", [])


@pytest.fixture
def engine(small_int8: Path) -> Iterator[Engine]:
    with Engine.open(small_int8) as opened:
        yield opened


@pytest.fixture(scope="module")
def streets() -> list[Pixels]:
    return [street(seed)[0] for seed in range(12)]


def test_results_come_in_order_and_are_what_the_engine_says(
    engine: Engine, streets: list[Pixels]
) -> None:
    expected = [engine(picture) for picture in streets]

    results = [
        (result.index, result.labels.copy(), result.time.pts_s)
        for result in stream(engine, Pictures(streets), ["recording://"], workers=3)
    ]

    assert [index for index, _, _ in results] == list(range(12))
    assert [pts for _, _, pts in results] == [index / 25 for index in range(12)]
    assert all(np.array_equal(a, b) for a, (_, b, _) in zip(expected, results, strict=True))
    (sink,) = RecordingSink.opened
    assert all(np.array_equal(a, b) for a, b in zip(expected, sink.labels, strict=True))
    assert sink.closed


def test_source_backend_and_sink_share_the_memory_of_the_slot(
    engine: Engine, streets: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    slots: dict[int, Slot] = {}
    launch = Engine.launch

    def launch_and_note(self: Engine, slot: Slot) -> None:
        slots[slot.pixels.ctypes.data] = slot
        launch(self, slot)

    monkeypatch.setattr(Engine, "launch", launch_and_note)
    source = Pictures(streets)

    seen = [
        (result.pixels.ctypes.data, result.labels.ctypes.data)
        for result in stream(engine, source, ["recording://"], workers=3)
    ]

    assert len(slots) <= 5  # one for each worker, and two for who consumes
    for (pixels, labels), read, written in zip(
        seen, source.addresses, RecordingSink.opened[0].addresses, strict=True
    ):
        slot = slots[pixels]
        bound = slot.bound.request.get_input_tensor().data.ctypes.data  # type: ignore[attr-defined]
        assert read == pixels == bound
        assert written == labels == slot.labels.ctypes.data


def test_a_frame_is_written_once_between_source_and_backend(
    engine: Engine, streets: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the backend finds is what the source left: nobody wrote to the frame in between."""
    launch = Engine.launch
    before: list[tuple[Pixels, int]] = []

    def frozen_launch(self: Engine, slot: Slot) -> None:
        before.append((slot.pixels.copy(), slot.pixels.ctypes.data))
        launch(self, slot)

    monkeypatch.setattr(Engine, "launch", frozen_launch)
    source = Pictures(streets)

    run(engine, source, workers=1)

    assert [address for _, address in before] == source.addresses
    assert all(np.array_equal(a, b) for (a, _), b in zip(before, streets, strict=True))


@pytest.mark.parametrize("workers", [1, 3])
def test_500_frames_allocate_nothing_of_a_frames_size(engine: Engine, workers: int) -> None:
    def peak() -> int:
        source = open_source(f"null://?seconds=18&size={BIG}")
        return _peak_after_warm_up(engine, source, [], workers=workers, draw=True)

    # What other threads of the test process allocate meanwhile counts too, but not twice.
    assert any(peak() < BIG.height * BIG.width * 3 / 4 for _ in range(2))


def test_an_extra_copy_in_a_source_is_seen(engine: Engine) -> None:
    source = CopyingSource(open_source(f"null://?seconds=5&size={BIG}"))

    peak = _peak_after_warm_up(engine, source, [], workers=2, draw=True)

    assert peak >= BIG.height * BIG.width * 3 / 4


def test_an_extra_copy_in_a_sink_is_seen(engine: Engine) -> None:
    source = open_source(f"null://?seconds=5&size={BIG}")

    peak = _peak_after_warm_up(engine, source, ["copying://"], workers=2, draw=None)

    assert peak >= BIG.height * BIG.width * 3 / 4


@pytest.mark.parametrize("pixel_format", ["nv12", "bgr8"])
def test_other_pixel_formats_are_drawn_without_allocating(
    pixel_format: str, tmp_path: Path
) -> None:
    from tests.small import NETWORK, SIZE, working_directory

    with working_directory(tmp_path):
        built = edgeseg.build(
            NETWORK,
            size=SIZE,
            frame=BIG,
            frame_format=pixel_format,
            backend="null",
            out=tmp_path / "engine",
        )
    source = open_source(
        f"null://?seconds=3&size={BIG}", SourceOptions(pixel_format=PixelFormat(pixel_format))
    )

    with built:
        peak = _peak_after_warm_up(built, source, [], workers=2, draw=True)

    assert peak < BIG.height * BIG.width * 3 / 4


def test_leaving_the_loop_early_ends_the_threads_and_finishes_the_file(
    engine: Engine, streets: list[Pixels], tmp_path: Path
) -> None:
    source = Pictures(streets)
    target = tmp_path / "out.mkv"

    for result in stream(engine, source, [str(target)], workers=3):
        if result.index == 4:
            break

    assert _workers() == []
    assert source.closed
    assert len(_frames_of(target)) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


def test_a_stream_that_is_never_iterated_closes_what_it_opened(
    engine: Engine, streets: list[Pixels]
) -> None:
    source = Pictures(streets)

    with stream(engine, source, ["recording://"]):
        pass

    assert source.closed
    assert RecordingSink.opened[0].closed


def test_the_callers_engine_stays_open(engine: Engine, streets: list[Pixels]) -> None:
    run(engine, Pictures(streets), workers=2)

    assert engine(streets[0]).shape == FRAME


def test_a_sink_that_breaks_ends_the_run_with_its_error(
    engine: Engine, streets: list[Pixels]
) -> None:
    source = Pictures(streets)

    with pytest.raises(OutputError, match="the disk is full"):
        run(engine, source, ["breaking://", "recording://"], workers=3)

    assert _workers() == []
    assert source.closed
    assert RecordingSink.opened[0].closed


def test_a_source_that_breaks_gives_what_came_before_and_then_its_error(
    engine: Engine, streets: list[Pixels], tmp_path: Path
) -> None:
    source = Pictures(streets, breaks_at=6)
    target = tmp_path / "out.mkv"

    with pytest.raises(VideoError, match="the cable was pulled"):
        _within(20, lambda: run(engine, source, [str(target)], workers=3))

    assert _workers() == []
    assert len(_frames_of(target)) == 6


def test_a_worker_that_breaks_while_the_others_have_filled_every_slot_ends_the_run(
    small_null: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others wait for a slot, and the consumer for the frame that will not come."""
    launch, count = Engine.launch, [0]

    def sixth_is_slow_and_breaks(self: Engine, slot: Slot) -> None:
        count[0] += 1
        if count[0] == 6:
            time.sleep(0.5)
            raise RuntimeError("the driver went away")
        launch(self, slot)

    monkeypatch.setattr(Engine, "launch", sixth_is_slow_and_breaks)

    with pytest.raises(RuntimeError, match="the driver went away"):
        _within(10, lambda: run(small_null, "null://?seconds=10&size=128x96", workers=3))

    assert _workers() == []


def test_an_error_reaches_the_consumer_though_a_thread_is_slow_to_end(small_null: Path) -> None:
    """The last worker says that it ends before it has ended; nobody says it again after that."""
    picture = np.zeros((96, 128, 3), np.uint8)

    def slow_to_end(frame: FrameType, event: str, argument: object) -> None:
        del argument
        if event == "return" and frame.f_code.co_name == "run":
            time.sleep(0.1)

    threading.setprofile(slow_to_end)
    try:
        with pytest.raises(VideoError, match="cable"):
            _within(10, lambda: run(small_null, Pictures([picture], breaks_at=0), workers=2))
    finally:
        threading.setprofile(None)


def test_a_backend_that_times_nothing_can_be_watched(small_null: Path) -> None:
    done = run(small_null, "null://?seconds=1&size=128x96", ["null://"], workers=2)

    assert done.frames == 30
    assert done.stages_ms["infer"] is None


def test_a_source_without_a_frame_is_refused(engine: Engine, streets: list[Pixels]) -> None:
    source = Pictures(streets[:1])
    source.read_into(np.empty_like(streets[0]))

    with pytest.raises(VideoError, match="pictures has no frame"):
        run(engine, source, workers=2)


def test_a_sink_that_cannot_be_opened_closes_the_source_and_the_other_sinks(
    engine: Engine, streets: list[Pixels], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    source = Pictures(streets)

    with pytest.raises(OutputError, match="cannot be written"):
        stream(engine, source, ["recording://", str(tmp_path / "file" / "out.mp4")])

    assert source.closed
    assert RecordingSink.opened[0].closed


def test_the_summary_of_a_run_says_what_it_was(engine: Engine, streets: list[Pixels]) -> None:
    done = run(engine, Pictures(streets), ["null://"], workers=2)

    assert done.frames == len(done.age_ms) == 12
    assert done.fps == pytest.approx(12 / done.seconds)
    assert done.stages_ms["pre"] is None  # inside the graph
    assert all(done.stages_ms[stage] > 0 for stage in ("decode", "infer", "post", "draw"))  # type: ignore[operator]
    assert (done.damaged, done.skipped, done.outputs) == (0, [], ["null://"])


def test_frames_of_another_size_run_at_their_own_size(engine: Engine) -> None:
    sizes = {
        result.labels.shape for result in stream(engine, "synthetic://?seconds=0.2&size=64x48")
    }

    assert sizes == {(48, 64)}


@pytest.mark.slow
def test_10000_frames_hold_no_more_memory_than_the_first_500(small_null: Path) -> None:
    before = 0.0
    for result in stream(small_null, "null://?seconds=340&size=128x96", ["null://"], workers=2):
        if result.index == 500:
            before = resident_mib() or 0.0

    assert result.index >= 9999
    assert (resident_mib() or 0.0) - before < 5


def _peak_after_warm_up(
    engine: Engine,
    source: Source,
    sinks: list[str],
    *,
    workers: int,
    draw: bool | None,
) -> int:
    """The most memory that ever lived at once of what was allocated after the first 30 frames.

    A peak counts what lives for a moment only; numpy, and OpenCV through it, report to
    tracemalloc as Python does.
    """
    try:
        for result in stream(engine, source, sinks, workers=workers, draw=draw):
            if result.index == 30:  # every slot has been used
                tracemalloc.start()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _within(seconds: float, call: object) -> None:
    """Call, and fail if that takes longer: a loop that hangs must not hang the tests."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            call()  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001 - raised again below
            raised.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "the loop hangs"
    if raised:
        raise raised[0]


def _workers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("worker-")]


def _frames_of(path: Path) -> list[Pixels]:
    with contextlib.closing(open_source(str(path))) as source:
        frames = []
        pixels = np.empty((*source.info.size, 3), np.uint8)
        while source.read_into(pixels) is not None:
            frames.append(pixels.copy())
        return frames
