"""What `build` was told, and what of a recipe follows from that alone."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast, get_args

from edgeseg.errors import UsageError
from edgeseg.frames import YuvKind
from edgeseg.recipe import YUV_FORMATS, Calibration, Gate, PlanOptions, Quantization
from edgeseg.tables import known
from edgeseg.types import PixelFormat, Precision, Size

LABELLED = {"max_drop": "max-drop", "max_class_drop": "max-class-drop", "class_map": "map"}
"""Options that compare with masks, and how they are typed."""
LIMITS = ("max_drop", "max_class_drop", "min_agreement")
"""Options of the gate that a recipe takes anew."""
USUAL_SMOOTH = 0.8
"""Took a third off the flicker of synthetic streets, whose mIoU stayed."""
QUANTIZING = ("calibrate", "count", "method", "keep_fp16", "without", "tie_concat")
"""Options that say how to quantise."""
STEPS = {name: name for name in ("equalize", "scales", "rounding", "bias", "spare")}
"""Of the quantisation: each can be left out."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `build` was told; None where it was not."""

    precision: Precision | None = None
    calibrate: str | None = None
    root: Path | None = None
    count: int | None = None
    method: str | None = None
    val: str | None = None
    val_count: int | None = None
    class_map: dict[str, list[str]] | None = None
    size: Size | None = None
    frame: Size | None = None
    frame_format: PixelFormat | None = None
    yuv: str | None = None
    smooth: float | None = None
    backend: str | None = None
    plan: PlanOptions | None = None
    max_drop: float | None = None
    max_class_drop: float | None = None
    min_agreement: float | None = None
    keep_fp16: tuple[str, ...] | None = None
    without: tuple[str, ...] | None = None
    tie_concat: bool | None = None
    weights: Path | None = None
    random_weights: bool | None = None
    variant: dict[str, Any] | None = None
    scales: tuple[float, ...] | None = None
    flip: bool | None = None
    fusion: str | None = None
    description: dict[str, Any] | None = None

    def given(self) -> list[str]:
        """The names of the options that were given."""
        return [item.name for item in fields(self) if getattr(self, item.name) is not None]

    def limits(self) -> dict[str, Any]:
        """What was said of the gate's limits: they are a budget then; empty where nothing was."""
        said = {name: getattr(self, name) for name in LIMITS if getattr(self, name) is not None}
        return {"budget": True, **said} if said else {}

    def wants_masks(self) -> bool:
        """Whether an option was given that compares with masks."""
        return any(name in LABELLED for name in self.given())


def smoothing_of(options: Options) -> float | None:
    """The share of the frame before that is kept where nothing changes.

    Raises:
        UsageError: it is no share, or there is not one camera that a state belongs to.
    """
    if options.smooth is not None and not 0 < options.smooth < 1:
        raise UsageError(
            f"--smooth {options.smooth:g} is no share of the frame before",
            fix=f"--smooth {USUAL_SMOOTH}; leave it out to smooth nothing",
        )
    return options.smooth


def yuv_of(options: Options, frame_format: PixelFormat) -> YuvKind | None:
    """The matrix and range that was asked for; None is what is usual for the frame's size.

    Raises:
        UsageError: no such kind, or frames without one.
    """
    if options.yuv is None:
        return None
    if frame_format not in YUV_FORMATS:
        raise UsageError(
            f"--yuv {options.yuv} has no use for {frame_format.value} frames",
            fix="add --frame-format nv12 or i420, or leave it out",
        )
    known(dict.fromkeys(get_args(YuvKind)), options.yuv, kind="matrix and range of YUV")
    return cast("YuvKind", options.yuv)


def calibration_of(options: Options, precision: Precision) -> Calibration | None:
    """Which pictures INT8 calibrates with; None in float.

    Raises:
        UsageError: INT8 without pictures, or pictures without INT8.
    """
    if precision is not Precision.INT8:
        refused = [name for name in ("calibrate", "method") if name in options.given()]
        if refused:
            raise UsageError(
                f"--{refused[0]} has no use in {precision.value}", fix="add --int8, or leave it out"
            )
        return None
    if options.calibrate is None:
        raise UsageError(
            "INT8 needs pictures to calibrate with",
            fix="--calibrate camvid:train --root DIR, --calibrate folder --root DIR, or "
            "--calibrate synthetic",
        )
    return Calibration(
        data=options.calibrate,
        root=root_for(options.calibrate, options.root),
        count=options.count or 100,
        method=options.method or "mse",
    )


def quantization_of(options: Options, precision: Precision) -> Quantization:
    """The default steps but for those that were switched.

    Raises:
        UsageError: no such step, or steps of INT8 for a float engine.
    """
    asked = [name for name in ("without", "tie_concat") if name in options.given()]
    if asked and precision is not Precision.INT8:
        raise UsageError(
            f"--{asked[0].replace('_', '-')} has no use in {precision.value}", fix="add --int8"
        )
    changes: dict[str, Any] = {"tie_concat": bool(options.tie_concat)}
    for step in options.without or ():
        known(STEPS, step, kind="step of the quantisation")
        changes[step] = 0.0 if step == "spare" else False
    return Quantization(**changes)


def root_for(data: str, root: Path | None) -> Path | None:
    """`root`, but for the data set that needs none."""
    return None if data.partition(":")[0] == "synthetic" else root


def gate_of(options: Options, calibration: Calibration | None) -> Gate:
    """What the engine has to keep; the val split of a data set of ours where none was named.

    Raises:
        UsageError: a limit in mIoU without labelled pictures.
    """
    val = options.val
    if val is None and calibration is not None:
        name, _, split = calibration.data.partition(":")
        if name in {"camvid", "synthetic"} and split != "val":
            val = f"{name}:val"
    if val is None:
        for option, flag in LABELLED.items():
            if option in options.given():
                raise UsageError(
                    f"--{flag} needs labelled pictures",
                    fix="name them with --val DATA:SPLIT, or say --min-agreement PERCENT, which "
                    "needs no labels",
                )
    return Gate(
        val=val,
        root=root_for(val, options.root) if val else None,
        count=options.val_count,
        map=options.class_map,
        **options.limits(),
    )
