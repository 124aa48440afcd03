"""edgeseg build."""

from pathlib import Path
from typing import Annotated, Any

import typer

from edgeseg.cli.gpu_options import (
    Cameras,
    Compatible,
    Dla,
    Fallback,
    Level,
    TimingCache,
    Workspace,
    plan_from,
)
from edgeseg.cli.show import Json, Map, Root, points, print_json, print_table, progress
from edgeseg.cli.zoo_options import (
    Flip,
    Fusion,
    Scales,
    Variants,
    Weights,
    scales_from,
    variant_from,
)
from edgeseg.errors import UsageError
from edgeseg.types import PixelFormat, Precision, size_from_text

Text = Annotated[str | None, typer.Option()]


def command(
    source: Annotated[
        str, typer.Argument(help="NAME, FILE.onnx, RECIPE.toml or an engine FOLDER.")
    ],
    int8: Annotated[bool, typer.Option("--int8", help="INT8 by Q/DQ in the graph.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="FP16.")] = False,
    fp32: Annotated[bool, typer.Option("--fp32", help="Float32, the default.")] = False,
    calibrate: Annotated[
        str | None, typer.Option(help="DATA[:SPLIT] to calibrate with.", metavar="DATA[:SPLIT]")
    ] = None,
    root: Root = None,
    count: Annotated[int | None, typer.Option(min=1, help="Calibration pictures.")] = None,
    method: Annotated[
        str | None, typer.Option(help="auto, minmax, percentile[:99.9], entropy or mse.")
    ] = None,
    val: Annotated[
        str | None, typer.Option(help="DATA[:SPLIT] to verify on.", metavar="DATA[:SPLIT]")
    ] = None,
    val_count: Annotated[int | None, typer.Option(min=1, help="Verification pictures.")] = None,
    class_map: Map = None,
    size: Annotated[str | None, typer.Option(help="Network input.", metavar="WxH")] = None,
    frame: Annotated[str | None, typer.Option(help="Camera frame.", metavar="WxH")] = None,
    frame_format: Annotated[PixelFormat | None, typer.Option(help="Bytes of a frame.")] = None,
    smooth: Annotated[
        float | None,
        typer.Option(help="Share of the last frame kept where nothing changes, such as 0.8."),
    ] = None,
    yuv: Annotated[
        str | None,
        typer.Option(help="Of nv12 and i420: bt601-limited, bt601-full, bt709-limited, -full."),
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="auto, tensorrt, openvino or onnxruntime.")
    ] = None,
    workspace: Workspace = None,
    optimization_level: Level = None,
    version_compatible: Compatible = False,
    timing_cache: TimingCache = True,
    cameras: Cameras = None,
    dla: Dla = None,
    gpu_fallback: Fallback = False,
    max_drop: Annotated[float | None, typer.Option(help="Allowed loss in mIoU points.")] = None,
    max_class_drop: Annotated[
        float | None, typer.Option(help="Allowed loss of any class, in points of IoU.")
    ] = None,
    min_agreement: Annotated[
        float | None, typer.Option(help="Pixels as in float, in percent, without labels.")
    ] = None,
    keep_fp16: Annotated[
        list[str] | None, typer.Option(help="Pattern of node names that stay float; repeatable.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="Step of INT8 to leave out: equalize, scales, rounding, bias, spare."),
    ] = None,
    tie_concat: Annotated[bool, typer.Option("--tie-concat", help="Equal Concat scales.")] = False,
    weights: Weights = None,
    variant: Variants = None,
    scales: Scales = None,
    flip: Flip = False,
    fusion: Fusion = None,
    order: Annotated[str | None, typer.Option(help="Of an ONNX file: rgb or bgr.")] = None,
    mean: Annotated[str | None, typer.Option(help="Three numbers, comma between.")] = None,
    std: Annotated[str | None, typer.Option(help="Three numbers, comma between.")] = None,
    scale: Annotated[float | None, typer.Option(help="(bytes * scale - mean) / std.")] = None,
    output: Annotated[str | None, typer.Option(help="logits, softmax or sigmoid.")] = None,
    labels: Annotated[str | None, typer.Option(help="Class names, comma between.")] = None,
    until: Annotated[str | None, typer.Option(help="graph: stop before compiling.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Engine folder.")] = None,
    as_json: Json = False,
) -> None:
    """Build an engine: quantise with calibration data, compile, verify, publish."""
    from edgeseg.build import build
    from edgeseg.evaluate import read_class_map

    if until not in {None, "graph"}:
        raise UsageError(f"--until {until} is not known", fix="--until graph")
    described: dict[str, object] = {
        "order": order,
        "mean": _triple("--mean", mean),
        "std": _triple("--std", std),
        "scale": scale,
        "output": output,
        "labels": labels.split(",") if labels else None,
    }
    description = {key: value for key, value in described.items() if value is not None}
    with progress() as report:
        engine = build(
            source,
            precision=_precision(int8, fp16, fp32),
            calibrate=calibrate,
            root=root,
            count=count,
            method=method,
            val=val,
            val_count=val_count,
            class_map=read_class_map(class_map) if class_map else None,
            size=size_from_text(size) if size else None,
            frame=size_from_text(frame) if frame else None,
            frame_format=frame_format,
            yuv=yuv,
            smooth=smooth,
            backend=backend,
            plan=plan_from(
                workspace=workspace,
                level=optimization_level,
                compatible=version_compatible,
                timing_cache=timing_cache,
                cameras=cameras,
                dla=dla,
                fallback=gpu_fallback,
            ),
            max_drop=max_drop,
            max_class_drop=max_class_drop,
            min_agreement=min_agreement,
            keep_fp16=tuple(keep_fp16) if keep_fp16 else None,
            without=tuple(without) if without else None,
            tie_concat=tie_concat or None,
            weights=weights,
            variant=variant_from(variant) or None,
            scales=scales_from(scales),
            flip=flip or None,
            fusion=fusion,
            description=description or None,
            until_graph=until == "graph",
            out=out,
            on_progress=report,
        )
    with engine:
        _report(engine, as_json)


def _report(engine: Any, as_json: bool) -> None:
    manifest = engine.manifest
    if as_json:
        print_json({"folder": engine.folder, "manifest": manifest})
        return
    plan = manifest.plans.get(engine.backend_name)
    rows = [
        ("folder", str(engine.folder)),
        ("network", f"{manifest.network}, {manifest.size}, {manifest.precision.value}"),
        ("frames", f"{manifest.frame} {manifest.frame_format.value} {manifest.yuv or ''}".rstrip()),
        *_smoothing(manifest.smooth),
        ("plan", f"{engine.backend_name}: {plan.note}" if plan else _next_step(engine.folder)),
    ]
    if plan and plan.options:
        told = ", ".join(f"{key} {value}" for key, value in plan.options.items())
        rows.append(("compiled with", told))
    if manifest.int8_percent is not None:
        count = len(manifest.float_layers)
        kept = f", {count} layer{'s' if count > 1 else ''} in float" if count else ""
        rows.append(("MACs in INT8", f"{manifest.int8_percent:.2f} %{kept}"))
    found = plan.measured if plan else None
    if found:
        rows.append(("verified on", f"{found.frames} pictures of {found.data}"))
        rows.append(("pixels as in float", f"{found.agreement:.2f} %"))
        rows.append(("worst picture", f"{found.worst} ({found.worst_agreement:.2f} %)"))
        if found.skipped:
            rows.append(("unreadable", ", ".join(found.skipped)))
        if found.miou is not None and found.drop_interval:
            low, high = found.drop_interval
            rows.append(("mIoU", f"{found.miou:.2f} (float {points(found.reference_miou)})"))
            rows.append(("drop", f"{points(found.drop)} points [{low:.2f}, {high:.2f}]"))
    print_table("Engine", ("", ""), rows)
    if found and found.iou:
        print_table(
            "IoU per class",
            ("class", "float", "engine"),
            [(name, points(a), points(b)) for name, (a, b) in found.iou.items()],
        )


def _smoothing(strength: float | None) -> list[tuple[str, str]]:
    if strength is None:
        return []
    return [("smoothed", f"keeps {strength:g} of the frame before where nothing changes")]


def _next_step(folder: Path) -> str:
    return f"none yet; where it is to run: edgeseg build {folder} --backend auto"


def _precision(int8: bool, fp16: bool, fp32: bool) -> Precision | None:
    chosen = [
        precision
        for precision, given in (
            (Precision.INT8, int8),
            (Precision.FP16, fp16),
            (Precision.FP32, fp32),
        )
        if given
    ]
    if len(chosen) > 1:
        raise UsageError(
            f"--{chosen[0].value} and --{chosen[1].value} contradict each other", fix="choose one"
        )
    return chosen[0] if chosen else None


def _triple(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3:
        raise UsageError(f"{option} {text!r} is not three numbers", fix=f"{option} 0.5,0.5,0.5")
    return values
