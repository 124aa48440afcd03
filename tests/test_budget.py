"""The search for the smallest set of float layers: on known costs, and on a ruined network."""

import json
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import ModelProto, helper
from PIL import Image

from edgeseg.budget import (
    MOST_RETURNED,
    Attempt,
    Search,
    search,
    searched,
    within_budget,
    write_search,
)
from edgeseg.errors import AccuracyGateFailed
from edgeseg.graph.quantize import activation_tensors
from edgeseg.graph.tap import tapped
from edgeseg.graphs import Parts
from edgeseg.quantizer import Quantizer
from edgeseg.recipe import Calibration, Description, Gate, Recipe
from edgeseg.sensitivity_report import Effect
from edgeseg.trials import Score
from edgeseg.types import Precision, RoundedWeights
from edgeseg.verify import Comparison
from tests.networks import picture, pixels_of, small_graph
from tests.oracle import run, run_all
from tests.small import working_directory

pytestmark = pytest.mark.needs("onnx", "openvino", "onnxruntime", "matplotlib", "PIL")

SIZE = (24, 32)
CLASSES = 3
LAYERS = {
    "entry": (8, 3, 3, 3),
    "small": (8, 8, 1, 1),
    "wee": (8, 8, 1, 1),
    "big": (8, 8, 3, 3),
    "last": (CLASSES, 8, 1, 1),
}
"""The shapes of the weights; each value is used once a pixel."""
MACS = {name: math.prod(shape) * math.prod(SIZE) for name, shape in LAYERS.items()}
GATE = Gate(min_agreement=95)


def _chain(layers: Mapping[str, tuple[int, ...]] = LAYERS) -> ModelProto:
    """Convolutions one behind the other, with ReLUs between."""
    rng, nodes, weights, seen = np.random.default_rng(0), [], {}, "pixels"
    for name, shape in layers.items():
        values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        weights[f"{name}_weight"] = values.astype(np.float32)
        out, pads = "logits" if name == "last" else f"{name}_out", [shape[2] // 2] * 4
        nodes.append(helper.make_node("Conv", [seen, f"{name}_weight"], [out], name, pads=pads))
        if name != "last":
            seen = f"{name}_relu"
            nodes.append(helper.make_node("Relu", [out], [seen], seen))
    return small_graph(nodes, weights, shape=(1, 3, *SIZE), out=(1, CLASSES, *SIZE))


@dataclass
class _Costs:
    """In the place of the trials: percent of the pixels that each layer loses in INT8."""

    lost: Mapping[str, float]
    noise: Mapping[str, float]
    data: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(name="known"))

    def sqnr(self, kept: Iterable[str] = ()) -> float:
        left = sum(value for name, value in self.noise.items() if name not in set(kept))
        return -10 * math.log10(left) if left else math.inf

    def loss(self, kept: Iterable[str] = ()) -> Effect:
        total = sum(value for name, value in self.lost.items() if name not in set(kept))
        return Effect(change=total, interval=(total - 1, total + 1), agreement=100 - total)

    def score(self, kept: Iterable[str] = ()) -> Score:
        agreement = [self.loss(kept).agreement]
        return Score(comparison=Comparison(names=("a",), agreement=agreement), sqnr_db=0.0)


@pytest.fixture(scope="module")
def quantizer() -> Quantizer:
    return Quantizer(_chain(), {})


def _search(
    quantizer: Quantizer,
    lost: Mapping[str, float],
    *,
    noise: Mapping[str, float] | None = None,
    start: Iterable[str] = (),
    gate: Gate = GATE,
) -> Search:
    costs = _Costs(lost, {name: value + 1e-3 for name, value in (noise or lost).items()})
    return search(costs, quantizer, gate, start=tuple(start))  # type: ignore[arg-type]


def _macs(names: Iterable[str]) -> int:
    return sum(MACS[name] for name in names)


