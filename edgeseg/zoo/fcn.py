"""FCN-32s, -16s and -8s on VGG-16 (Long, Shelhamer and Darrell 2015)."""

from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name that PyTorch's own documentation uses
from torch import Tensor, nn

from edgeseg.errors import UsageError
from edgeseg.zoo.blocks import resized
from edgeseg.zoo.unpool import CeilMaxPool
from edgeseg.zoo.vgg import VGG16, scaled

Stride = Literal[32, 16, 8]
Deconvolution = Literal["bilinear", "learnt"]

PAD = 100
"""Pixels around the picture: with them fc6, which is not padded, fits a picture of any size."""

POOL4_OFFSET = 5
POOL3_OFFSET = 9
PICTURE_OFFSET = {32: 19, 16: 27, 8: 31}
"""Where the map to add, and the picture, begin in the padded maps: the authors' crop layers."""

AT_ONCE = {"pool4": 0.01, "pool3": 0.0001}
"""What the skipped features are multiplied by where all streams are trained at once."""

SAME = 2**-11
"""Largest difference of a kernel from the bilinear one that FP16 files explain."""


class Upsampling(nn.ConvTranspose2d):
    """A deconvolution by `factor` with kernel 2 x factor, at first bilinear in each class.

    While its kernel is bilinear it is computed as a resize with half-pixel centres, which is equal
    and a hundredth of the work; any other kernel stays a deconvolution.
    """

    def __init__(self, classes: int, factor: int, *, learnt: bool) -> None:
        super().__init__(classes, classes, 2 * factor, stride=factor, bias=False)
        self.factor = factor
        with torch.no_grad():
            self.weight.copy_(bilinear_kernel(classes, factor))
        self.weight.requires_grad_(learnt)
        self.is_bilinear = True
        self.register_load_state_dict_post_hook(_look_again)  # type: ignore[no-untyped-call]

    def train(self, mode: bool = True) -> "Upsampling":
        """Training and evaluation mode as ever; a kernel may have been learnt in between."""
        super().train(mode)
        self.look()
        return self

    def look(self) -> None:
        """Find out whether the kernel is bilinear."""
        if not self.weight.is_meta:
            wanted = bilinear_kernel(self.in_channels, self.factor).to(self.weight)
            self.is_bilinear = bool((self.weight - wanted).abs().max() <= SAME)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if not self.is_bilinear or (self.training and self.weight.requires_grad):
            return super().forward(x, output_size)
        height, width = x.shape[-2:]
        # Outside the map a deconvolution sees zeros, where a resize repeats the border.
        size = (self.factor * (height + 2), self.factor * (width + 2))
        x = resized(F.pad(x, (1, 1, 1, 1)), size)
        margin = self.factor // 2
        return x[..., margin : size[0] - margin, margin : size[1] - margin]


class Scorer(nn.Conv2d):
    """A 1x1 convolution of `scale` times its input, with weights of zero at first (section 4.2)."""

    def __init__(self, channels: int, classes: int, *, scale: float) -> None:
        super().__init__(channels, classes, 1)
        self.scale = scale
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        # The scale goes to the weights: features times 0.0001 are too small for float16.
        return F.conv2d(x, self.weight * self.scale, self.bias)


class Head(nn.Sequential):
    """VGG-16's classifier as convolutions, fc6 7x7 and fc7 1x1, each with ReLU and dropout."""

    def __init__(
        self, in_channels: int, channels: int, *, padding: int, batch_norm: bool, dropout: float
    ) -> None:
        convolutions = {
            "6": nn.Conv2d(in_channels, channels, 7, padding=padding),
            "7": nn.Conv2d(channels, channels, 1),
        }
        super().__init__()
        for name, convolution in convolutions.items():
            self.add_module(f"fc{name}", convolution)
            if batch_norm:
                self.add_module(f"bn{name}", nn.BatchNorm2d(channels))
            self.add_module(f"relu{name}", nn.ReLU(inplace=True))
            self.add_module(f"drop{name}", nn.Dropout2d(dropout))


