"""edgeseg.video.sinks.folder."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeseg.errors import OutputError
from edgeseg.types import Labels
from edgeseg.video.sinks import FrameView
from edgeseg.video.sinks.folder import FolderSink


def view(index: int = 1) -> FrameView:
    labels = np.arange(32 * 48, dtype=np.uint32).reshape(32, 48) % 256
    picture = np.full((32, 48, 3), (200, 60, 30), np.uint8)
    return FrameView(index=index, picture=picture, labels=labels.astype(np.uint8))


def test_masks_hold_exact_ids_and_the_palette(tmp_path: Path, three_labels: Labels) -> None:
    frame = view()
    FolderSink(tmp_path, three_labels, name="street").write(frame)
    with Image.open(tmp_path / "masks" / "street-000001.png") as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.array(mask), frame.labels)
        colors = np.array(mask.convert("RGB"))
    np.testing.assert_array_equal(colors[0, :3], three_labels.colors)


def test_overlays_look_like_the_picture(tmp_path: Path, three_labels: Labels) -> None:
    FolderSink(tmp_path, three_labels, name="street").write(view(12))
    with Image.open(tmp_path / "overlays" / "street-000012.jpg") as overlay:
        assert np.abs(np.array(overlay).astype(int) - (200, 60, 30)).max() <= 3


def test_a_file_in_the_way_is_refused(tmp_path: Path, three_labels: Labels) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(OutputError, match="out"):
        FolderSink(tmp_path / "out", three_labels, name="out")


def test_a_folder_lost_on_the_way_is_told(tmp_path: Path, three_labels: Labels) -> None:
    sink = FolderSink(tmp_path, three_labels, name="a")
    (tmp_path / "masks").rmdir()
    (tmp_path / "masks").write_text("in the way now")
    with pytest.raises(OutputError, match="cannot be written"):
        sink.write(view())
    sink.close()
    sink.close()