def test_nothing_is_left_in_float_where_int8_meets_the_budget(quantizer: Quantizer) -> None:
    found = _search(quantizer, dict.fromkeys(LAYERS, 0.9))

    assert found.chosen == []
    assert [attempt.keep for attempt in found.attempts] == [[]]
    assert (found.measure, found.limit) == ("agreement", 5)


@pytest.mark.parametrize("name", LAYERS)
def test_one_ruined_layer_is_all_that_is_left_in_float(quantizer: Quantizer, name: str) -> None:
    found = _search(quantizer, {**dict.fromkeys(LAYERS, 0.1), name: 30})

    assert found.chosen == [name]


def test_two_small_layers_are_fewer_than_one_large_one(quantizer: Quantizer) -> None:
    """Either frees the budget; the one layer has more MACs than the two."""
    lost = {"entry": 0, "small": 2, "wee": 2, "big": 3.5, "last": 0}

    found = _search(quantizer, lost)

    assert found.chosen == ["small", "wee"]
    assert _macs(["small", "wee"]) < MACS["big"]


def test_layer_that_the_budget_does_not_need_is_quantised_again(quantizer: Quantizer) -> None:
    """All logits raised alike: no noise is louder, and no label changes."""
    lost = {"entry": 0, "small": 30, "wee": 0, "big": 0, "last": 0}

    found = _search(quantizer, lost, noise={**lost, "last": 900, "wee": 500})

    assert found.chosen == ["small"]
    assert ["last", "small", "wee"] in [attempt.keep for attempt in found.attempts]


