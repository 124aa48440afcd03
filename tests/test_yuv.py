"""Matrix and range of 4:2:0 frames: edgeseg.yuv, and how recipe and manifest carry them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import edgeseg
from edgeseg.documents import toml_text
from edgeseg.errors import InputFileError, UsageError
from edgeseg.frames import YuvKind
from edgeseg.manifest import read_manifest
from edgeseg.recipe import read_recipe
from edgeseg.types import PixelFormat, Size
from edgeseg.yuv import colours_of, rgb_from_yuv, yuv_from_yuv
from tests.engines import tiny_manifest
from tests.small import write_network


def rgb(kind: YuvKind, yuv: tuple[int, int, int]) -> list[float]:
    change = rgb_from_yuv(colours_of(kind))
    return list((change.matrix @ yuv + change.offset).round(3))


@pytest.mark.parametrize(
    ("kind", "black", "white"),
    [("bt601-limited", 16, 235), ("bt709-limited", 16, 235), ("bt709-full", 0, 255)],
)
def test_black_and_white_are_the_ends_of_the_range(kind: YuvKind, black: int, white: int) -> None:
    assert rgb(kind, (black, 128, 128)) == pytest.approx([0, 0, 0], abs=1e-3)
    assert rgb(kind, (white, 128, 128)) == pytest.approx([255, 255, 255], abs=1e-3)


def test_colours_are_those_of_the_recommendations() -> None:
    # The 75 % bars of ITU-R BT.471: yellow is 162, 44, 142 in BT.601 and 168, 44, 136 in BT.709.
    assert rgb("bt601-limited", (162, 44, 142)) == pytest.approx([191, 191, 0], abs=1.5)
    assert rgb("bt709-limited", (168, 44, 136)) == pytest.approx([191, 191, 0], abs=1.5)


def test_a_conversion_means_the_same_colour() -> None:
    source, target = colours_of("bt709-limited"), colours_of("bt601-full")
    change = yuv_from_yuv(source, target)
    yuv = np.array([120.0, 90.0, 170.0])
    there = rgb_from_yuv(target).matrix @ (change.matrix @ yuv + change.offset)
    np.testing.assert_allclose(
        there + rgb_from_yuv(target).offset, rgb_from_yuv(source).matrix @ yuv
        + rgb_from_yuv(source).offset,
    )  # fmt: skip


def test_a_manifest_from_before_there_were_kinds_still_opens() -> None:
    old = tiny_manifest(frame_format="nv12", yuv="BT.601 limited range")
    assert (old.yuv, old.yuv_kind) == ("bt601-limited", "bt601-limited")
    assert tiny_manifest().yuv is None


def build_graph(folder: Path, **options: object) -> Path:
    network = write_network(folder / "net.onnx")
    out = folder / "engine"
    edgeseg.build(network, size=Size(48, 64), until_graph=True, out=out, **options)  # type: ignore[arg-type]
    return out


@pytest.mark.needs("onnx", "onnxruntime", "cv2")
@pytest.mark.parametrize(
    ("height", "asked", "kind"),
    [
        (480, None, "bt601-limited"),
        (720, None, "bt709-limited"),
        (480, "bt709-full", "bt709-full"),
    ],
)
def test_an_engine_is_built_for_the_kind_asked_for_or_the_usual_one(
    height: int, asked: str | None, kind: str, tmp_path: Path
) -> None:
    frame = Size(height, 640)
    out = build_graph(tmp_path, frame=frame, frame_format=PixelFormat.NV12, yuv=asked)
    assert read_manifest(out).yuv == kind
    assert read_recipe(out / "recipe.toml").yuv == asked


@pytest.mark.needs("onnx", "onnxruntime", "cv2")
def test_a_recipe_takes_another_kind_and_drops_it_with_the_format(tmp_path: Path) -> None:
    first = build_graph(tmp_path, frame_format="i420", yuv="bt601-full")
    for name, options, kind in (
        ("other", {"yuv": "bt709-limited"}, "bt709-limited"),
        ("rgb", {"frame_format": "rgb8"}, None),
    ):
        out = tmp_path / name
        edgeseg.build(first / "recipe.toml", until_graph=True, out=out, **options)  # type: ignore[arg-type]
        assert read_manifest(out).yuv == kind


def test_a_kind_without_yuv_frames_or_an_unknown_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no use for rgb8"):
        build_graph(tmp_path, yuv="bt709-full")
    with pytest.raises(UsageError) as caught:
        build_graph(tmp_path, frame_format="nv12", yuv="bt709")
    assert "bt709-full" in caught.value.fix
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        toml_text({"schema": 1, "size": "64x48", "frame": "64x48", "yuv": "bt709-full"})
    )
    with pytest.raises(InputFileError, match="bt709-full"):
        read_recipe(recipe)


@pytest.mark.needs("cv2")
def test_opencv_agrees_about_bt601() -> None:
    frame = np.full((24, 16), 128, np.uint8)
    frame[:16], frame[16:20], frame[20:] = 120, 90, 170
    seen = cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_I420)[0, 0]
    assert np.abs(seen - rgb("bt601-limited", (120, 90, 170))).max() <= 1
