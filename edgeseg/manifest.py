"""The manifest: what an engine folder holds, for which machine, and what was measured on it."""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from edgeseg.documents import Document, read_json, write_json
from edgeseg.errors import EngineMismatch
from edgeseg.frames import YuvKind
from edgeseg.types import Labels, PixelFormat, Precision, Size, size_from_text

FILE = "manifest.json"
Triple = tuple[float, float, float]


class Measured(Document):
    """The built engine against the float graph, on pictures that calibration did not see."""

    data: str
    frames: int
    skipped: list[str] = Field(default_factory=list)
    """Pictures that could not be read."""
    held_out: bool
    agreement: float
    """Percent of all pixels with the same label as in float."""
    reference_miou: float | None = None
    """Of the float graph, in points; None without labels, as are the four that follow."""
    miou: float | None = None
    drop: float | None = None
    drop_interval: tuple[float, float] | None = None
    """95 % paired bootstrap over the pictures, in points."""
    iou: dict[str, tuple[float | None, float | None]] | None = None
    """Per class: float graph, built engine; None for a class that does not occur."""
    worst: str
    """The picture with the least agreement."""
    worst_agreement: float


class Plan(Document):
    """One backend's compiled form."""

    file: str
    fingerprint: dict[str, str]
    note: str
    options: dict[str, str] = Field(default_factory=dict)
    """What it was compiled with, where that was said."""
    measured: Measured | None = None


class Manifest(Document):
    """What was built."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    edgeseg: str
    name: str
    network: str
    weights: str = "shipped"
    """The name of their file, "random" for an engine that shows the speed alone, or "shipped"."""
    precision: Precision
    size: str
    frame: str
    frame_format: PixelFormat
    mask_size: Literal["frame", "network"]
    smooth: float | None = None
    """The share of the frame before that is kept where nothing changes; None keeps nothing."""
    fit: Literal["stretch"] = "stretch"
    yuv: YuvKind | None = None
    """Matrix and range of NV12 and I420 frames; None for others."""
    order: Literal["rgb", "bgr"]
    gain: Triple
    bias: Triple
    """pixels = bytes * gain + bias, per channel in `order`."""
    labels: list[str]
    colors: list[tuple[int, int, int]]
    macs: int
    parameters: int
    quantization: str | None
    """Hash of Q/DQ positions, scales and integer weights: equal in every dialect."""
    float_layers: list[str] = Field(default_factory=list)
    """Layers that INT8 could compute and that stay in float."""
    int8_percent: float | None = None
    """Of the MACs; None for an engine without INT8."""
    fp32_nodes: dict[str, str] = Field(default_factory=dict)
    """Nodes of the typed graph that stay in FP32, and why."""
    files: dict[str, str]
    """SHA-256 of every file of the folder but this one."""
    plans: dict[str, Plan]

    @field_validator("yuv", mode="before")
    @classmethod
    def _kind_that_was_a_sentence(cls, said: object) -> object:
        """Versions up to 0.5 knew one kind and wrote it for every engine."""
        return "bt601-limited" if said == "BT.601 limited range" else said

    @property
    def yuv_kind(self) -> YuvKind:
        """Matrix and range of 4:2:0 frames; without a meaning for an engine that takes RGB."""
        return self.yuv or "bt601-limited"

    @property
    def frame_size(self) -> Size:
        """(height, width) of the frames that the engine was built for."""
        return size_from_text(self.frame)

    @property
    def network_size(self) -> Size:
        """(height, width) of the network's input."""
        return size_from_text(self.size)

    def to_labels(self) -> Labels:
        """The classes with their colours."""
        return Labels(names=tuple(self.labels), colors=tuple(self.colors))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an engine folder.

    Raises:
        EngineMismatch: the folder is missing or no engine.
        InputFileError: the manifest is not one.
    """
    path = folder / FILE
    if not path.is_file():
        what = "holds no manifest.json" if folder.is_dir() else "does not exist"
        raise EngineMismatch(
            f"{folder} is no engine folder: it {what}",
            fix=f"build one with: edgeseg build NAME -o {folder}",
        )
    manifest: Manifest = read_json(Manifest, path, fix="build the engine again")
    return manifest


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write the manifest of an engine folder."""
    write_json(manifest, folder / FILE)


def check_files(folder: Path, manifest: Manifest, *, but: str = "") -> None:
    """Compare every file of the folder with its hash; the plan of the backend `but` is left out.

    Raises:
        EngineMismatch: a file is missing or was altered.
    """
    backends = {plan.file: name for name, plan in manifest.plans.items()}
    for name, digest in manifest.files.items():
        path, of = folder / name, backends.get(name)
        if but and of == but:
            continue
        fix = f"edgeseg build {folder} --backend {of}" if of else _rebuild(folder)
        if not path.is_file():
            raise EngineMismatch(f"{path} is missing", fix=fix)
        if file_hash(path) != digest:
            raise EngineMismatch(
                f"{path} was altered after the build: its hash is not the manifest's", fix=fix
            )


def check_fingerprint(built: dict[str, str], here: dict[str, str], folder: Path, name: str) -> None:
    """Refuse a plan of another machine or version.

    Raises:
        EngineMismatch: with a table of what differs.
    """
    different = [key for key in built if built[key] != here.get(key)]
    if not different:
        return
    rows = "\n".join(
        f"  {key:<14} built for {built[key]!r}, found {here.get(key)!r}" for key in different
    )
    raise EngineMismatch(
        f"the {name} plan in {folder} does not fit this machine:\n{rows}",
        fix=f"edgeseg build {folder} --backend {name}",
    )


def file_hash(path: Path) -> str:
    """The SHA-256 of the file at `path`."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _rebuild(folder: Path) -> str:
    return f"edgeseg build {folder / 'recipe.toml'} -o {folder}"
