"""Writes the measured tables of README.md from results/*.json, between their comment markers.

With --check nothing is written; the exit code is 1 where the README is not up to date.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import live_tables, quantizer_tables, zoo_tables
from benchmarks.record import RESULTS
from edgeseg.files import write_whole

README = Path(__file__).resolve().parent.parent / "README.md"
MARKED = re.compile(r"(<!-- table:(\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)
STAGES = ("decode", "infer", "post", "draw", "encode")
LIVE_PARTS = ("steady", "overload", "watched", "two_sources")
MISSING = "*Not measured yet.*\n"

Found = dict[str, Any]


def main() -> None:
    """Bring the README up to date, or say whether it is."""
    options = _parser().parse_args()
    before = options.readme.read_text(encoding="utf-8")
    after = filled(before, options.results)
    if options.check:
        if before != after:
            print(f"{options.readme.name} is out of date: python -m benchmarks.tables")
        sys.exit(before != after)
    write_whole(options.readme, after.encode())


def filled(text: str, results: Path) -> str:
    """`text` with every marked table made anew from the files in `results`."""

    def table(match: re.Match[str]) -> str:
        source, render = TABLES[match[2]]
        path = results / f"{source}.json"
        body = MISSING
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            body = f"{render(found['results'])}\n{_measured_on(found)}\n"
        return f"{match[1]}{body}{match[3]}"

    return MARKED.sub(table, text)


def network(found: Found) -> str:
    """Latency of every rival, as core and as frame graph."""
    titles = {"core": "pixels in, logits out", "frame": "bytes in, ids out"}
    rows = []
    for part, title in titles.items():
        ordered = sorted(found[part].items(), key=lambda item: item[1]["latency_ms"]["p50"])
        for name, values in ordered:
            latency, low_high = values["latency_ms"], values["ratio"]["quartiles"]
            rows.append(
                (
                    title,
                    _engine(name),
                    f"{latency['p50']:.2f}",
                    f"{latency['p99']:.2f}",
                    f"{values['fps']:.0f}",
                    f"{values['ratio']['median']:.2f} ({low_high[0]:.2f} to {low_high[1]:.2f})",
                )
            )
    heads = ("", "engine", "p50 ms", "p99 ms", "fps", "time over INT8 in OpenVINO (quartiles)")
    return _table(heads, rows)


def loop(found: Found) -> str:
    """Frames per second end to end."""
    rows = [("plain loop", *_loop(found["plain"]), "")]
    for count, values in sorted(found["workers"].items(), key=lambda item: int(item[0])):
        note = " (default)" if int(count) == found["default_workers"] else ""
        idle = f"{values['of_cpu_time']['idle']:.0%}"
        rows.append((f"edgeseg, {count} workers{note}", *_loop(values), idle))
    for title, key in (
        ("edgeseg without encoding", "without_encoding"),
        ("edgeseg without drawing and encoding", "without_drawing_and_encoding"),
        ("one single-thread process per core, nothing shared", "one_process_per_core"),
    ):
        rows.append((title, *_loop(found[key]), ""))
    heads = ("loop", "fps", "over the plain loop (worst to best pass)", "efficiency", "cores idle")
    return _table(heads, rows)


def stages(found: Found) -> str:
    """What a frame costs, stage by stage, alone in one thread and in the loop."""
    alone = {name: found["stages_alone_ms"][name] for name in STAGES}
    used = found["workers"][str(found["default_workers"])]
    rows = [
        ("alone in one thread", *(f"{value:.2f}" for value in alone.values()),
         f"{found['stages_alone_sum_ms']:.2f}"),
        ("wall time in the loop", *(f"{used['stages_ms'].get(name, 0):.2f}" for name in alone), ""),
        ("CPU time in the loop", *([""] * len(alone)), f"{used['cpu_ms_per_frame']:.2f}"),
        ("waits for its turn to be written", *([""] * len(alone)),
         f"{found['waits_for_delivery_ms']:.2f}"),
    ]  # fmt: skip
    return _table(("ms per frame", *alone, "sum"), rows)


def accuracy(found: Found) -> str:
    """The mIoU of float and INT8, with the default calibration."""
    rows = []
    for data in found.values():
        score = data["methods"]["mse"]
        rows.append(
            (
                f"{score['data']}, {score['frames']} pictures",
                _points(score["reference"]["miou"]),
                _points(score["miou"]),
                _drop(score),
                f"{score['agreement']:.2f}",
            )
        )
    heads = ("scored on", "mIoU float", "mIoU INT8", "drop (95 % interval)", "labels as in float %")
    return _table(heads, rows)


def classes(found: Found) -> str:
    """IoU per class, float and INT8, on the first data set."""
    score = next(iter(found.values()))["methods"]["mse"]
    rows = [
        (name, _points(score["reference"]["iou"][name]), _points(value))
        for name, value in score["iou"].items()
    ]
    rows.append(("**mean**", _points(score["reference"]["miou"]), _points(score["miou"])))
    return _table((f"IoU on {score['data']}", "float", "INT8"), rows)


def methods(found: Found) -> str:
    """Calibration methods side by side."""
    rows = [
        (score["data"], name, _points(score["miou"]), _drop(score), f"{score['agreement']:.2f}")
        for data in found.values()
        for name, score in sorted(data["methods"].items())
    ]
    heads = ("scored on", "calibration", "mIoU INT8", "drop (95 % interval)",
             "labels as in float %")  # fmt: skip
    return _table(heads, rows)


def memory(found: Found) -> str:
    """What is allocated, and what grows."""
    resident, traced = found["resident"], found["traced"]
    rows = [
        (f"resident after warm-up, then after {resident['frames']} frames (MiB)",
         f"{resident['after_warm_up_mib']:.1f}, {resident['at_end_mib']:.1f}"),
        ("growth per 1000 frames (KiB, straight line)", f"{resident['kib_per_1000_frames']:.1f}"),
        (f"Python and numpy: growth over {traced['frames']} frames after warm-up (KiB)",
         f"{traced['growth_kib']:.1f}"),
        ("Python and numpy: highest point above that (KiB)", f"{traced['peak_above_kib']:.1f}"),
        ("for comparison, one frame (KiB)", f"{traced['frame_kib']:.0f}"),
    ]  # fmt: skip
    return _table(("memory of the loop", ""), rows)


def live(found: Found) -> str:
    """What each run at a rate came to."""
    rows = []
    for part in LIVE_PARTS:
        for name, run in found.get(part, {}).get("runs", {}).items():
            age = run["age_ms"]
            rows.append(
                (
                    name,
                    _points(run["offered_fps"]),
                    _points(run["fps"]),
                    f"{run['dropped']} of {run['offered']}",
                    _points(run["jitter_ms"]),
                    *(f"{age[name]:.1f}" for name in ("p50", "p95", "p99")),
                )
            )
    heads = ("one 640x480 camera", "offered fps", "achieved fps", "dropped", "jitter ms",
             "age p50 ms", "p95", "p99")  # fmt: skip
    return _table(heads, rows)


def live_targets(found: Found) -> str:
    """What must be so, and whether it is."""
    rows = [
        (
            target["what"],
            f"{target['measured']:.2f}",
            f"{target['relation']} {target['limit']:.2f}",
            ("yes" if target["met"] else "**no**") + (" (dirty)" if part["dirty"] else ""),
        )
        for part in (found[name] for name in LIVE_PARTS if name in found)
        for target in part["targets"]
    ]
    return _table(("", "measured", "must be", "met"), rows)


TABLES: dict[str, tuple[str, Callable[[Found], str]]] = {
    "network": ("network", network),
    "loop": ("loop", loop),
    "stages": ("loop", stages),
    "accuracy": ("accuracy", accuracy),
    "classes": ("accuracy", classes),
    "methods": ("accuracy", methods),
    "memory": ("memory", memory),
    "live": ("live", live),
    "live_targets": ("live", live_targets),
    "yuv": ("yuv", lambda found: _table(*live_tables.yuv(found))),
    "smooth": ("smooth", lambda found: _table(*live_tables.smooth(found))),
    "reconnects": ("reconnects", lambda found: _table(*live_tables.reconnects(found))),
    "zoo": ("zoo", lambda found: _table(*zoo_tables.zoo(found))),
    "quantizers": ("quantizers", lambda found: _table(*quantizer_tables.quantizers(found))),
    "quantizers_steps": (
        "quantizers_steps",
        lambda found: _table(*quantizer_tables.quantizers_steps(found)),
    ),
    "quantizers_speed": (
        "quantizers_speed",
        lambda found: _table(*quantizer_tables.quantizers_speed(found)),
    ),
    "eight_fps": ("eight_fps", lambda found: _table(*zoo_tables.eight_fps(found))),
}
"""The name in the README, the file in results/ and what makes the one from the other."""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (heads, rule, *rows))


def _measured_on(found: Found) -> str:
    machine, packages = found["machine"], found["packages"]
    shown = [f"{name} {version}" for name, version in packages.items() if name in _SHOWN]
    settings = ", ".join(
        f"{key.replace('_', ' ')} {value}"
        for key, value in found["settings"].items()
        if value is not None
    )
    others = found["foreign_cpus"]
    load = "unknown" if others is None else f"{others:.2f} CPUs"
    note = " **Dirty: others kept the machine busy; do not quote.**" if found["dirty"] else ""
    return (
        f"{found['date']}, {machine['cpu']}, {machine['cores']} cores ({machine['cpu_flags']}), "
        f"Python {machine['python']}, {', '.join(shown)}; {settings}; foreign load {load}.{note}"
    )


_SHOWN = ("onnxruntime", "openvino", "av", "opencv-python", "opencv-python-headless")


def _engine(name: str) -> str:
    precision, runtime = name.split()
    names = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}
    return f"{precision.upper()}, {names[runtime]}"


def _loop(values: Found) -> tuple[str, str, str]:
    passes = values["over_plain_by_pass"]
    over = f"{values['over_plain']['median']:.2f} ({min(passes):.2f} to {max(passes):.2f})"
    return f"{values['fps']:.1f}", over, f"{values['efficiency']:.2f}"


def _drop(score: Found) -> str:
    low, high = score["drop_interval"]
    return f"{score['drop']:.2f} ({low:.2f} to {high:.2f})"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--check", action="store_true", help="write nothing; 1 if out of date")
    made.add_argument("--readme", type=Path, default=README)
    made.add_argument("--results", type=Path, default=RESULTS)
    return made


if __name__ == "__main__":
    main()
