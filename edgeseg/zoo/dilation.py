"""Dilated convolutions and context (Yu and Koltun 2016, arXiv:1511.07122)."""

from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from edgeseg.errors import UsageError
from edgeseg.tables import known
from edgeseg.zoo.blocks import resized
from edgeseg.zoo.vgg import VGG16, scaled

Padding = Literal["reflect186", "same"]

BORDERS_PX = {"reflect186": 186, "same": 0}
"""Mirrored around the picture; 186 is what the unpadded convolutions eat: 900 px become 66 cells,
which cover 528 px."""

RATES = (1, 1, 2, 4, 8, 16, 1)
"""Of the 3x3 layers of the context module (table 1)."""
LARGE = (2, 2, 4, 8, 16, 32, 32)
"""Their channels in the large module, in multiples of the classes (table 1); 1 in the basic one."""
NOISE_STD = 0.01
"""Of the weights around the identity in the large module."""


class Dilation(nn.Module):
    """Logits (N, classes, H/8, W/8) from pixels (N, 3, H, W), float32 BGR bytes less their mean.

    Cell i sees the picture around pixel 8 i + 3.5, so that a half-pixel resize by 8 is right. A
    size that 8 does not divide is padded further at the right and the bottom; its logits come
    resized and cut to (N, classes, H, W). With "reflect186" each side needs 194 px or more.
    """

    def __init__(
        self,
        *,
        classes: int,
        width: float,
        fc_channels: int,
        padding: Padding,
        batch_norm: bool,
        dropout: float,
        context: nn.Module | None,
    ) -> None:
        super().__init__()
        self.border_px = BORDERS_PX[known(BORDERS_PX, padding, kind="padding")]
        same = padding == "same"
        halving: Any = partial(nn.MaxPool2d, 2, 2)
        self.backbone = VGG16(
            pools=(halving, halving, halving, None, None),
            width=width,
            batch_norm=batch_norm,
            padding=1 if same else 0,
            dilations=(1, 1, 1, 1, 2),
        )
        channels = scaled(fc_channels, width)
        self.fc6 = nn.Conv2d(
            self.backbone.channels[-1], channels, 7, padding=12 if same else 0, dilation=4
        )
        self.bn6 = nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
        self.fc7 = nn.Conv2d(channels, channels, 1)
        self.bn7 = nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
        self.final = nn.Conv2d(channels, classes, 1)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        self.context = nn.Identity() if context is None else context

    def forward(self, pixels: Tensor) -> Tensor:
        height, width = pixels.shape[2], pixels.shape[3]
        logits: Tensor = self.context(self.front(_bordered(pixels, self.border_px)))
        if height % 8 == 0 and width % 8 == 0:
            return logits
        whole = resized(logits, (8 * logits.shape[2], 8 * logits.shape[3]))
        return whole[:, :, :height, :width]

    def front(self, bordered: Tensor) -> Tensor:
        """(N, classes, h, w): the front end of section 4, on a picture with its border."""
        x = self.backbone(bordered)[-1]
        x = self.dropout(self.relu(self.bn6(self.fc6(x))))
        x = self.dropout(self.relu(self.bn7(self.fc7(x))))
        scores: Tensor = self.final(x)
        return scores


class Context(nn.Module):
    """The context module (section 3): 3x3 layers of growing dilation that keep the map's size.

    It starts as the identity on positive scores.
    """

    def __init__(self, classes: int, *, multiples: tuple[int, ...], rates: tuple[int, ...]) -> None:
        super().__init__()
        counts = (classes, *(classes * multiple for multiple in multiples))
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=rate, dilation=rate)
            for before, after, rate in zip(counts[:-1], counts[1:], rates, strict=True)
        )
        self.final = nn.Conv2d(counts[-1], classes, 1)
        self.relu = nn.ReLU(inplace=True)
        noise_std = 0.0 if set(multiples) == {1} else NOISE_STD
        for layer in (*self.layers, self.final):
            _start_as_identity(layer, classes, noise_std=noise_std)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.relu(layer(x))
        y: Tensor = self.final(x)
        return y  # (N, classes, h, w)


def frontend(
    *,
    classes: int,
    width: float = 1.0,
    fc_channels: int = 4096,
    padding: Padding = "reflect186",
    batch_norm: bool = False,
    dropout: float = 0.5,
) -> Dilation:
    """The front end alone (section 4).

    `padding="same"` pads inside the convolutions instead: faster, and other scores at the border.
    """
    return Dilation(
        classes=classes,
        width=width,
        fc_channels=fc_channels,
        padding=padding,
        batch_norm=batch_norm,
        dropout=dropout,
        context=None,
    )


def dilation8(
    *,
    classes: int,
    width: float = 1.0,
    context: Literal["basic", "large"] = "basic",
    rates: tuple[int, ...] = RATES,
    fc_channels: int = 4096,
    padding: Padding = "reflect186",
    batch_norm: bool = False,
    dropout: float = 0.5,
) -> Dilation:
    """The front end and the context module: "basic" as for CamVid, "large" as for Pascal VOC.

    The paper's `rates` for KITTI leave 16 out; those for Cityscapes have 32 and 64 after it.
    """
    channels = {"basic": (1,) * len(rates), "large": LARGE}
    multiples = channels[known(channels, context, kind="context")]
    if len(multiples) != len(rates):
        raise UsageError(
            f"the large context has {len(LARGE)} rates, not {len(rates)}", fix="context=basic"
        )
    return Dilation(
        classes=classes,
        width=width,
        fc_channels=fc_channels,
        padding=padding,
        batch_norm=batch_norm,
        dropout=dropout,
        context=Context(classes, multiples=multiples, rates=rates),
    )


def _bordered(pixels: Tensor, border_px: int) -> Tensor:
    """`pixels` mirrored by `border_px` on each side, and on to a multiple of 8 right and below."""
    below, right = -pixels.shape[2] % 8, -pixels.shape[3] % 8
    if border_px + below + right == 0:
        return pixels
    sides = [border_px, border_px + right, border_px, border_px + below]
    return F.pad(pixels, sides, mode="reflect")


@torch.no_grad()
def _start_as_identity(layer: nn.Conv2d, classes: int, *, noise_std: float) -> None:
    """Set equations 4 (as many channels in as out) and 5 of the paper.

    At the centre, output b takes C / out_channels of each input a of the same class; channel a of
    n belongs to class floor(a C / n). Everything else is noise.
    """
    outs, ins = layer.out_channels, layer.in_channels
    of_out = torch.arange(outs, device=layer.weight.device) * classes // outs
    of_in = torch.arange(ins, device=layer.weight.device) * classes // ins
    same = of_out[:, None] == of_in[None, :]  # (outs, ins)
    nn.init.normal_(layer.weight, std=noise_std)
    middle = layer.kernel_size[0] // 2
    centre = layer.weight[:, :, middle, middle]
    centre.copy_(torch.where(same, classes / outs, centre))
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
