"""What Q/DQ graphs keep of their float network on labelled pictures, in exact arithmetic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto

from benchmarks.quantizer_exact import exact
from benchmarks.quantizer_graphs import pixels_of
from edgeseg.backends.floats import RunGraph, float_runner
from edgeseg.backends.tail import LabelsFromLogits
from edgeseg.datasets import readable
from edgeseg.graph.lint import examined
from edgeseg.metrics.agreement import agreement_percent
from edgeseg.metrics.bootstrap import drop_interval
from edgeseg.metrics.confusion import confusion_of, mean_iou
from edgeseg.recipe import Recipe
from edgeseg.trials import sqnr
from edgeseg.types import Counts, Dataset, Floats, Pixels, Size
from edgeseg.verify import scoring_for

TENSORRT = (10, 0)
"""Whose rules say what it takes: the first that parses opset 19, which ModelOpt writes."""
CHECKED = 4
"""Pictures on which the faster runtime must be as far from float as the exact one."""
CLOSE_DB = 0.3
"""As far: single values differ, because sums round differently before they are quantised again."""


@dataclass(kw_only=True)
class Tally:
    """What one graph did, picture by picture."""

    power: float = 0.0
    noise: float = 0.0
    agreement: list[float] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)

    def add_logits(self, expected: Floats, found: Floats) -> None:
        """Add the power of the float logits and of the difference."""
        self.power += float(np.square(expected, dtype=np.float64).sum())
        self.noise += float(np.square(found - expected, dtype=np.float64).sum())

    @property
    def sqnr_db(self) -> float:
        """Of the logits of all pictures together."""
        return sqnr(self.power, self.noise)

    @property
    def miou(self) -> float:
        """In points, over all pictures together."""
        return mean_iou(np.sum(self.counts, 0))


def scored(
    recipe: Recipe, core: ModelProto, graphs: Mapping[str, ModelProto], data: Dataset
) -> dict[str, Any]:
    """Every graph of `graphs` against the float `core` on `data`."""
    tallies, runs_in = tallied(recipe, core, graphs, data)
    reference = tallies.pop("float")
    found = {
        name: {
            "runs_in": runs_in[name],
            **verdict(model),
            **_summary(reference, tallies[name]),
        }
        for name, model in graphs.items()
    }
    return {"frames": len(reference.counts), "miou": reference.miou, "graphs": found,
            "against": against(tallies, found)}  # fmt: skip


def tallied(
    recipe: Recipe, core: ModelProto, graphs: Mapping[str, ModelProto], data: Dataset
) -> tuple[dict[str, Tally], dict[str, str]]:
    """Tallies of "float" and of every graph, and the runtime that each graph ran in."""
    assert recipe.description is not None
    scoring = scoring_for(recipe.description.to_labels(), data.labels, None)
    reference = float_runner(core.SerializeToString())
    first = [pixels_of(recipe, data.frame(i).image) for i in range(min(CHECKED, len(data)))]
    chosen = {name: exact_runner(model, reference, first) for name, model in graphs.items()}
    tallies = {name: Tally() for name in ("float", *graphs)}
    for _, frame in readable(data, []):
        assert frame.mask is not None
        pixels = {"pixels": pixels_of(recipe, frame.image)}
        expected = reference(pixels)["logits"]
        wanted = _labels(expected, frame.image)
        for name, tally in tallies.items():
            logits = chosen[name][0](pixels)["logits"] if name in chosen else expected
            labels = _labels(logits, frame.image) if name in chosen else wanted
            tally.add_logits(expected, logits)
            tally.agreement.append(agreement_percent(wanted, labels))
            truth = scoring.from_truth[frame.mask]
            ids = scoring.from_network[labels]
            tally.counts.append(confusion_of(truth, ids, len(scoring.names)))
    return tallies, {name: runtime for name, (_, runtime) in chosen.items()}


def exact_runner(
    model: ModelProto, reference: RunGraph, pictures: Sequence[Floats]
) -> tuple[RunGraph, str]:
    """The graph in float arithmetic, and where: OpenVINO if it is as good as ONNX Runtime there.

    ONNX Runtime with its optimiser switched off computes what each node is defined to.
    """
    fast = float_runner(exact(model).SerializeToString())
    slow = _as_defined(model)
    far = {"fast": Tally(), "slow": Tally()}
    for pixels in pictures:
        feeds = {"pixels": pixels}
        expected = reference(feeds)["logits"]
        far["fast"].add_logits(expected, fast(feeds)["logits"])
        far["slow"].add_logits(expected, slow(feeds)["logits"])
    if far["fast"].noise == far["slow"].noise or (
        abs(far["fast"].sqnr_db - far["slow"].sqnr_db) <= CLOSE_DB
    ):
        return fast, "openvino"
    return slow, "onnxruntime"


def against(tallies: Mapping[str, Tally], found: Mapping[str, Any]) -> dict[str, Any]:
    """Each of our graphs beside every peer, and the best of those: TensorRT takes some of them."""
    rivals = {name: tally for name, tally in tallies.items() if not is_ours(name)}
    taken = [name for name in rivals if not found[name]["refused_by_tensorrt"]]
    groups = {
        "all": list(rivals),
        "tensorrt": taken,
        "others": [name for name in rivals if name not in taken],
    }
    best = {group: _best(rivals, names) for group, names in groups.items() if names}
    return {
        name: {
            "peers": {rival: _beside(own, theirs) for rival, theirs in rivals.items()},
            "best_peers": best,
        }
        for name, own in tallies.items()
        if is_ours(name)
    }


def is_ours(name: str) -> bool:
    """Whether a graph of that name is one of edgeseg's."""
    return name.split()[0] == "edgeseg"


