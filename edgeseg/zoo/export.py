"""A PyTorch network becomes the float core as ONNX: `pixels` in, `logits` out."""

import logging
import warnings

import torch
from torch import nn

from edgeseg.types import Size

SAMPLE_PX = (192, 256)
"""Height and width that the exporter traces with; the graph keeps both symbolic."""


SYMBOLIC = (dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC),)


def export_core(network: nn.Module, *, size: Size | None = None, opset: int = 18) -> bytes:
    """The serialised ONNX model of `network`, for pictures of `size`, one at a time.

    Without a size, batch N, height H and width W are symbolic, which a network can take only if
    nothing in it is made for one size (fixed tiles, averaging matrices, masks).

    Input `pixels` float32 (N, 3, H, W), normalised; output `logits` float32 (N, C, h, w).
    Batch normalisation is folded into the convolutions.
    """
    network = network.eval().cpu().float()
    if size is None:
        sample, dynamic = torch.zeros(2, 3, *SAMPLE_PX), SYMBOLIC
    else:
        sample, dynamic = torch.zeros(1, 3, *size), None
    quiet = logging.getLogger("torch.onnx")
    before, quiet.level = quiet.level, logging.ERROR
    try:
        with warnings.catch_warnings():
            # The exporter warns about its own internals (copyreg, pytree), not about the network.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network,
                (sample,),
                dynamo=True,
                opset_version=opset,
                input_names=["pixels"],
                output_names=["logits"],
                dynamic_shapes=dynamic,
                external_data=False,
                verbose=False,
            )
    finally:
        quiet.level = before
    assert program is not None
    return bytes(program.model_proto.SerializeToString())
