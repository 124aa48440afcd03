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

PLACES = tuple((stage, block) for stage, row in enumerate(STAGES) for block in range(row[2]))
"""Stage and block of each of the 17 blocks, which public code numbers from 1."""


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1 (section 3.3); the shortcut joins equal shapes.

    `pad_first` pads the block's input instead of the depthwise convolution's: its border then holds
    what the expansion makes of zeros, not zeros.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        dilation: int,
        expand: int,
        pad_first: bool = False,
    ) -> None:
        super().__init__()
        hidden = in_channels * expand
        layers: list[nn.Module] = []
        pad_first = pad_first and expand != 1
        if expand != 1:
            before = dilation if pad_first else 0
            layers.append(ConvBN(in_channels, hidden, act=nn.ReLU6, padding=before))
        layers += [
            ConvBN(
                hidden,
                hidden,
                kernel=3,
                stride=stride,
                dilation=dilation,
                groups=hidden,
                act=nn.ReLU6,
                padding=0 if pad_first else dilation,
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

    def __init__(
        self,
        *,
        output_stride: int = 16,
        width: float = 1.0,
        stem_padding: int = 1,
        pad_first: bool = False,
        late_dilation: bool = False,
    ) -> None:
        """`stem_padding`: 0 in VainF's code. `pad_first`: VainF and jfzhang95, see the block.

        `late_dilation`: a stage that keeps the resolution dilates only the stages after it
        (jfzhang95).
        """
        super().__init__()
        channels = rounded(32 * width)
        self.stem = ConvBN(3, channels, kernel=3, stride=2, act=nn.ReLU6, padding=stem_padding)
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
                keeps = index == 0 or late_dilation
                blocks.append(
                    InvertedResidual(
                        channels,
                        out_channels,
                        stride=stride if index == 0 else 1,
                        dilation=first_dilation if keeps else dilation,
                        expand=expand,
                        pad_first=pad_first,
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
