"""The README's tables of smoothing, of colours, and of cameras that go away."""

from typing import Any, TypeAlias

Found: TypeAlias = dict[str, Any]
Rows: TypeAlias = tuple[tuple[str, ...], list[tuple[str, ...]]]


def smooth(found: Found) -> Rows:
    """What the memory of an engine changes, clip by clip."""
    heads = (
        "clip",
        "flicker, % of still pixels",
        "smoothed",
        "mIoU",
        "smoothed",
        "mIoU near borders",
        "smoothed",
    )
    rows = [
        (
            name,
            *(
                _figure(values[key][how])
                for key in ("flicker", "miou", "border_miou")
                for how in ("alone", "smoothed")
            ),
        )
        for name, values in found.items()
    ]
    return heads, rows


def yuv(found: Found) -> Rows:
    """Formats of frames beside BGR from the decoder."""
    heads = ("frames", "fps", "over BGR (quartiles)", "decode ms", "infer ms", "labels as from BGR")
    rows = []
    for name, fps in found["fps"].items():
        ratio = found["over_bgr8"][name]
        low, high = ratio["quartiles"]
        rows.append(
            (
                name,
                f"{fps:.1f}",
                f"{ratio['median']:.2f} ({low:.2f} to {high:.2f})",
                f"{found['decode_ms'][name]:.2f}",
                f"{found['infer_ms'][name]:.1f}",
                f"{found['masks'][f'{name} as bgr8']:.2f} %",
            )
        )
    return heads, rows


def reconnects(found: Found) -> Rows:
    """What stays behind when a server is killed and started again, many times."""
    heads = ("", "before", "after")
    rows = [
        ("resident memory, MiB", f"{found['mib']['before']:.1f}", f"{found['mib']['after']:.1f}"),
        ("threads", str(found["threads"]["before"]), str(found["threads"]["after"])),
        ("open files", str(found["files"]["before"]), str(found["files"]["after"])),
        (
            "frames under the time of another",
            "",
            f"{found['frames_under_another_time']} of {found['frames']}",
        ),
        (
            "seconds from the server's start to a frame",
            "",
            _figure(found["median_s_from_start_to_frame"]),
        ),
    ]
    return heads, rows


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
