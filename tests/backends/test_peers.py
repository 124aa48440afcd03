"""Plans run by Polygraphy: one at a time, and what they gave outlives them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import pytest
from onnx import helper

from edgeseg.types import TensorSpec
from tests.networks import small_graph

pytestmark = pytest.mark.needs("polygraphy", "onnxruntime", "onnx")

FRAME = TensorSpec(name="frame", shape=(1, 2, 3), dtype=np.dtype(np.uint8))
FRAMES = [{"frame": np.full((1, 2, 3), value, np.uint8)} for value in (3, 200)]
Arrays = Mapping[str, np.ndarray]


class Plan:
    """Adds `step` to every byte, in memory of its own that it spoils when it is closed."""

    loaded = 0

    def __init__(self, step: int) -> None:
        self.step, self.labels = step, np.zeros((1, 2, 3), np.uint8)

    @contextmanager
    def opened(self) -> Iterator[object]:
        Plan.loaded += 1
        assert Plan.loaded == 1
        yield self._compute
        Plan.loaded -= 1
        self.labels.fill(99)

    def _compute(self, feed: Arrays) -> Arrays:
        self.labels[:] = feed["frame"] + self.step
        return {"labels": self.labels}


@pytest.mark.parametrize("count", [1, 2])
def test_each_plan_sees_every_frame_and_only_one_is_loaded(count: int) -> None:
    from edgeseg.backends.peers import PlanRunner, outputs_of

    runners = [PlanRunner(f"plus {step}", Plan(step).opened, [FRAME]) for step in (1, 2)]

    found = outputs_of(runners, FRAMES[:count])

    assert Plan.loaded == 0
    assert {
        name: [set(each["labels"].ravel().tolist()) for each in outputs]
        for name, outputs in found.items()
    } == {"plus 1": [{4}, {201}][:count], "plus 2": [{5}, {202}][:count]}


def test_a_plan_that_fails_says_its_own_error_and_is_freed() -> None:
    from edgeseg.backends.peers import PlanRunner, outputs_of

    closed = []

    @contextmanager
    def opened() -> Iterator[object]:
        def compute(feed: Arrays) -> Arrays:
            del feed
            raise ZeroDivisionError

        try:
            yield compute
        finally:
            closed.append(True)

    with pytest.raises(ZeroDivisionError):
        outputs_of([PlanRunner("broken", opened, [FRAME])], FRAMES)

    assert closed == [True]


def test_the_graph_runs_beside_plans() -> None:
    from edgeseg.backends.peers import graph_runner, outputs_of

    relu = helper.make_node("Relu", ["pixels"], ["logits"])
    graph = small_graph([relu], {}, shape=(1, 2), out=(1, 2)).SerializeToString()

    found = outputs_of(
        [graph_runner("graph.onnx", graph)], [{"pixels": np.array([[-1, 2]], np.float32)}]
    )

    assert found["graph.onnx"][0]["logits"].tolist() == [[0.0, 2.0]]
