"""Several runtimes on the same frames, run by Polygraphy one after the other.

A runtime is loaded when its turn comes and freed before the next one: a small board holds one plan
at a time.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeAlias

from polygraphy.backend.base import BaseRunner
from polygraphy.backend.onnxrt import OnnxrtRunner
from polygraphy.common import TensorMetadata
from polygraphy.comparator import Comparator
from polygraphy.logger import G_LOGGER

from edgeseg.errors import BuildError
from edgeseg.tables import needs
from edgeseg.types import Array, TensorSpec

Arrays: TypeAlias = dict[str, Array]
Compute: TypeAlias = Callable[[Mapping[str, Array]], Arrays]
OpenPlan: TypeAlias = Callable[[], AbstractContextManager[Compute]]
"""Loads a plan for a `with` block: what runs on frames there."""


class PlanRunner(BaseRunner):  # type: ignore[misc]
    """A plan of ours in the form that Polygraphy runs."""

    def __init__(self, name: str, opened: OpenPlan, inputs: Sequence[TensorSpec]) -> None:
        super().__init__(name=name)
        self._opened, self._inputs = opened, inputs
        self._closing = ExitStack()

    def activate_impl(self) -> None:
        """Load the plan."""
        self._compute = self._closing.enter_context(self._opened())

    def get_input_metadata_impl(self) -> Any:
        """Name, type and shape of what the plan takes."""
        metadata = TensorMetadata()
        for item in self._inputs:
            metadata.add(item.name, dtype=item.dtype, shape=item.shape)
        return metadata

    def infer_impl(self, feed_dict: Mapping[str, Array]) -> Arrays:
        """Copies of what the plan makes of `feed_dict`: its own memory goes with it."""
        start = time.perf_counter()
        outputs = {name: array.copy() for name, array in self._compute(feed_dict).items()}
        self.inference_time = time.perf_counter() - start
        return outputs

    def deactivate_impl(self) -> None:
        """Free the plan."""
        del self._compute
        self._closing.close()


def graph_runner(name: str, graph: bytes) -> Any:
    """Polygraphy's own ONNX Runtime on a frame graph, in exact arithmetic between its Q and DQ.

    Raises:
        MissingPackage: ONNX Runtime is not installed.
    """
    with needs("ort"):
        import onnxruntime

    def session() -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Its INT8 kernels round otherwise than the graph says; here the graph itself is meant.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    return OnnxrtRunner(session, name=name)


def outputs_of(runners: Sequence[Any], frames: Sequence[Arrays]) -> dict[str, list[Arrays]]:
    """What each of `runners` makes of each of `frames`, by its name.

    Raises:
        BuildError: fewer results than frames came back.
    """
    with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
        results = Comparator.run(list(runners), data_loader=list(frames))
    found = {name: [dict(each.items()) for each in iterations] for name, iterations in results}
    for name, outputs in found.items():
        if len(outputs) != len(frames):
            raise BuildError(
                f"{name} gave {len(outputs)} results for {len(frames)} frames",
                fix="please report the version of Polygraphy",
            )
    return found
