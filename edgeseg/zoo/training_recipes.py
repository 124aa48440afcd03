"""How each system was trained by its authors, and the two ways in which edgeseg trains."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from edgeseg.types import Size

Initialisation = Literal["default", "he", "bilinear-deconvolution", "u-net normal", "identity"]
Loss = Literal["cross-entropy", "median-frequency", "border-weighted", "cross-entropy+jaccard"]


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """The numbers of one way to train; what a paper leaves open is what most of them do."""

    source: str
    """Where the numbers stand."""
    optimiser: Literal["sgd", "nesterov", "adamw"] = "sgd"
    learning_rate: float
    momentum: float = 0.9
    """Of sgd and nesterov."""
    weight_decay: float = 5e-4
    decayed: Literal["all", "weights"] = "all"
    """"weights": none for biases and for normalisation."""
    head: Literal["scorers", "all but backbone"] = "scorers"
    """What learns `head_multiplier` times as fast: layers that score classes, or all new ones."""
    head_multiplier: float = 1.0
    clip_norm: float | None = None
    """The largest norm of the gradient, over all parameters."""
    schedule: Literal["fixed", "poly", "step", "warmup-poly"] = "poly"
    power: float = 0.9
    """Of both poly schedules (DeepLab v2, section 4.1.2)."""
    warmup_steps: int = 0
    step_every: int = 2000
    step_factor: float = 0.1
    """The schedule "step" multiplies by this at every `step_every`th step."""
    steps: int | None = None
    epochs: float | None = None
    """How long, unless told: in steps, or in passes over the pictures."""
    views_per_step: int
    crop: Size
    """Of a view, in pixels; brought to the nearest size that the network takes."""
    scale: tuple[float, float] = (1.0, 1.0)
    """View pixels per source pixel."""
    flip: bool = True
    elastic: bool = False
    """Elastic deformation (U-Net, section 3.1)."""
    rotation_deg: float = 0.0
    """The largest angle."""
    blur: bool = False
    """Half of the views, a little (the code of PSPNet)."""
    views: Literal["paper", "own"] = "paper"
    """"own": edgeseg's views, with flip, a little rotation and stretch, light, blur and noise, and
    labels at half size; of the fields above they take `crop` and `scale`."""
    synthetic_share: float = 0.0
    """Of the views, unless told: from the synthetic street."""
    loss: Loss = "cross-entropy"
    jaccard_weight: float = 0.5
    """Of the soft Jaccard loss, and so of "cross-entropy+jaccard" only."""
    labels: Literal["full", "subsampled"] = "full"
    """"subsampled": at the map of the logits (DeepLab v1, section 4.1); "full": logits resized."""
    auxiliary_weight: float = 0.4
    """Of the output "aux", where a network has it (PSPNet, section 4.1)."""
    hfd_weight: float = 0.1
    """Of HDNet's loss on the output "features", where a network has it."""
    hfd_momentum: float = 0.5
    """Of its table: the default of the authors' code; the paper's value is not published."""
    hfd_start_epoch: float = 1.0
    """From when on it counts; the table follows the features from the first step on."""
    initialisation: Initialisation = "default"
    """"default" and "identity": what the network's own constructor does."""
    frozen_bn: bool = False
    """Batch normalisation keeps its statistics, scale and shift."""
    average_decay: float = 0.0
    """Of the running average of the weights, which is what is kept; 0: the weights themselves."""

    def factor(self, step: int, total_steps: int) -> float:
        """What the learning rate is multiplied by in step number `step`, counted from 0."""
        if self.schedule == "fixed":
            return 1.0
        if self.schedule == "step":
            return self.step_factor ** (step // self.step_every)
        remaining = max(0.0, 1 - step / total_steps)
        warmup = 1.0
        if self.schedule == "warmup-poly":
            warmup = min(1.0, (step + 1) / max(1, self.warmup_steps))
        return float(warmup * remaining**self.power)

    def steps_for(self, pictures: int, epochs: float | None = None) -> int:
        """How many steps `epochs` passes over `pictures` are; without them, the recipe's own."""
        if epochs is None and self.steps is not None:
            return self.steps
        return math.ceil((epochs or self.epochs or 1) * pictures / self.views_per_step)


DEFAULT = TrainingRecipe(
    source="edgeseg: what the shipped weights were trained by",
    optimiser="adamw",
    learning_rate=2e-3,
    weight_decay=0.03,
    decayed="weights",
    clip_norm=5.0,
    schedule="warmup-poly",
    power=1.0,
    warmup_steps=150,
    steps=4000,
    views_per_step=8,
    crop=Size(256, 320),
    scale=(0.4, 1.7),
    views="own",
    synthetic_share=0.125,
    loss="cross-entropy+jaccard",
    average_decay=0.998,
)

COMPACT = TrainingRecipe(
    source="edgeseg: one equal budget for every system, to compare them by",
    optimiser="adamw",
    learning_rate=2e-3,
    weight_decay=0.03,
    decayed="weights",
    clip_norm=5.0,
    schedule="warmup-poly",
    power=1.0,
    warmup_steps=100,
    epochs=40,
    views_per_step=8,
    crop=Size(240, 320),
    scale=(0.5, 1.5),
    views="own",
    loss="cross-entropy+jaccard",
    average_decay=0.998,
)

_FCN = TrainingRecipe(
    source="FCN (Long et al. 2015), section 4.3; steps of the authors' release",
    learning_rate=1e-4,
    schedule="fixed",
    steps=100_000,
    views_per_step=20,
    crop=Size(500, 500),
    flip=False,
    initialisation="bilinear-deconvolution",
)

_SEGNET = TrainingRecipe(
    source="SegNet (Badrinarayanan et al. 2017), section 3.1, and the authors' CamVid solver",
    learning_rate=1e-3,
    schedule="fixed",
    steps=40_000,
    views_per_step=5,
    crop=Size(360, 480),
    flip=False,
    loss="median-frequency",
    initialisation="he",
)

_UNET = TrainingRecipe(
    source="U-Net (Ronneberger et al. 2015), section 3; rate, decay and epochs are not given there",
    learning_rate=1e-3,
    momentum=0.99,
    weight_decay=0.0,
    schedule="fixed",
    epochs=100,
    views_per_step=1,
    crop=Size(388, 388),
    rotation_deg=10.0,
    elastic=True,
    loss="border-weighted",
    initialisation="u-net normal",
)

_DEEPLABV1 = TrainingRecipe(
    source="DeepLab v1 (Chen et al. 2015), section 4.1",
    learning_rate=1e-3,
    head_multiplier=10.0,
    schedule="step",
    steps=6000,
    views_per_step=20,
    crop=Size(321, 321),
    labels="subsampled",
)

_DEEPLABV2 = TrainingRecipe(
    source="DeepLab v2 (Chen et al. 2017), sections 4.1.1 and 4.1.2",
    learning_rate=2.5e-4,
    head_multiplier=10.0,
    steps=20_000,
    views_per_step=10,
    crop=Size(321, 321),
    scale=(0.5, 1.5),
    labels="subsampled",
    frozen_bn=True,
)

_DEEPLABV3 = TrainingRecipe(
    source="DeepLab v3 (Chen et al. 2017), section 4.1; the decay of the authors' code",
    learning_rate=7e-3,
    weight_decay=4e-5,
    steps=30_000,
    views_per_step=16,
    crop=Size(513, 513),
    scale=(0.5, 2.0),
)

_DILATION = TrainingRecipe(
    source="Yu and Koltun 2016, section 4 and appendix B, CamVid; its decay is not given",
    learning_rate=1e-4,
    momentum=0.99,
    weight_decay=0.0,
    schedule="fixed",
    steps=20_000,
    views_per_step=8,
    crop=Size(628, 628),
    labels="subsampled",
    initialisation="identity",
)

_ATTENTION = replace(
    _DEEPLABV1,
    source="Attention to Scale (Chen et al. 2016), section 4; steps of DeepLab v1",
    views_per_step=30,
)

_PSPNET = TrainingRecipe(
    source="PSPNet (Zhao et al. 2017), section 5.1, VOC",
    learning_rate=1e-2,
    weight_decay=1e-4,
    head="all but backbone",
    head_multiplier=10.0,
    steps=30_000,
    views_per_step=16,
    crop=Size(473, 473),
    scale=(0.5, 2.0),
    rotation_deg=10.0,
    blur=True,
)

_DANET = TrainingRecipe(
    source="DANet (Fu et al. 2019), section 4.1.2; the multiplier of the authors' code",
    learning_rate=1e-2,
    weight_decay=1e-4,
    head="all but backbone",
    head_multiplier=10.0,
    epochs=240,
    views_per_step=8,
    crop=Size(768, 768),
    scale=(0.5, 2.0),
)

_HDNET = replace(
    _DANET,
    source="HDNet (Li et al. 2021): defaults of the authors' code, which is DANet's",
    learning_rate=1e-3,
    epochs=80,
    views_per_step=16,
    crop=Size(608, 608),
)

_CCNET = TrainingRecipe(
    source="CCNet (Huang et al. 2019), section 4.2, Cityscapes",
    learning_rate=1e-2,
    weight_decay=1e-4,
    steps=60_000,
    views_per_step=8,
    crop=Size(769, 769),
    scale=(0.5, 2.0),
)

RECIPES: dict[str, TrainingRecipe] = {
    "default": DEFAULT,
    "compact": COMPACT,
    "fcn": _FCN,
    "segnet": _SEGNET,
    "unet": _UNET,
    "deeplabv1": _DEEPLABV1,
    "deeplabv2": _DEEPLABV2,
    "dilation": _DILATION,
    "attention-to-scale": _ATTENTION,
    "deeplabv3": _DEEPLABV3,
    "deeplabv3plus": replace(
        _DEEPLABV3, source="DeepLab v3+ (Chen et al. 2018), section 4: as DeepLab v3"
    ),
    "hdnet": _HDNET,
    "pspnet": _PSPNET,
    "danet": _DANET,
    "ccnet": _CCNET,
}
"""The systems in the order of `MODELS`, after edgeseg's own two."""
