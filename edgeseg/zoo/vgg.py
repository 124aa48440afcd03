"""VGG-16 (Simonyan and Zisserman 2015) without its classifier, in the forms the networks need."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from edgeseg.errors import UsageError

CHANNELS = (64, 128, 256, 512, 512)
CONVOLUTIONS = (2, 2, 3, 3, 3)

Pool = Callable[[], nn.Module]


class VGG16(nn.Module):
    """Thirteen 3x3 convolutions in five stages, `conv1_1` to `conv5_3`, each with a ReLU.

    `forward` returns the output of each stage, after its pool where it has one.
    """

    def __init__(
        self,
        *,
        pools: Sequence[Pool | None],
        width: float = 1.0,
        batch_norm: bool = False,
        padding: int = 1,
        first_padding: int | None = None,
        dilations: Sequence[int] = (1, 1, 1, 1, 1),
    ) -> None:
        """`padding` is in steps of the dilation; `first_padding` is that of conv1_1 alone."""
        super().__init__()
        channels = 3
        self.channels = tuple(scaled(count, width) for count in CHANNELS)
        self.pools = nn.ModuleList(pool() if pool else nn.Identity() for pool in pools)
        self._stages: list[list[str]] = []
        for stage, (out_channels, count) in enumerate(
            zip(self.channels, CONVOLUTIONS, strict=True)
        ):
            names = []
            for index in range(count):
                pad = padding * dilations[stage]
                if (stage, index) == (0, 0) and first_padding is not None:
                    pad = first_padding
                name = f"{stage + 1}_{index + 1}"
                self.add_module(
                    f"conv{name}",
                    nn.Conv2d(channels, out_channels, 3, padding=pad, dilation=dilations[stage]),
                )
                if batch_norm:
                    self.add_module(f"bn{name}", nn.BatchNorm2d(out_channels))
                names.append(name)
                channels = out_channels
            self._stages.append(names)
        self.batch_norm = batch_norm
        self.relu = nn.ReLU(inplace=True)

    def stage(self, index: int, x: Tensor) -> Tensor:
        """The convolutions of stage `index` (0 to 4), without its pool."""
        for name in self._stages[index]:
            x = getattr(self, f"conv{name}")(x)
            if self.batch_norm:
                x = getattr(self, f"bn{name}")(x)
            x = self.relu(x)
        return x

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = []
        for index, pool in enumerate(self.pools):
            x = pool(self.stage(index, x))
            outputs.append(x)
        return outputs


def scaled(channels: int, width: float) -> int:
    """`channels` times `width` as a multiple of 8, at least 8; exactly `channels` at width 1.

    Raises:
        UsageError: `width` is not positive.
    """
    if not width > 0:
        raise UsageError(f"a width of {width} is no width", fix="give one above 0, such as 0.5")
    return channels if width == 1 else max(8, round(channels * width / 8) * 8)
