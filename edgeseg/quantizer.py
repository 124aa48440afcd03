"""One calibrated network, quantised as often as wanted with other layers left in float."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeseg.tables import needs

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer with weights that INT8 can compute."""

    name: str
    """Of its node in the core."""
    op: str
    macs: int


class Quantizer:
    """A float core with its ranges; gives the Q/DQ core with any of its layers left in float."""

    def __init__(self, core: "ModelProto", amax: Mapping[str, float]) -> None:
        with needs("graph"):
            from edgeseg.graph.cost import cost_of
            from edgeseg.graph.quantize import quantized_layers
        self.core = core
        self._amax = dict(amax)
        macs = cost_of(core).macs_by_node
        self.layers = [
            Layer(name=node.name, op=node.op_type, macs=macs.get(node.name, 0))
            for node in quantized_layers(core)
        ]

    @property
    def macs(self) -> int:
        """Of all layers that INT8 can compute."""
        return sum(layer.macs for layer in self.layers)

    def graph(self, keep: Collection[str] = ()) -> "ModelProto":
        """The Q/DQ core in which the layers of the exact names `keep` stay float."""
        with needs("graph"):
            from edgeseg.graph.quantize import quantized
        return quantized(self.core, self._amax, keep=sorted(keep))
