"""Equal scales for tensors that meet in a Concat: TensorRT joins them without requantising."""

from collections.abc import Mapping

from onnx import ModelProto

from edgeseg.graph.quantize import activation_tensors


def tied(core: ModelProto, amax: Mapping[str, float]) -> dict[str, float]:
    """`amax` in which the quantised inputs and the output of each Concat have the widest range."""
    sites = set(activation_tensors(core))
    result = dict(amax)
    changed = True
    while changed:  # a Concat may feed another one
        changed = False
        for node in core.graph.node:
            names = [name for name in (*node.input, *node.output) if name in sites]
            if node.op_type != "Concat" or len(names) < 2:
                continue
            widest = max(result[name] for name in names)
            changed = changed or any(result[name] != widest for name in names)
            result.update(dict.fromkeys(names, widest))
    return result
