"""The few layers that several networks share."""

import torch.nn.functional as F  # noqa: N812 - the name that PyTorch's own documentation uses
from torch import Tensor, nn


class ConvBN(nn.Sequential):
    """Convolution without bias, batch normalisation and the activation `act`, if any.

    Unless `padding` is given it keeps the size divided by `stride` (rounded up) for odd kernels and
    any dilation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        act: type[nn.Module] | None = nn.ReLU,
        padding: int | None = None,
    ) -> None:
        if padding is None:
            padding = dilation * (kernel - 1) // 2
        layers: list[nn.Module] = [
            nn.Conv2d(
                in_channels,
                out_channels,
                kernel,
                stride,
                padding=padding,
                dilation=dilation,
                groups=groups,
                bias=False,
            ),
            nn.BatchNorm2d(out_channels),
        ]
        if act is not None:
            layers.append(act(inplace=True))
        super().__init__(*layers)


def separable(in_channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    """A 3x3 depthwise convolution and a 1x1 pointwise one, each with BN and ReLU.

    Source: DeepLab v3+ (Chen et al. 2018), section 3.2, atrous separable convolution.
    """
    return nn.Sequential(
        ConvBN(in_channels, in_channels, kernel=3, dilation=dilation, groups=in_channels),
        ConvBN(in_channels, out_channels),
    )


def resized(x: Tensor, size: tuple[int, int], *, align_corners: bool = False) -> Tensor:
    """`x` (N, C, h, w) resized bilinearly to `size`; `align_corners` as the author has it."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


def enlarged(scores: Tensor, pixels: Tensor, *, align_corners: bool) -> Tensor:
    """`scores` at the size of `pixels` with `align_corners`, as many authors do; else unchanged."""
    if not align_corners:
        return scores
    return resized(scores, (pixels.shape[2], pixels.shape[3]), align_corners=True)
