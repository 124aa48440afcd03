"""The README's tables of the zoo: compact presets, and the network of the "8 fps"."""

from typing import Any

Found = dict[str, Any]
Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def zoo(found: Found) -> Table:
    """Heads and rows of the compact presets, in the order of their papers."""
    rows = []
    for name, values in sorted(found.items(), key=lambda item: item[1]["paper"][-40:]):
        score = values["score"]
        published = values["published"]
        low, high = score["drop_interval"]
        rows.append(
            (
                f"`{name}`",
                f"{values['parameters'] / 1e6:.2f}",
                f"{values['macs'] / 1e9:.2f}",
                f"{score['reference']['miou']:.2f}",
                f"{score['miou']:.2f}",
                f"{score['drop']:.2f} ({low:.2f} to {high:.2f})",
                f"{values['fp32_ms']['p50']:.1f}",
                f"{values['int8_ms']['p50']:.1f}",
                f"{values['ratio']['median']:.2f}",
                f"{published[0]}: {published[1]}" if published else "none printed",
            )
        )
    heads = (
        "preset", "M parameters", "GMAC", "mIoU float", "mIoU INT8", "drop (95 % interval)",
        "ms float", "ms INT8", "float over INT8", "the paper's network on CamVid",
    )  # fmt: skip
    return heads, rows


def eight_fps(found: Found) -> Table:
    """Heads and rows of the 8-fps network: the paper's figure, then this machine's engines."""
    paper, gmac = found["paper"], found["cost"]["macs"] / 1e9
    rows = [(f"the paper, {paper['gpu']} GPU, Caffe", "", f"{paper['fps']:.0f}", "1.0", "")]
    for name, values in found["engines"].items():
        precision, runtime = name.split()
        rows.append(
            (
                f"{precision.upper()}, {runtime}",
                f"{values['latency_ms']['p50']:.1f}",
                f"{values['fps']:.1f}",
                f"{values['fps'] / paper['fps']:.1f}",
                f"{values['ratio']['median']:.2f}",
            )
        )
    heads = (
        f"{gmac:.1f} GMAC, {found['cost']['parameters'] / 1e6:.1f} M parameters",
        "p50 ms", "fps", "over the paper", "time over INT8",
    )  # fmt: skip
    return heads, rows
