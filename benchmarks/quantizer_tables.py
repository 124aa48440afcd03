"""The README's tables of quantisers: what each keeps of the float networks, and how fast it is."""

from collections.abc import Iterator
from typing import Any

Found = dict[str, Any]
Table = tuple[tuple[str, ...], list[tuple[str, ...]]]

FAMILIES = {
    "modelopt": "ModelOpt",
    "onnxruntime-s8": "ONNX Runtime S8",
    "onnxruntime-u8": "ONNX Runtime U8",
    "nncf": "NNCF",
}
"""What starts the names of the peers that differ in calibration or preset alone."""
OURS = "edgeseg"
SCORES = (
    "MACs in INT8 %",
    "mIoU",
    "drop (95 % interval)",
    "labels as in float %",
    "SQNR dB",
)


def quantizers(found: Found) -> Table:
    """Heads and rows of ours and, of every family, of the peer with the highest mIoU."""
    rows: list[tuple[str, ...]] = []
    for network, values in found["networks"].items():
        graphs = values["graphs"]
        rows.append((f"`{network}`", "float", "", "", f"{values['miou']:.2f}", "", "", "", ""))
        for name in (OURS, *_best_of_each(graphs)):
            rows.append(("", *_kept(name, graphs[name]), _below(values, name)))  # noqa: PERF401
    heads: tuple[str, ...] = (
        "network", "quantiser", "TensorRT takes it", *SCORES,
        "edgeseg's mIoU below its (95 % interval)",
    )  # fmt: skip
    return heads, rows


def quantizers_steps(found: Found) -> Table:
    """Heads and rows of ours alone: whole, then with a step left out or put in."""
    rows: list[tuple[str, ...]] = []
    for network, values in found["networks"].items():
        for name, graph in values["graphs"].items():
            start = f"`{network}`" if name == OURS else ""
            rows.append((start, *_scores(name, graph)))
    heads = ("network", "steps", *SCORES)
    return heads, rows


def quantizers_speed(found: Found) -> Table:
    """Heads and rows of the latencies in OpenVINO, each network's fastest first."""
    rows: list[tuple[str, ...]] = []
    for network, values in found["networks"].items():
        graphs = sorted(values["graphs"].items(), key=lambda item: item[1]["latency_ms"]["p50"])
        for index, (name, graph) in enumerate(graphs):
            rows.append(
                (
                    "" if index else f"`{network}`",
                    _title(name),
                    f"{graph['latency_ms']['p50']:.1f}",
                    f"{graph['latency_ms']['p99']:.1f}",
                    _over(graph["over"].get(OURS)),
                )
            )
    return ("network", "graph", "p50 ms", "p99 ms", "time over edgeseg's (quartiles)"), rows


def _over(ratio: Found | None) -> str:
    if ratio is None:
        return ""
    low, high = ratio["quartiles"]
    return f"{ratio['median']:.2f} ({low:.2f} to {high:.2f})"


def _kept(name: str, graph: Found) -> tuple[str, ...]:
    title, *scores = _scores(name, graph)
    return (title, "no" if graph["refused_by_tensorrt"] else "yes", *scores)


def _scores(name: str, graph: Found) -> tuple[str, ...]:
    low, high = graph["drop_interval"]
    return (
        _title(name),
        f"{graph['int8_macs_percent']:.1f}",
        f"{graph['miou']:.2f}",
        f"{graph['drop']:.2f} ({low:.2f} to {high:.2f})",
        f"{graph['agreement']:.2f}",
        "-" if graph["sqnr_db"] is None else f"{graph['sqnr_db']:.1f}",
    )


def _below(values: Found, name: str) -> str:
    beside = values["against"].get(OURS, {}).get("peers", {}).get(name)
    if beside is None:
        return ""
    low, high = beside["miou_below_it_interval"]
    return f"{beside['miou_below_it']:.2f} ({low:.2f} to {high:.2f})"


def _best_of_each(graphs: Found) -> Iterator[str]:
    for family in FAMILIES:
        members = [name for name in graphs if name.startswith(family)]
        if members:
            yield max(members, key=lambda name: graphs[name]["miou"])


def _title(name: str) -> str:
    """`name` as its makers write it, with calibration or preset behind a comma."""
    for start, title in FAMILIES.items():
        if name.startswith(start):
            return f"{title}, {name.removeprefix(start).strip('-')}"
    return name.replace(f"{OURS} ", f"{OURS}, ")
