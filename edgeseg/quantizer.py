"""One calibrated network, quantised as often as wanted with other layers left in float."""

import fnmatch
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeseg.errors import UsageError
from edgeseg.sensitivity_blocks import module_of
from edgeseg.tables import needs
from edgeseg.types import RoundedWeights

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer with weights that INT8 can compute."""

    name: str
    """Of its node in the core."""
    op: str
    macs: int
    module: str | None = None
    """That the exporter named."""


class Quantizer:
    """A float core with its ranges; gives the Q/DQ core with any of its layers left in float.

    `core` may be an equalised form of the network; `weights` has what was rounded beforehand, by
    layer. `spared` are the layers that are left in float unless something else is asked for.
    `per_tensor_deconv`: the weight of a ConvTranspose has one scale, as TensorRT wants it.
    """

    def __init__(
        self,
        core: "ModelProto",
        amax: Mapping[str, float],
        *,
        weights: Mapping[str, RoundedWeights] | None = None,
        spared: Sequence[str] = (),
        per_tensor_deconv: bool = True,
    ) -> None:
        with needs("graph"):
            from edgeseg.graph.cost import cost_of
            from edgeseg.graph.quantize import quantized_layers
        self.core = core
        self.spared = tuple(spared)
        self._amax = dict(amax)
        self._weights = dict(weights or {})
        self._per_tensor_deconv = per_tensor_deconv
        cost = cost_of(core)
        self.macs = cost.macs
        """Of the whole network, float or not."""
        self.layers = [
            Layer(
                name=node.name,
                op=node.op_type,
                macs=cost.macs_by_node.get(node.name, 0),
                module=module_of(node),
            )
            for node in quantized_layers(core)
        ]

    def graph(self, keep: Collection[str] | None = None) -> "ModelProto":
        """The Q/DQ core in which the layers of the exact names `keep` stay float.

        None keeps those that are spared.
        """
        with needs("graph"):
            from edgeseg.graph.quantize import quantized
        kept = self.spared if keep is None else sorted(keep)
        return quantized(
            self.core,
            self._amax,
            keep=kept,
            weights=self._weights,
            per_tensor_deconv=self._per_tensor_deconv,
        )

    def int8_share(self, keep: Collection[str]) -> float:
        """Percent of the network's MACs in INT8 where the layers `keep` stay float."""
        computed = sum(layer.macs for layer in self.layers if layer.name not in keep)
        return 100.0 * computed / self.macs if self.macs else 0.0

    def matching(self, patterns: Sequence[str]) -> dict[str, list[str]]:
        """The layers whose names, or whose modules, match each pattern, such as `*classifier*`.

        Raises:
            UsageError: one that matches none.
        """
        names = [layer.name for layer in self.layers]
        found = {
            pattern: [pattern]
            if pattern in names
            else [
                layer.name
                for layer in self.layers
                if any(fnmatch.fnmatchcase(n, pattern) for n in (layer.name, layer.module) if n)
            ]
            for pattern in patterns
        }
        for pattern, matched in found.items():
            if not matched:
                raise UsageError(
                    f"--keep-fp16 {pattern!r} matches none of the {len(names)} layers",
                    fix=f"they are called like {names[0]!r} and {names[-1]!r}; edgeseg sensitivity "
                    "lists all",
                )
        return found