def _best(rivals: Mapping[str, Tally], names: Sequence[str]) -> dict[str, str]:
    return {
        "by_miou": max(names, key=lambda name: rivals[name].miou),
        "by_sqnr": max(names, key=lambda name: rivals[name].sqnr_db),
    }


def _beside(own: Tally, theirs: Tally) -> dict[str, Any]:
    below, low, high = drop_interval(np.stack(theirs.counts), np.stack(own.counts))
    return {
        "miou_below_it": below,
        "miou_below_it_interval": [low, high],
        "sqnr_above_it_db": _finite(own.sqnr_db - theirs.sqnr_db),
    }


def verdict(model: ModelProto) -> dict[str, Any]:
    """Why TensorRT refuses the graph, each reason once, and how much of it INT8 computes."""
    found = examined(model, TENSORRT)
    assert found.share is not None
    return {
        "refused_by_tensorrt": sorted({f.rule for f in found.findings if f.severity == "refused"}),
        "int8_macs_percent": 100 * found.share.macs_int8 / found.share.macs,
    }


def _summary(reference: Tally, tally: Tally) -> dict[str, Any]:
    drop, low, high = drop_interval(np.stack(reference.counts), np.stack(tally.counts))
    return {
        "miou": tally.miou,
        "drop": drop,
        "drop_interval": [low, high],
        "agreement": float(np.mean(tally.agreement)),
        "worst_agreement": float(np.min(tally.agreement)),
        "sqnr_db": _finite(tally.sqnr_db),
    }


def _labels(logits: Floats, image: Pixels) -> Pixels:
    size = Size(*image.shape[:2])
    labels = np.empty(size, np.uint8)
    LabelsFromLogits(size)(logits[0], labels)
    return labels


def _finite(value: float) -> float | None:
    """`value`, or None where JSON cannot hold it."""
    return value if np.isfinite(value) else None


def _as_defined(model: ModelProto) -> RunGraph:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    whole = model.SerializeToString()
    session = onnxruntime.InferenceSession(whole, options, providers=["CPUExecutionProvider"])

    def run(feeds: Mapping[str, Any]) -> dict[str, Any]:
        return {"logits": session.run(["logits"], dict(feeds))[0]}

    return run
