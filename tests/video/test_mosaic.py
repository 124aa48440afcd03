"""edgeseg.video.sinks.mosaic."""

from fractions import Fraction

import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.frames import FrameTime, SourceCounts
from edgeseg.types import Labels, Pixels, Size
from edgeseg.video.sinks import FrameView, SinkOptions
from edgeseg.video.sinks.mosaic import Mosaic, grid_of, mosaic_options

SIZE, MASK = Size(40, 60), Size(20, 30)
LABELS = Labels(names=("Road", "Car"), colors=((128, 64, 128), (64, 0, 200)))
WANTED = SinkOptions(size=SIZE, mask_size=MASK, fps=Fraction(30), labels=LABELS)


class Inner:
    """Keeps copies of what it is given."""

    takes_pictures = True
    wants_to_stop = False

    def __init__(self) -> None:
        self.frames: list[FrameView] = []
        self.pictures: list[Pixels] = []
        self.labels: list[Pixels] = []
        self.closed = 0

    def write(self, frame: FrameView) -> None:
        self.frames.append(frame)
        self.pictures.append(frame.picture.copy())
        self.labels.append(frame.labels.copy())

    def close(self) -> None:
        self.closed += 1


def view(camera: int, value: int, *, size: Size = SIZE, mask: Size = MASK) -> FrameView:
    return FrameView(
        index=value,
        picture=np.full((*size, 3), value, np.uint8),
        labels=np.full(mask, value, np.uint8),
        camera=camera,
        time=FrameTime(value, 50 + value / 10, 7.0),
        age_ms=10.0 + camera,
        counts=SourceCounts(dropped=value),
        fps=20.0 + camera,
    )


def shown(labels: Pixels, cameras: int) -> list[int]:
    """What stands in the middle of each tile."""
    columns = grid_of(cameras).columns
    middles = (divmod(camera, columns) for camera in range(cameras))
    return [
        int(labels[row * MASK.height + 10, column * MASK.width + 15]) for row, column in middles
    ]


@pytest.mark.parametrize(
    ("cameras", "grid"),
    [(1, (1, 1)), (2, (1, 2)), (3, (2, 2)), (4, (2, 2)), (5, (2, 3)), (7, (3, 3)), (12, (3, 4))],
)
def test_the_grid_is_as_square_as_it_can_be(cameras: int, grid: tuple[int, int]) -> None:
    assert grid_of(cameras) == grid


def test_the_sink_is_told_the_size_of_the_whole() -> None:
    wanted = mosaic_options(WANTED, ("a", "b", "c"))
    assert (wanted.size, wanted.mask_size) == (Size(80, 120), Size(40, 60))
    assert (wanted.cameras, wanted.fps, wanted.labels) == (("a, b, c",), WANTED.fps, LABELS)


def test_a_picture_is_written_when_every_camera_has_news() -> None:
    inner = Inner()
    mosaic = Mosaic(inner, WANTED, ("", "", ""))
    for camera, value in ((0, 1), (2, 3)):
        mosaic.write(view(camera, value))
    assert inner.frames == []
    mosaic.write(view(1, 2))
    assert shown(inner.labels[0], 3) == [1, 2, 3]
    whole = np.full((80, 120), 24)
    whole[:40, :60], whole[:40, 60:], whole[40:, :60] = 1, 2, 3
    np.testing.assert_array_equal(inner.pictures[0][..., 0], whole)
    assert np.all(inner.labels[0][20:, 30:] == 255)


def test_files_side_by_side_lose_no_frame_and_the_longer_goes_on() -> None:
    inner = Inner()
    mosaic = Mosaic(inner, WANTED, ("a", "b"))
    for value in range(3):
        mosaic.write(view(0, value))
        mosaic.write(view(1, 100 + value))
    for value in range(3, 9):
        mosaic.write(view(0, value))
    mosaic.close()
    assert inner.closed == 1
    assert [shown(labels, 2)[0] for labels in inner.labels] == [*range(9)]
    assert [shown(labels, 2)[1] for labels in inner.labels][:3] == [100, 101, 102]
    assert [frame.index for frame in inner.frames] == [*range(9)]


def test_a_camera_that_is_gone_keeps_nobody_waiting_until_it_is_back() -> None:
    inner = Inner()
    mosaic = Mosaic(inner, WANTED, ("a", "b"))
    mosaic.write(view(0, 0))
    mosaic.write(view(1, 100))
    for value in range(1, 10):
        mosaic.write(view(0, value))
    assert shown(inner.labels[-1], 2) == [9, 100]
    mosaic.write(view(1, 101))
    assert shown(inner.labels[-1], 2) == [9, 100]
    mosaic.write(view(0, 10))
    assert shown(inner.labels[-1], 2) == [10, 101]


def test_the_picture_has_the_figures_of_all_cameras_and_the_time_of_the_newest() -> None:
    inner = Inner()
    mosaic = Mosaic(inner, WANTED, ("a", "b"))
    for value in (1, 4):
        mosaic.write(view(0, value))
        mosaic.write(view(1, value + 1))
    first, second = inner.frames
    assert first.time == FrameTime(0, 50.2, 0.0)
    assert second.time == FrameTime(1, 50.5, pytest.approx(0.3))
    assert (second.age_ms, second.fps, second.counts.dropped) == (11.0, 21.0, 9)


def test_frames_of_another_size_are_fitted_into_the_tile() -> None:
    inner = Inner()
    mosaic = Mosaic(inner, WANTED, ("",))
    mosaic.write(view(0, 9))
    mosaic.write(view(0, 7, size=Size(80, 60), mask=Size(10, 30)))
    picture, labels = inner.pictures[1][..., 0], inner.labels[1]
    assert np.all(picture[:, 15:45] == 7)
    assert np.all(picture[:, :15] == 24)
    assert np.all(labels[5:15] == 7)
    assert np.all(labels[:5] == 255)
    assert np.all(labels[15:] == 255)


def test_names_stand_in_the_tiles_and_not_in_the_classes() -> None:
    inner = Inner()
    mosaic = Mosaic(inner, WANTED, ("cam", "rear"))
    mosaic.write(view(0, 200))
    mosaic.write(view(1, 200))
    left = inner.pictures[0][:, :60, 0]
    assert np.all(left[:20] == 200)
    assert len(np.unique(left[20:, 20:])) > 2
    assert np.all(inner.labels[0] == 200)


def test_sinks_without_pictures_get_the_classes_alone() -> None:
    inner = Inner()
    inner.takes_pictures = False
    mosaic = Mosaic(inner, WANTED, ("a", "b"))
    assert not mosaic.takes_pictures
    for camera in range(2):
        mosaic.write(view(camera, camera, size=Size(0, 0)))
    assert shown(inner.labels[0], 2) == [0, 1]


def test_the_wish_to_stop_is_passed_on() -> None:
    inner = Inner()
    mosaic = Mosaic(inner, WANTED, ("a",))
    assert not mosaic.wants_to_stop
    inner.wants_to_stop = True
    assert mosaic.wants_to_stop
    with pytest.raises(UsageError, match="no camera"):
        Mosaic(inner, WANTED, ())
