"""MobileNetV2 (Sandler et al. 2018) as a feature extractor with output stride 8, 16 or 32."""

from torch import Tensor, nn

from edgeseg.zoo.blocks import ConvBN

# Table 2 of the paper: expansion t, channels c, repeats n, stride s.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1 (section 3.3); the shortcut joins equal shapes."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, dilation: int, expand: int
    ) -> None:
        super().__init__()
        hidden = in_channels * expand
        layers: list[nn.Module] = []
        if expand != 1:
            layers.append(ConvBN(in_channels, hidden, act=nn.ReLU6))
        layers += [
            ConvBN(
                hidden,
                hidden,
                kernel=3,
                stride=stride,
                dilation=dilation,
                groups=hidden,
                act=nn.ReLU6,
            ),
            ConvBN(hidden, out_channels, act=None),
        ]
        self.body = nn.Sequential(*layers)
        self.shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.shortcut else y


class MobileNetV2(nn.Module):
    """Features at stride 4 and at `output_stride`, without the classifier's 1280-channel layer.

    Past `output_stride` a stage keeps the resolution and dilates instead; its first block keeps
    the dilation of the stage before (the convention of the public PyTorch ports).
    """

    def __init__(self, *, output_stride: int = 16, width: float = 1.0) -> None:
        super().__init__()
        channels = rounded(32 * width)
        self.stem = ConvBN(3, channels, kernel=3, stride=2, act=nn.ReLU6)
        stages: list[nn.Module] = []
        current_stride, dilation = 2, 1
        for expand, base_channels, repeats, stage_stride in STAGES:
            out_channels = rounded(base_channels * width)
            first_dilation = dilation
            stride = stage_stride
            if current_stride * stage_stride > output_stride:
                dilation, stride = dilation * stage_stride, 1
            current_stride *= stride
            blocks = []
            for index in range(repeats):
                blocks.append(
                    InvertedResidual(
                        channels,
                        out_channels,
                        stride=stride if index == 0 else 1,
                        dilation=first_dilation if index == 0 else dilation,
                        expand=expand,
                    )
                )
                channels = out_channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.low_channels = rounded(STAGES[1][1] * width)
        self.channels = channels

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)  # (N, 32, H/2, W/2)
        x = self.stages[0](x)  # (N, 16, H/2, W/2)
        low = x = self.stages[1](x)  # (N, 24, H/4, W/4)
        for stage in list(self.stages)[2:]:
            x = stage(x)
        return low, x  # (N, 24, H/4, W/4), (N, 320, H/16, W/16)


def rounded(channels: float) -> int:
    """`channels` rounded to a multiple of 8, never down by more than 10 % (the paper's code)."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest
