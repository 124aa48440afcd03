"""Pictures by data set, folder, list and video: the same data set, however it is named."""

import hashlib
import logging
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from edgeseg.calibration_data import distinct_frames, open_pictures
from edgeseg.datasets import open_dataset, readable
from edgeseg.errors import InputFileError, UnreadablePicture, UsageError, VideoError
from edgeseg.types import Pixels

pytestmark = pytest.mark.needs("av", "cv2", "PIL")

SIZE = (64, 48)
"""(width, height) of the clips."""


def scene(seed: int) -> Pixels:
    """A coarse random picture: no two seeds look alike."""
    blocks = np.random.default_rng(seed).integers(0, 255, (3, 4), np.uint8)
    grey = np.kron(blocks, np.ones((16, 16), np.uint8))
    return np.repeat(grey[..., None], 3, 2)


def write_clip(path: Path, seeds: list[int], *, rotation: int = 0) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options={"qp": "1"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.thread_count = 1
        if rotation:
            stream.set_display_rotation(rotation)
        for index, seed in enumerate(seeds):
            frame = av.VideoFrame.from_ndarray(scene(seed), "rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def listed(pictures: Path, tmp_path: Path) -> Path:
    """A list beside a folder of pictures; two have the same stem."""
    for place in ("one", "two"):
        shutil.copytree(pictures / "train" / "images", tmp_path / place)
    path = tmp_path / "list.txt"
    path.write_text("# calibration\none/0.png\n\ntwo/0.png\r\n  two/2.png\n", encoding="utf-8-sig")
    return path


def test_a_data_set_is_what_it_is_by_its_own_name(pictures: Path) -> None:
    ours = open_pictures("folder:val", root=pictures, count=2)
    theirs = open_dataset("folder:val", root=pictures, count=2)
    assert (ours.name, ours.frame_names()) == (theirs.name, theirs.frame_names())
    assert ours.frame(0).mask is not None


def test_a_typing_error_in_a_name_is_no_missing_path() -> None:
    with pytest.raises(UsageError, match="did you mean 'camvid'"):
        open_pictures("canvid:train")


@pytest.mark.parametrize("text", ["{}/train", "{}:train", "{}"])
def test_a_folder_is_named_by_its_path_alone(pictures: Path, text: str) -> None:
    data = open_pictures(text.format(pictures), root=Path("not/used"))
    assert data.frame_names() == ["0", "1", "2"]
    assert data.frame(1).mask is not None


def test_a_name_of_a_folder_beside_is_a_path(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(pictures / "val" / "images", tmp_path / "shots")
    monkeypatch.chdir(tmp_path)
    assert len(open_pictures("shots")) == 4


def test_a_list_names_pictures_relative_to_itself(listed: Path) -> None:
    data = open_pictures(str(listed))
    assert data.frame_names() == ["one/0.png", "two/0.png", "two/2.png"]
    with Image.open(listed.parent / "two" / "2.png") as image:
        np.testing.assert_array_equal(data.frame(2).image, np.array(image))
    assert data.frame(2).mask is None
    assert data.digest(0) == data.digest(1) != data.digest(2)


def test_count_spreads_over_a_list(listed: Path) -> None:
    assert open_pictures(str(listed), count=2).frame_names() == ["one/0.png", "two/0.png"]
    assert len(open_pictures(str(listed), count=9)) == 3


def test_a_list_with_a_wrong_path_is_refused(listed: Path) -> None:
    listed.write_text("one/0.png\none/7.png\none/8.png\n")
    with pytest.raises(InputFileError, match=r"2 of 3 pictures.*such as 'one/7\.png'"):
        open_pictures(str(listed))


@pytest.mark.parametrize("text", ["", "\n# nothing\n"])
def test_an_empty_list_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(InputFileError, match="lists no pictures"):
        open_pictures(str(tmp_path / "list.txt"))


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(InputFileError, match="cannot be read"):
        open_pictures(str(tmp_path / "list.txt"))


def test_an_unreadable_picture_is_skipped_and_counted(listed: Path) -> None:
    (listed.parent / "two" / "0.png").write_bytes(b"no picture")
    skipped: list[str] = []
    data = open_pictures(str(listed))
    assert [frame.name for _, frame in readable(data, skipped)] == ["one/0.png", "two/2.png"]
    assert skipped == ["two/0.png"]


def test_one_picture_is_data_enough(listed: Path) -> None:
    data = open_pictures(str(listed.parent / "one" / "1.png"))
    assert data.frame_names() == ["1.png"]
    assert data.frame(0).image.shape == (90, 120, 3)


@pytest.mark.parametrize("text", ["no/such/folder", "frames.txt", "clip.mp4", "./photos"])
def test_a_missing_path_is_said_to_be_missing(text: str) -> None:
    with pytest.raises(InputFileError, match=f"{text} does not exist"):
        open_pictures(text)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(InputFileError, match="is no file of pictures") as caught:
        open_pictures(str(tmp_path / "net.onnx"))
    assert "a video file" in caught.value.fix


def test_frames_like_one_before_are_left_out(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", [1, 1, 1, 2, 2, 1, 3, 3, 2, 4])
    assert distinct_frames(path) == [0, 3, 6, 9]
    data = open_pictures(str(path))
    assert data.frame_names() == ["clip-000000", "clip-000003", "clip-000006", "clip-000009"]
    for index, seed in enumerate([1, 2, 3, 4]):
        assert np.abs(data.frame(index).image.astype(int) - scene(seed)).mean() < 3


def test_frames_may_be_read_in_any_order(tmp_path: Path) -> None:
    data = open_pictures(str(write_clip(tmp_path / "clip.mp4", [1, 2, 3, 4])))
    in_order = [data.frame(index).image for index in range(4)]
    for index in (3, 0, 2, 2, 1):
        np.testing.assert_array_equal(data.frame(index).image, in_order[index])


def test_frames_are_spread_over_the_whole_video(tmp_path: Path) -> None:
    data = open_pictures(str(write_clip(tmp_path / "clip.mp4", list(range(12)))), count=4)
    assert data.frame_names() == [f"clip-{index:06d}" for index in (0, 3, 6, 9)]


def test_a_long_video_is_looked_at_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeseg.calibration_data.MOST_FRAMES", 8)
    found = distinct_frames(write_clip(tmp_path / "long.mp4", list(range(30))))
    assert found == [0, 4, 8, 12, 16, 20, 24, 28]


def test_a_turned_video_gives_turned_frames(tmp_path: Path) -> None:
    lying = open_pictures(str(write_clip(tmp_path / "lying.mp4", [1, 2])))
    turned = open_pictures(str(write_clip(tmp_path / "turned.mp4", [1, 2], rotation=90)))
    assert turned.frame(0).image.shape == (64, 48, 3)
    standing = [np.rot90(lying.frame(1).image, turns) for turns in (1, 3)]
    assert any(np.array_equal(turned.frame(1).image, each) for each in standing)


def test_the_digest_is_of_the_file_and_the_frame(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", [1, 2, 3])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    data = open_pictures(str(path))
    assert [data.digest(index) for index in range(3)] == [f"{digest} {n}" for n in range(3)]


def test_a_changed_video_is_looked_at_again(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", [1, 2, 3])
    assert len(open_pictures(str(path))) == 3
    write_clip(path, [1, 2, 3, 4, 5])
    assert len(open_pictures(str(path))) == 5


def test_how_many_frames_differ_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    open_pictures(str(write_clip(tmp_path / "clip.mp4", [1, 1, 2])))
    assert "2 of 3 frames are unlike those before" in caplog.text


def test_a_video_without_a_frame_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"not a video")
    with pytest.raises(VideoError, match="cannot be opened as a video"):
        open_pictures(str(tmp_path / "clip.mp4"))


def test_a_video_that_was_cut_off_since_loses_its_last_frames(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", [1, 2, 3])
    data = open_pictures(str(path))
    write_clip(path, [1])
    data.frame(0)
    with pytest.raises(UnreadablePicture, match="ends before frame 2"):
        data.frame(2)


def test_real_clips_are_thinned_and_upright(shared: Path) -> None:
    drive = open_pictures(str(shared / "video" / "udacity-solidWhiteRight.mp4"))
    assert 10 < len(drive) < 221
    assert drive.frame(0).image.shape == (540, 960, 3)
    assert open_pictures(str(shared / "video" / "rotated-90.mov")).frame(0).image.shape == (
        568, 320, 3
    )  # fmt: skip