class FCN(nn.Module):
    """Scores at strides 32, 16 and 8, upsampled and added (section 4).

    Padded by 100 the logits are (N, classes, H, W) for a picture of any size. Padded by 1 they are
    at the stride of the network where H and W are multiples of it, else also (N, classes, H, W).
    """

    def __init__(
        self,
        *,
        classes: int,
        stride: Stride,
        width: float,
        pad: int,
        batch_norm: bool,
        fc_channels: int,
        dropout: float,
        deconv: Deconvolution,
        at_once: bool,
    ) -> None:
        super().__init__()
        _check(pad, deconv)
        padded = pad == PAD
        self.vgg = VGG16(
            pools=(CeilMaxPool,) * 5, width=width, batch_norm=batch_norm, first_padding=pad
        )
        *_, pool3, pool4, pool5 = self.vgg.channels
        channels = scaled(fc_channels, width)
        self.head = Head(
            pool5, channels, padding=0 if padded else 3, batch_norm=batch_norm, dropout=dropout
        )
        self.score_fr = nn.Conv2d(channels, classes, 1)
        scales = AT_ONCE if at_once else dict.fromkeys(AT_ONCE, 1.0)
        self.stride, self.padded = stride, padded

        def upsampling(factor: int) -> nn.Module:
            if padded:
                return Upsampling(classes, factor, learnt=deconv == "learnt")
            return nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=False)

        if stride <= 16:
            self.upscore2 = upsampling(2)
            self.score_pool4 = Scorer(pool4, classes, scale=scales["pool4"])
        if stride <= 8:
            self.upscore_pool4 = upsampling(2)
            self.score_pool3 = Scorer(pool3, classes, scale=scales["pool3"])
        self.upscore = upsampling(stride)

    def forward(self, pixels: Tensor) -> Tensor:
        *_, pool3, pool4, pool5 = self.vgg(pixels)
        x: Tensor = self.score_fr(self.head(pool5))  # (N, classes, about H/32, W/32)
        if self.stride <= 16:
            x = self._added(self.upscore2(x), self.score_pool4(pool4), POOL4_OFFSET)
        if self.stride <= 8:
            x = self._added(self.upscore_pool4(x), self.score_pool3(pool3), POOL3_OFFSET)
        height, width = pixels.shape[-2:]
        if not self.padded and height % self.stride == 0 and width % self.stride == 0:
            return x
        offset = PICTURE_OFFSET[self.stride] if self.padded else 0
        return _window(self.upscore(x), offset, height, width)

    def _added(self, x: Tensor, skipped: Tensor, offset: int) -> Tensor:
        """`x` and the scores of the layer skipped to, where they overlap."""
        if self.padded:
            return x + _window(skipped, offset, *x.shape[-2:])
        return _window(x, 0, *skipped.shape[-2:]) + skipped


def fcn32s(
    *,
    classes: int,
    width: float = 1.0,
    pad: int = PAD,
    batch_norm: bool = False,
    fc_channels: int = 4096,
    dropout: float = 0.5,
    deconv: Deconvolution = "bilinear",
) -> FCN:
    """FCN-32s; for the options see `fcn8s`."""
    return FCN(
        classes=classes,
        stride=32,
        width=width,
        pad=pad,
        batch_norm=batch_norm,
        fc_channels=fc_channels,
        dropout=dropout,
        deconv=deconv,
        at_once=False,
    )


def fcn16s(
    *,
    classes: int,
    width: float = 1.0,
    pad: int = PAD,
    batch_norm: bool = False,
    fc_channels: int = 4096,
    dropout: float = 0.5,
    deconv: Deconvolution = "bilinear",
) -> FCN:
    """FCN-16s; for the options see `fcn8s`."""
    return FCN(
        classes=classes,
        stride=16,
        width=width,
        pad=pad,
        batch_norm=batch_norm,
        fc_channels=fc_channels,
        dropout=dropout,
        deconv=deconv,
        at_once=False,
    )


def fcn8s(
    *,
    classes: int,
    width: float = 1.0,
    pad: int = PAD,
    batch_norm: bool = False,
    fc_channels: int = 4096,
    dropout: float = 0.5,
    deconv: Deconvolution = "bilinear",
    at_once: bool = False,
) -> FCN:
    """FCN-8s.

    `pad`: 100 as in the paper, or 1 for maps of the picture's own size and plain resizes.
    `fc_channels`: of fc6 and fc7, before `width`.
    `deconv`: "bilinear" keeps the kernels fixed, as the authors' release does.
    `at_once`: the features of pool3 and pool4 scaled, to train all streams together.
    """
    return FCN(
        classes=classes,
        stride=8,
        width=width,
        pad=pad,
        batch_norm=batch_norm,
        fc_channels=fc_channels,
        dropout=dropout,
        deconv=deconv,
        at_once=at_once,
    )


def bilinear_kernel(classes: int, factor: int) -> Tensor:
    """The deconvolution kernel (classes, classes, 2f, 2f) that interpolates each class alone."""
    places = torch.arange(2 * factor, dtype=torch.float64)
    triangle = 1 - (places - (factor - 0.5)).abs() / factor
    kernel = torch.outer(triangle, triangle).float()
    return torch.eye(classes)[:, :, None, None] * kernel


def _check(pad: int, deconv: str) -> None:
    if pad not in {1, PAD}:
        raise UsageError(f"an FCN cannot be padded by {pad}", fix=f"pad={PAD} or pad=1")
    if deconv not in {"bilinear", "learnt"}:
        raise UsageError(f"no deconvolution {deconv!r}", fix="deconv='bilinear' or 'learnt'")
    if pad == 1 and deconv == "learnt":
        raise UsageError(
            "an FCN padded by 1 resizes and has nothing to learn there", fix=f"pad={PAD}"
        )


def _window(x: Tensor, start: int, height: int, width: int) -> Tensor:
    """`height` rows and `width` columns of `x`, both from `start` on."""
    return x[..., start : start + height, start : start + width]


def _look_again(module: nn.Module, _: Any) -> None:
    assert isinstance(module, Upsampling)
    module.look()
