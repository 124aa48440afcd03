"""The memory format in which a network trains fastest with the right gradients."""

import torch
from torch import nn

LANES = 16
"""BF16 kernels take the channels in groups of this many."""


def training_format(network: nn.Module, device: torch.device) -> torch.memory_format:
    """channels_last, or NCHW where a CPU's BF16 gradients are wrong in channels_last.

    PyTorch 2.13 gives dilated convolutions that are depthwise, or whose input channels are no
    multiple of 16, gradients that are far off or NaN there (seen on an AMD EPYC with avx512_bf16;
    in NCHW, and in float32, they are right).
    """
    if device.type != "cpu" or not any(_goes_wrong(each) for each in network.modules()):
        return torch.channels_last
    return torch.contiguous_format


def _goes_wrong(module: nn.Module) -> bool:
    if not isinstance(module, nn.Conv2d) or max(module.dilation) == 1:
        return False
    return module.groups > 1 or (module.in_channels > LANES and module.in_channels % LANES != 0)
