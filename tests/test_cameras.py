import threading
import time

import numpy as np
import pytest

from edgeseg.cameras import Cameras
from edgeseg.frames import Source
from edgeseg.video import SourceOptions
from edgeseg.video.capture import Capture
from tests.pictures import Pictures
from tests.video.cameras import SIZE, ToldCamera, frame_memory, wait_until

pytestmark = pytest.mark.needs("cv2")


def pictures(count: int, value: int) -> Pictures:
    return Pictures([np.full((*SIZE, 3), value, np.uint8)] * count)


def order(cameras: Cameras) -> list[tuple[int, int]]:
    """Whose each frame is, and its value, to the end."""
    found, pixels = [], frame_memory()
    while (read := cameras.read_into(pixels)) is not None:
        found.append((read[0], int(pixels.max())))
    return found


def test_sources_that_are_not_live_take_turns_and_lose_nothing() -> None:
    cameras = Cameras([pictures(3, 10), pictures(1, 20), pictures(2, 30)], threading.Condition())

    assert order(cameras) == [(0, 10), (1, 20), (2, 30), (0, 10), (2, 30), (0, 10)]


def test_a_camera_with_many_frames_does_not_keep_another_from_its_turn() -> None:
    wake = threading.Condition()
    told: list[ToldCamera] = [ToldCamera(), ToldCamera()]
    sources: list[Source] = [
        Capture(lambda _size, camera=camera: camera, SourceOptions(wake=wake))  # type: ignore[misc]
        for camera in told
    ]
    cameras = Cameras(sources, wake)
    pixels, turns = frame_memory(), []

    for value in range(1, 5):
        told[0].show(value, value, value)
        told[1].show(value + 100)
        wait_until(lambda: all(source.is_ready for source in sources))  # type: ignore[attr-defined]
        for _ in told:
            read = cameras.read_into(pixels)
            assert read is not None
            turns.append(read[0])
        told[0].show()

    assert sorted(turns[:2]) == [0, 1]
    assert turns.count(1) == 4
    cameras.close()


def test_a_frame_of_a_busy_camera_is_not_given_out() -> None:
    cameras = Cameras([pictures(2, 10), pictures(2, 20)], threading.Condition(), one_at_a_time=True)
    pixels = frame_memory()
    first, second = cameras.read_into(pixels), cameras.read_into(pixels)
    assert first is not None
    assert second is not None
    assert [first[0], second[0]] == [0, 1]

    third: list[object] = []
    waiting = threading.Thread(target=lambda: third.append(cameras.read_into(pixels)))
    waiting.start()
    time.sleep(0.05)
    assert third == []
    cameras.done_with(1)
    waiting.join(5)

    assert third[0][0] == 1  # type: ignore[index]


@pytest.mark.parametrize("seconds", [None, 0.05])
def test_stopping_and_the_end_of_the_time_wake_whoever_waits_for_a_quiet_camera(
    seconds: float | None,
) -> None:
    wake = threading.Condition()
    quiet = Capture(lambda _size: ToldCamera(), SourceOptions(wake=wake))
    cameras = Cameras([quiet], wake, seconds=seconds)
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.append(cameras.read_into(frame_memory())))
    waiting.start()
    if seconds is None:
        time.sleep(0.02)
        cameras.stop()
    waiting.join(5)

    assert found == [None]
    cameras.close()


def test_one_camera_that_is_over_does_not_end_the_others() -> None:
    wake = threading.Condition()
    told = ToldCamera()
    cameras = Cameras(
        [Capture(lambda _size: told, SourceOptions(wake=wake)), pictures(3, 20)], wake
    )

    told.show(None)

    assert order(cameras) == [(1, 20)] * 3
    cameras.close()
