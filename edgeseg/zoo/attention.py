"""Attention to Scale (Chen et al. 2016, arXiv:1511.03339): each place weighs the scales."""

import numpy as np
import torch
from torch import Tensor, nn

from edgeseg.types import Pixels
from edgeseg.zoo.blocks import enlarged
from edgeseg.zoo.deeplabv1 import DeepLabV1, largefov
from edgeseg.zoo.deeplabv2 import at_first_size, at_scales
from edgeseg.zoo.vgg import scaled

ATTENTION_CHANNELS = 512


class AttentionToScale(nn.Module):
    """Logits from pixels (N, 3, H, W), float32 BGR bytes less their mean.

    One LargeFOV sees the picture at every scale; a softmax over the scales, made from the fc7
    features of all of them, weighs their scores at each place. Logits are (N, classes, H, W), or
    (N, classes, H/8, W/8) rounded up without `align_corners`.

    `outputs` adds "scale0", "scale1"...: the scores of each scale, for a loss on each (the extra
    supervision of section 3.3), at its own size unless `align_corners`; and "weights"
    (N, S, H/8, W/8), which sum to 1 over the S scales.
    """

    def __init__(
        self, network: DeepLabV1, *, scales: tuple[float, ...], channels: int, align_corners: bool
    ) -> None:
        super().__init__()
        self.network = network
        self.scales = scales
        self.align_corners = align_corners
        self.attention = nn.Sequential(
            nn.Conv2d(len(scales) * network.fc8.in_channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, len(scales), 1),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        scores, weights = self._scores_and_weights(pixels)
        logits = self._weighted(scores, weights)
        return enlarged(logits, pixels, align_corners=self.align_corners)

    def outputs(self, pixels: Tensor) -> dict[str, Tensor]:
        scores, weights = self._scores_and_weights(pixels)
        maps = {"logits": self._weighted(scores, weights)}
        maps |= {f"scale{index}": one for index, one in enumerate(scores)}
        result = {
            name: enlarged(one, pixels, align_corners=self.align_corners)
            for name, one in maps.items()
        }
        return result | {"weights": weights}

    def _scores_and_weights(self, pixels: Tensor) -> tuple[list[Tensor], Tensor]:
        views = at_scales(pixels, self.scales, align_corners=self.align_corners)
        features = [self.network.features(view) for view in views]
        scores = [self.network.fc8(one) for one in features]
        together = torch.cat(at_first_size(features, align_corners=self.align_corners), dim=1)
        return scores, self.attention(together).softmax(dim=1)

    def _weighted(self, scores: list[Tensor], weights: Tensor) -> Tensor:
        first, *others = (
            one * weights[:, index : index + 1]  # (N, 1, H/8, W/8)
            for index, one in enumerate(at_first_size(scores, align_corners=self.align_corners))
        )
        return sum(others, start=first)


def attention_to_scale(
    *,
    classes: int,
    width: float = 1.0,
    scales: tuple[float, ...] = (1.0, 0.75, 0.5),
    batch_norm: bool = False,
    dropout: float = 0.5,
    align_corners: bool = True,
) -> AttentionToScale:
    """The paper's network on a shared LargeFOV; with two scales they are (1.0, 0.5)."""
    network = largefov(classes=classes, width=width, batch_norm=batch_norm, dropout=dropout)
    return AttentionToScale(
        network,
        scales=scales,
        channels=scaled(ATTENTION_CHANNELS, width),
        align_corners=align_corners,
    )


def weights_picture(weights: Tensor) -> Pixels:
    """The weights (S, h, w) of one picture as grey uint8 (h, S * w): side by side, white is 1."""
    grey = (weights.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return np.concatenate(list(grey.cpu().numpy()), axis=1)
