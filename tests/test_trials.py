"""Scores of quantised forms of the tiny network, against ONNX Runtime and numpy."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

import edgeseg.trials
from edgeseg.errors import BuildError, InputFileError, UnreadablePicture
from edgeseg.graph.quantize import activation_tensors, quantized
from edgeseg.graph.simplify import fixed_core
from edgeseg.graph.tap import tapped
from edgeseg.graphs import Parts, draft
from edgeseg.recipe import Description, Recipe
from edgeseg.trials import Score, Trials, sqnr
from edgeseg.types import Array, LabelledFrame, Labels, Precision, Size
from tests.networks import CLASSES, SIZE, picture, pixels_of, tiny_core
from tests.oracle import labels_and_decided, run, run_all
from tests.small import confusion, miou

pytestmark = pytest.mark.needs("onnx", "onnxsim", "onnxruntime", "openvino")

NAMES = tuple("abcde")[:CLASSES]


@dataclass
class Drawn:
    """Pictures in memory; those of the numbers in `broken` cannot be read."""

    count: int = 3
    masked: bool = True
    broken: tuple[int, ...] = ()
    name: str = "drawn"
    labels: Labels = field(default=Labels(names=NAMES, colors=((0, 0, 0),) * CLASSES))

    def __len__(self) -> int:
        return self.count

    def frame_names(self) -> list[str]:
        return [str(index) for index in range(self.count)]

    def digest(self, index: int) -> str:
        return str(index)

    def frame(self, index: int) -> LabelledFrame:
        if index in self.broken:
            raise UnreadablePicture(f"{index} cannot be decoded")
        blocks = np.random.default_rng(index).integers(0, CLASSES, (6, 8)).astype(np.uint8)
        mask = blocks.repeat(8, 0).repeat(8, 1)
        mask[:4] = 255
        return LabelledFrame(str(index), picture(seed=index), mask if self.masked else None)


@pytest.fixture(scope="module")
def core() -> ModelProto:
    return fixed_core(tiny_core(), Size(*SIZE))


@pytest.fixture(scope="module")
def coarse(core: ModelProto) -> ModelProto:
    """A Q/DQ form whose ranges cut off: it loses labels."""
    names = activation_tensors(core)
    seen = run_all(tapped(core, names), {"pixels": pixels_of(picture())})
    amax = {name: float(np.abs(x).max()) / 2 for name, x in zip(names, seen, strict=True)}
    return quantized(core, amax)


def _trials(core: ModelProto, data: Drawn, **options: object) -> Trials:
    recipe = Recipe(
        onnx=Path("net.onnx"),
        description=Description(mean=(2,) * 3, std=(1,) * 3, scale=1 / 64, labels=list(NAMES)),
        precision=Precision.INT8,
        size="64x48",
        frame="64x48",
    )
    manifest = draft(Parts(recipe=recipe, core=core), core)
    return Trials(core, manifest, data, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trials(core: ModelProto) -> Trials:
    return _trials(core, Drawn())


@pytest.fixture(scope="module")
def score(trials: Trials, coarse: ModelProto) -> Score:
    return trials.score(coarse)


def _logits(model: ModelProto, index: int) -> Array:
    pixels = pixels_of(picture(seed=index))
    return run(model, {"pixels": pixels}, optimized=False)[0].astype(np.float64)


def _sqnr_by_hand(core: ModelProto, qdq: ModelProto, indices: range) -> float:
    pairs = [(_logits(core, index), _logits(qdq, index)) for index in indices]
    power = sum(np.square(plain).sum() for plain, _ in pairs)
    return float(10 * np.log10(power / sum(np.square(a - b).sum() for a, b in pairs)))


def test_sqnr_is_that_of_the_logits_of_all_pictures(
    core: ModelProto, coarse: ModelProto, score: Score
) -> None:
    assert score.sqnr_db == pytest.approx(_sqnr_by_hand(core, coarse, range(3)), abs=0.02)
    assert 0 < score.sqnr_db < 30


def test_agreement_is_the_share_of_equal_labels(
    core: ModelProto, coarse: ModelProto, score: Score
) -> None:
    shares = []
    for index in range(3):
        expected, found = (labels_and_decided(_logits(m, index), SIZE)[0] for m in (core, coarse))
        shares.append(100 * np.mean(expected == found))

    np.testing.assert_allclose(score.comparison.agreement, shares, atol=0.2)
    assert score.agreement == pytest.approx(np.mean(shares), abs=0.1)
    assert score.agreement < 98


def test_drop_is_that_of_the_confusions_of_all_pictures(
    core: ModelProto, coarse: ModelProto, score: Score
) -> None:
    totals = []
    for model in (core, coarse):
        counts = np.zeros((CLASSES, CLASSES), np.int64)
        for index in range(3):
            mask = Drawn().frame(index).mask
            assert mask is not None
            counts += confusion(mask, labels_and_decided(_logits(model, index), SIZE)[0], CLASSES)
        totals.append(miou(counts))

    assert score.drop_interval is not None
    drop, low, high = score.drop_interval
    assert drop == pytest.approx(totals[0] - totals[1], abs=0.1)
    assert low <= high


def test_float_core_keeps_everything(trials: Trials, core: ModelProto) -> None:
    score = trials.score(core)

    assert score.agreement == 100
    assert score.comparison.agreement == [100] * 3
    assert score.sqnr_db == np.inf
    assert score.drop_interval == (0, 0, 0)


def test_score_does_not_depend_on_what_was_scored_before(
    trials: Trials, coarse: ModelProto, score: Score
) -> None:
    again = trials.score(coarse)

    assert again.sqnr_db == score.sqnr_db
    assert again.comparison.agreement == score.comparison.agreement


def test_without_masks_there_is_no_drop(core: ModelProto, coarse: ModelProto) -> None:
    score = _trials(core, Drawn(1, masked=False)).score(coarse)

    assert score.drop_interval is None
    assert 0 < score.agreement < 100


def test_unreadable_pictures_are_left_out_and_the_others_keep_their_labels(
    core: ModelProto, coarse: ModelProto, score: Score
) -> None:
    some = _trials(core, Drawn(3, broken=(1,))).score(coarse)

    assert some.comparison.skipped == ["1"]
    assert some.comparison.agreement == score.comparison.agreement[::2]
    assert some.sqnr_db == pytest.approx(_sqnr_by_hand(core, coarse, range(0, 3, 2)), abs=0.02)


def test_no_readable_picture_is_refused(core: ModelProto) -> None:
    with pytest.raises(InputFileError, match="no picture that can be read"):
        _trials(core, Drawn(2, broken=(0, 1)))


def test_sqnr_is_of_the_first_pictures_where_memory_ends(
    core: ModelProto, coarse: ModelProto, score: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = _logits(core, 0).astype(np.float32).nbytes
    monkeypatch.setattr(edgeseg.trials, "LOGITS_BYTES", one - 1)  # one picture is always kept

    found = _trials(core, Drawn()).score(coarse)

    assert found.sqnr_db == pytest.approx(_sqnr_by_hand(core, coarse, range(1)), abs=0.02)
    assert found.comparison.agreement == score.comparison.agreement


def test_classes_are_scored_as_the_map_says(core: ModelProto, coarse: ModelProto) -> None:
    mapped = {"a": ["a", "b"], "c": ["c"]}

    score = _trials(core, Drawn(1), class_map=mapped).score(coarse)

    assert score.comparison.names == ("a", "c")
    assert len(score.comparison.iou(score.comparison.built)) == 2


def test_progress_is_told_for_each_picture(core: ModelProto, coarse: ModelProto) -> None:
    told: list[tuple[str, int, int | None]] = []

    def tell(step: str, done: int, total: int | None) -> None:
        told.append((step, done, total))

    _trials(core, Drawn(2), on_progress=tell).score(coarse, on_progress=tell)

    assert told == [("float labels", 1, 2), ("float labels", 2, 2), ("verify", 1, 2),
                    ("verify", 2, 2)]  # fmt: skip


@pytest.mark.parametrize(
    ("power", "noise", "level"),
    [(100, 1, 20), (1, 2, -3.0103), (5, 0, np.inf), (0, 0, np.inf), (0, 5, -np.inf)],
)
def test_sqnr_is_in_decibels(power: float, noise: float, level: float) -> None:
    assert sqnr(power, noise) == pytest.approx(level, abs=1e-4)


@pytest.mark.parametrize(("power", "noise"), [(np.nan, 1.0), (1.0, np.nan), (np.nan, np.nan)])
def test_sqnr_of_no_number_is_no_number(power: float, noise: float) -> None:
    assert np.isnan(sqnr(power, noise))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(core: ModelProto, bad: float) -> None:
    """One weight of the last layer is enough."""
    ruined = ModelProto()
    ruined.CopyFrom(core)
    last = next(node for node in ruined.graph.node if "logits" in node.output)
    held = next(item for item in ruined.graph.initializer if item.name == last.input[1])
    weight = numpy_helper.to_array(held).copy()
    weight.flat[0] = bad
    held.CopyFrom(numpy_helper.from_array(weight, held.name))

    with pytest.raises(BuildError, match="NaN or infinite"):
        _trials(ruined, Drawn())
