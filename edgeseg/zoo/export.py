"""A PyTorch network becomes the float core as ONNX: `pixels` in, `logits` out, any H and W."""

import logging
import warnings

import torch
from torch import nn

SAMPLE_PX = (192, 256)
"""Height and width that the exporter traces with; the graph keeps both symbolic."""


def export_core(network: nn.Module, *, opset: int = 18) -> bytes:
    """The serialised ONNX model of `network`, with symbolic batch N, height H and width W.

    Input `pixels` float32 (N, 3, H, W), normalised RGB; output `logits` float32 (N, C, h, w).
    Batch normalisation is folded into the convolutions.
    """
    network = network.eval().cpu().float()
    sample = torch.zeros(2, 3, *SAMPLE_PX)
    dynamic = {0: torch.export.Dim("N"), 2: torch.export.Dim("H"), 3: torch.export.Dim("W")}
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
                dynamic_shapes=({k: torch.export.Dim.DYNAMIC for k in dynamic},),
                external_data=False,
                verbose=False,
            )
    finally:
        quiet.level = before
    assert program is not None
    return bytes(program.model_proto.SerializeToString())
