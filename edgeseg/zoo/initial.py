"""First values of a network's weights: those of the papers, and random ones to measure with."""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from edgeseg.types import Size
from edgeseg.zoo.pixels import PIXELS
from edgeseg.zoo.training_recipes import Initialisation

Convolution = nn.Conv2d | nn.ConvTranspose2d

NORMAL: dict[str, type[nn.Module] | tuple[type[nn.Module], ...]] = {
    "he": nn.Conv2d,
    "u-net normal": (nn.Conv2d, nn.ConvTranspose2d),
}
"""The layers that `initialise` draws from a normal distribution."""

LOGIT_STD = 2.0
"""What `random_weights` scales the logits of its noise to, around the mean of each class."""


MEAN_SHARE = 0.1
"""Of a squared mean: what is added to the variance that normalisation saw."""


def initialise(network: nn.Module, how: Initialisation, *, seed: int) -> None:
    """Draw the first weights of `network` as `how` says; buffers stay as they are."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.ConvTranspose2d) and how == "bilinear-deconvolution":
            bilinear_(module)
        elif isinstance(module, Convolution) and isinstance(module, NORMAL.get(how, ())):
            normal_(module, generator)


@torch.no_grad()
def normal_(module: Convolution, generator: torch.Generator) -> None:
    """Weights from N(0, 2 / N) with N inputs of each output, and no bias.

    Source: He et al. 2015, equation 10, which U-Net takes up in section 3. Of a transposed
    convolution with stride s an output sees only one weight in s x s.
    """
    kernel = math.prod(module.kernel_size)
    if isinstance(module, nn.ConvTranspose2d):
        inputs = module.in_channels // module.groups * kernel / math.prod(module.stride)
    else:
        inputs = module.in_channels // module.groups * kernel
    module.weight.normal_(0, math.sqrt(2 / inputs), generator=generator)
    if module.bias is not None:
        module.bias.zero_()


@torch.no_grad()
def bilinear_(module: nn.ConvTranspose2d) -> None:
    """Weights that enlarge each channel by the stride, bilinearly, and do not mix channels.

    Source: FCN (Long et al. 2015), section 3.3.
    """
    rows, columns = (_tent(size) for size in module.kernel_size)
    module.weight.zero_()
    for channel in range(module.in_channels):
        within = channel % (module.in_channels // module.groups)
        if within < module.weight.shape[1]:
            module.weight[channel, within] = rows[:, None] * columns
    if module.bias is not None:
        module.bias.zero_()


def _tent(size: int) -> Tensor:
    factor = (size + 1) // 2
    centre = (size - 1) / 2 if size % 2 else factor - 0.5
    return 1 - (torch.arange(size) - centre).abs() / factor


@torch.no_grad()
def random_weights(
    network: nn.Module, size: Size, *, seed: int = 0, pixels: str = "imagenet"
) -> None:
    """Give `network` weights whose classes differ from place to place, as trained ones do.

    Convolutions as `normal_` draws them, normalisation by the statistics of noise pictures of
    `size`, and the scoring layers such that the logits of such noise have the standard deviation
    LOGIT_STD around the mean of each class, which is 0. `pixels` is how the network reads bytes.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, Convolution) and module.weight.requires_grad:
            normal_(module, generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5, generator=generator)
            module.bias.normal_(0, 0.1, generator=generator)
    for parameter in network.parameters():
        if parameter.numel() == 1:  # the gate of an attention, which starts closed
            parameter.fill_(0.5)
    noise = noise_pictures(size, generator, pixels)
    network.eval()
    _settle_statistics(network, noise)
    _scale_logits(network, noise[:1])


def noise_pictures(size: Size, generator: torch.Generator, pixels: str = "imagenet") -> Tensor:
    """Two pictures (2, 3, H, W) of soft blobs and fine grain, as the network reads them."""
    bytes_ = torch.full((2, 3, *size), 127.0)
    for cells, spread in ((4, 45.0), (16, 30.0), (min(size), 10.0)):
        coarse = torch.randn(2, 3, cells, cells, generator=generator) * spread
        bytes_ += F.interpolate(coarse, size, mode="bilinear", align_corners=False)
    row = PIXELS[pixels]
    mean, std = (torch.tensor(row[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    normalised: Tensor = (bytes_.clamp(0, 255) * row["scale"] - mean) / std
    return normalised


def _settle_statistics(network: nn.Module, noise: Tensor) -> None:
    """One pass in which normalisation alone is in training, and takes over what it sees."""
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.train().momentum = 1.0
    network(noise)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.eval().momentum = momentum
        if layer.running_var is not None and layer.running_mean is not None:
            # After a global pool two pictures are two values: others lie far outside of those.
            layer.running_var += MEAN_SHARE * layer.running_mean**2


def _scale_logits(network: nn.Module, noise: Tensor) -> None:
    called: list[nn.Conv2d] = []
    hooks = [
        module.register_forward_hook(lambda module, _inputs, _output: called.append(module))
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    logits: Tensor = network(noise)  # (1, classes, h, w)
    for hook in hooks:
        hook.remove()
    means = logits.mean((0, 2, 3))
    factor = LOGIT_STD / float((logits - means[:, None, None]).std().clamp(min=1e-12))
    scorers = _scorers(called, logits.shape[1])
    for scorer in scorers:
        scorer.weight.mul_(factor)
        if scorer.bias is not None:
            scorer.bias.mul_(factor)
    if scorers[-1].bias is not None:
        scorers[-1].bias.sub_(means * factor)


def _scorers(called: list[nn.Conv2d], classes: int) -> list[nn.Conv2d]:
    """Those of the convolutions, in the order in which they ran, that the logits are linear in.

    Where the last one reads scores itself (a context network), it is the only one.
    """
    scoring = [module for module in called if module.out_channels == classes]
    if scoring[-1].in_channels == classes:
        return scoring[-1:]
    return list(dict.fromkeys(module for module in scoring if module.in_channels != classes))