@pytest.mark.parametrize("seed", range(8))
def test_no_layer_of_the_set_could_be_quantised_as_well(quantizer: Quantizer, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lost = dict(zip(LAYERS, rng.uniform(0, 6, len(LAYERS)), strict=True))
    noise = dict(zip(LAYERS, rng.uniform(0, 6, len(LAYERS)), strict=True))

    chosen = _search(quantizer, lost, noise=noise).chosen

    assert chosen is not None
    assert _lost(lost, chosen) <= 5
    assert all(_lost(lost, [each for each in chosen if each != name]) > 5 for name in chosen)


def test_set_is_nearly_the_smallest_of_all_sets_by_macs(quantizer: Quantizer) -> None:
    ratios = []
    for seed in range(40):
        values = np.random.default_rng(seed).uniform(0, 6, len(LAYERS))
        lost = dict(zip(LAYERS, values, strict=True))
        chosen = _search(quantizer, lost).chosen
        sets = [each for size in range(6) for each in combinations(LAYERS, size)]
        least = min(_macs(each) for each in sets if _lost(lost, each) <= 5)
        assert chosen is not None
        ratios.append(_macs(chosen) / least if least else 1 + len(chosen))

    assert min(ratios) == 1
    assert np.mean(ratios) < 1.1


def _lost(lost: Mapping[str, float], kept: Iterable[str]) -> float:
    return sum(value for name, value in lost.items() if name not in set(kept))


def test_layers_that_are_float_from_the_start_stay_so(quantizer: Quantizer) -> None:
    lost = {**dict.fromkeys(LAYERS, 0.1), "small": 30}

    found = _search(quantizer, lost, start=["big"])

    assert found.chosen == ["big", "small"]
    assert all("big" in attempt.keep for attempt in found.attempts)
    shares = {tuple(attempt.keep): attempt.int8_percent for attempt in found.attempts}
    assert shares["big",] == pytest.approx(100 - 100 * MACS["big"] / sum(MACS.values()))


@pytest.mark.parametrize("start", [[], list(LAYERS)])
def test_nothing_is_chosen_where_even_float_misses(quantizer: Quantizer, start: list[str]) -> None:
    found = _search(quantizer, {**dict.fromkeys(LAYERS, 1), "outside": 9}, start=start)

    assert found.chosen is None
    assert sorted(LAYERS) in [attempt.keep for attempt in found.attempts]


def test_path_reads_from_all_int8_down_to_all_float(quantizer: Quantizer) -> None:
    found = _search(quantizer, {**dict.fromkeys(LAYERS, 1), "small": 9})

    lines = found.lines()

    assert len(lines) == len(found.attempts) > 2
    assert lines[0].startswith("  100.00 % of the MACs in INT8: loss 13.00 [12.00, 14.00]")
    assert "misses 87.00 % agreement (--min-agreement 95)" in lines[0]
    assert lines[-1].startswith("    0.00 % of the MACs in INT8: loss 0.00")
    assert lines[-1].endswith("meets it")


def test_hundred_layers_take_few_evaluations_and_none_twice() -> None:
    layers = {"entry": (8, 3, 1, 1), **{f"layer{at}": (8, 8, 1, 1) for at in range(100)}}
    many = Quantizer(_chain({**layers, "last": LAYERS["last"]}), {})
    lost = dict.fromkeys(layers, 0.25)

    found = _search(many, lost)

    sets = [tuple(attempt.keep) for attempt in found.attempts]
    assert found.chosen is not None
    assert _lost(lost, found.chosen) <= 5
    assert len(sets) == len(set(sets)) <= 2 + math.ceil(math.log2(102)) + MOST_RETURNED


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures whose masks are what the float network says: its own mIoU is 100."""
    root = tmp_path_factory.mktemp("data")
    for split, seeds in (("train", range(2)), ("val", range(10, 14))):
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for seed in seeds:
            image = picture(SIZE, seed=seed)
            labels = run(_chain(), {"pixels": pixels_of(image)})[0].argmax(0)
            Image.fromarray(image).save(root / split / "images" / f"{seed}.png")
            Image.fromarray(labels.astype(np.uint8)).save(root / split / "masks" / f"{seed}.png")
    (root / "labels.txt").write_text("a\nb\nc\n")
    return root


def _parts(folder: Path, gate: Gate, *, ruined: str = "", keep: tuple[str, ...] = ()) -> Parts:
    """A calibrated network; the integer weights of the layer `ruined` are drawn at random."""
    core = _chain()
    names = activation_tensors(core)
    seen = run_all(tapped(core, names), {"pixels": pixels_of(picture(SIZE))})
    amax = {name: float(np.abs(x).max()) for name, x in zip(names, seen, strict=True)}
    weights = {ruined: _random_weights(LAYERS[ruined])} if ruined else {}
    quantizer = Quantizer(core, amax, weights=weights)
    recipe = Recipe(
        onnx=Path("net.onnx"),
        description=Description(mean=(2, 2, 2), std=(1, 1, 1), scale=1 / 64, labels=list("abc")),
        precision=Precision.INT8,
        size="32x24",
        frame="32x24",
        calibration=Calibration(data="folder:train", root=folder),
        gate=gate.model_copy(update={"val": "folder:val", "root": folder}),
    )
    return Parts(recipe=recipe, core=core, quantizer=quantizer, keep=keep)


def _random_weights(shape: tuple[int, ...]) -> RoundedWeights:
    integers = np.random.default_rng(9).integers(-127, 128, shape).astype(np.int8)
    return RoundedWeights(integers, np.full(shape[0], 2**-8, np.float32), np.zeros(shape[0]))


@pytest.fixture(scope="module")
def mended(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Parts, Path]:
    """What the search makes of a network with one ruined layer, and where it wrote the path."""
    parts = _parts(folder, Gate(max_drop=40), ruined="small")
    with working_directory(tmp_path_factory.mktemp("search")) as here:
        return within_budget(parts), here / "calibration" / parts.recipe.name


def test_ruined_layer_of_a_network_is_found_and_put_into_the_recipe(
    mended: tuple[Parts, Path],
) -> None:
    parts, _ = mended

    assert parts.keep == ("small",)
    assert parts.recipe.keep_fp16 == ["small"]


def test_budget_counts_at_the_upper_end_of_the_interval(mended: tuple[Parts, Path]) -> None:
    search_json = json.loads((mended[1] / "search.json").read_text())

    for attempt in search_json["attempts"]:
        assert bool(attempt["misses"]) == (attempt["interval"][1] > 40)
        assert attempt["interval"][0] <= attempt["loss"] <= attempt["interval"][1]


def test_path_lies_beside_the_calibration(mended: tuple[Parts, Path]) -> None:
    found = json.loads((mended[1] / "search.json").read_text())

    assert (found["measure"], found["limit"], found["chosen"]) == ("mIoU", 40, ["small"])
    assert found["data"].endswith(":val")
    assert {tuple(attempt["keep"]) for attempt in found["attempts"]} >= {(), tuple(sorted(LAYERS))}
    assert (mended[1] / "search.png").read_bytes().startswith(b"\x89PNG")


def test_budget_that_float_cannot_meet_is_refused_with_the_path(
    folder: Path, tmp_path: Path
) -> None:
    parts = _parts(folder, Gate(max_drop=-1))

    with working_directory(tmp_path), pytest.raises(AccuracyGateFailed) as caught:
        searched(parts)

    (written,) = tmp_path.rglob("search.json")
    path = json.loads(written.read_text())
    said = str(caught.value)
    assert caught.value.exit_code == 5
    assert "nothing was published" in said
    assert path["chosen"] is None
    assert all(f"{each['int8_percent']:6.2f} % of the MACs" in said for each in path["attempts"])
    assert "0.00 % of the MACs in INT8: loss 0.00 [0.00, 0.00] - misses" in said


def test_spared_layers_stay_float_but_are_no_choice_of_the_recipe(
    folder: Path, tmp_path: Path
) -> None:
    parts = _parts(folder, Gate(max_drop=60), keep=("entry",))
    assert parts.quantizer is not None
    parts.quantizer.spared = ("entry",)

    with working_directory(tmp_path):
        (done, *_), lines = searched(parts)

    assert done.keep == ("entry",)
    assert done.recipe.keep_fp16 == []
    assert len(lines) == 1


def test_sets_for_a_less_exact_engine_halve_the_loss() -> None:
    losses = {
        "a": (90.0, 0.4),
        "b": (70.0, 0.3),
        "c": (50.0, 0.2),
        "d": (30.0, 0.15),
        "e": (0, 0.0),
    }
    attempts = [
        Attempt(keep=[name], int8_percent=share, loss=loss, interval=(loss, loss), misses=[])
        for name, (share, loss) in losses.items()
    ]
    missed = attempts[0].model_copy(update={"keep": [], "loss": 0.01, "misses": ["too much"]})
    found = Search(data="d", measure="mIoU", limit=0.5, attempts=[missed, *attempts], chosen=["a"])

    assert found.safer() == [["a"], ["c"], ["e"]]
    assert found.model_copy(update={"chosen": ["e"]}).safer() == [["e"]]


def test_without_pictures_or_quantizer_nothing_is_searched(folder: Path, tmp_path: Path) -> None:
    parts = _parts(folder, Gate(max_drop=-1))
    blind = parts.recipe.model_copy(update={"random_weights": True})

    with working_directory(tmp_path):
        for untouched in (replace(parts, quantizer=None), replace(parts, recipe=blind)):
            assert within_budget(untouched) is untouched

    assert list(tmp_path.iterdir()) == []


def test_search_is_written_without_a_picture_where_matplotlib_is_missing(
    quantizer: Quantizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.delitem(sys.modules, "edgeseg.charts.path", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    write_search(_search(quantizer, dict.fromkeys(LAYERS, 0.1)), tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["search.json"]
    assert "edgeseg[charts]" in caplog.text


def test_search_says_its_schema(quantizer: Quantizer, tmp_path: Path) -> None:
    write_search(_search(quantizer, dict.fromkeys(LAYERS, 0.1)), tmp_path)

    assert json.loads((tmp_path / "search.json").read_text())["schema"] == 1
