"""One training step: outputs, loss, optimiser, schedule and the running average of the weights."""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from edgeseg.files import whole
from edgeseg.types import Floats, Pixels, Size
from edgeseg.zoo.hfd import ClassTable
from edgeseg.zoo.losses import cross_entropy, resized_to, soft_jaccard, subsampled
from edgeseg.zoo.memory_format import training_format
from edgeseg.zoo.pixels import PIXELS
from edgeseg.zoo.rows import SizeRule
from edgeseg.zoo.training_recipes import DEFAULT, TrainingRecipe

EQUAL = ("scale", "spatial", "channel")
"""How the outputs begin that are scored like the logits, with equal weight: DeepLab v2's and
Attention to Scale's scales, DANet's two branches."""

SCORE_STRIDE = 8
"""Labels are subsampled by this where the network enlarges its scores itself."""


class Trainer:
    """A network in training and the running average of its weights, which is what is evaluated."""

    def __init__(
        self,
        network: nn.Module,
        recipe: TrainingRecipe = DEFAULT,
        *,
        classes: int,
        class_weights: Floats | None = None,
        pixels: str = "imagenet",
        sizes: SizeRule | None = None,
        steps_per_epoch: int = 1,
        seed: int = 0,
    ) -> None:
        self.recipe = recipe
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        form = training_format(network, self.device)
        self.network = network.to(self.device).to(memory_format=form)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.class_weights = (
            None if class_weights is None else torch.from_numpy(class_weights).to(self.device)
        )
        if recipe.frozen_bn:
            _normalisation(self.network).requires_grad_(False)
        self.optimizer = _optimizer(self.network, recipe, classes)
        self.table: ClassTable | None = None
        self.step_done = 0
        self._trained = [value for value in self.network.parameters() if value.requires_grad]
        self._classes, self._sizes, self._seed = classes, sizes or SizeRule(), seed
        self._pixels = PixelRule(PIXELS[pixels], self.device, form)
        self._hfd_start_step = recipe.hfd_start_epoch * steps_per_epoch

    def step(
        self,
        views: Pixels,
        labels: Pixels,
        pixel_weights: Floats | None = None,
        *,
        total_steps: int,
    ) -> float:
        """Learn from uint8 (N, h, w, 3) views and their labels, of any size; returns the loss.

        `pixel_weights` float32 lie on the labels; the loss "border-weighted" takes them.
        """
        factor = self.recipe.factor(self.step_done, total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        target = torch.from_numpy(labels).to(self.device, torch.int64)
        weights = None if pixel_weights is None else torch.from_numpy(pixel_weights)
        outputs = self._outputs(self._pixels.of(views))
        loss = self._loss(outputs, target, None if weights is None else weights.to(self.device))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._trained, self.recipe.clip_norm)
        self.optimizer.step()
        if self.table is not None:
            self.table.update(outputs["features"].detach(), target)
        self.step_done += 1
        self._update_average()
        return float(loss.detach())

    @torch.no_grad()
    def labels_of(self, image: Pixels) -> Pixels:
        """Class ids uint8 (H, W) of a uint8 (H, W, 3) picture, by the averaged weights."""
        size = Size(*image.shape[:2])
        pixels, nearest = self._pixels.of(image[None]), self._sizes.nearest(size)
        if nearest != size:
            pixels = F.interpolate(pixels, nearest, mode="bilinear", align_corners=False)
        self.average.eval()  # again: a network may look at what its weights have become
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.average(pixels).float()
        full = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        return np.asarray(full[0].argmax(0).to(torch.uint8).cpu().numpy())

    def state(self) -> dict[str, Any]:
        """Everything that a later call of `restore` needs to go on."""
        return {
            "step": self.step_done,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "table": None if self.table is None else self.table.vectors,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state()` returned."""
        self.step_done = state["step"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["table"] is not None:
            self.table = self._table(state["table"].shape[1])
            self.table.vectors = state["table"]

    def _outputs(self, pixels: Tensor) -> dict[str, Tensor]:
        """All that the network gives in training, in float32."""
        self.network.train()
        if self.recipe.frozen_bn:
            _normalisation(self.network).eval()
        with torch.random.fork_rng(), torch.autocast(self.device.type, torch.bfloat16):
            # Dropout by seed and step, so that a resumed run drops the same.
            torch.manual_seed((self._seed << 32) + self.step_done)
            if hasattr(self.network, "outputs"):
                outputs: dict[str, Tensor] = self.network.outputs(pixels)
            else:
                outputs = {"logits": self.network(pixels)}
        return {name: value.float() for name, value in outputs.items()}

    def _loss(
        self, outputs: Mapping[str, Tensor], target: Tensor, pixel_weights: Tensor | None
    ) -> Tensor:
        how, logits = self.recipe, outputs["logits"]
        if how.labels == "full":
            logits = resized_to(logits, target)
        loss = self._scored(logits, target, pixel_weights)
        if how.loss == "cross-entropy+jaccard":
            loss = loss + how.jaccard_weight * soft_jaccard(resized_to(logits, target), target)
        for name, value in outputs.items():
            if name.startswith(EQUAL):
                loss = loss + self._supervised(value, target)
            elif name == "aux":
                loss = loss + how.auxiliary_weight * self._scored(value, target, pixel_weights)
            elif name == "features":
                if self.table is None:
                    self.table = self._table(value.shape[1])
                if self.step_done >= self._hfd_start_step:
                    loss = loss + how.hfd_weight * self.table.loss(value, target)
        return loss

    def _scored(self, logits: Tensor, target: Tensor, pixel_weights: Tensor | None) -> Tensor:
        if self.recipe.labels == "subsampled":
            return self._supervised(logits, target)
        logits = resized_to(logits, target)
        return cross_entropy(logits, target, self.class_weights, pixel_weights)

    def _supervised(self, scores: Tensor, target: Tensor) -> Tensor:
        """The cross-entropy at the map of the scores, or at the labels where those are smaller."""
        if self.recipe.labels == "subsampled" and scores.shape[-2:] == target.shape[-2:]:
            # Enlarged from corner to corner, every eighth pixel is a score itself.
            scores, target = (
                map_[..., ::SCORE_STRIDE, ::SCORE_STRIDE] for map_ in (scores, target)
            )
        elif scores.shape[-1] > target.shape[-1]:
            scores = resized_to(scores, target)
        labels = subsampled(target, scores.shape[-2:])
        return cross_entropy(scores, labels, self.class_weights)

    def _table(self, channels: int) -> ClassTable:
        momentum = self.recipe.hfd_momentum
        table = ClassTable(self._classes, channels, momentum=momentum, seed=self._seed)
        table.vectors = table.vectors.to(self.device)
        return table

    @torch.no_grad()
    def _update_average(self) -> None:
        # Early steps are averaged over less, so that the start does not linger.
        decay = min(self.recipe.average_decay, (1 + self.step_done) / (10 + self.step_done))
        live, kept = self.network.state_dict(), self.average.state_dict()
        floats = [name for name, value in kept.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [kept[name] for name in floats], [live[name] for name in floats], 1 - decay
        )


class PixelRule:
    """A row of `PIXELS` as tensors: bytes in, what the network reads out."""

    def __init__(
        self, row: Mapping[str, Any], device: torch.device, form: torch.memory_format
    ) -> None:
        self._device, self._form = device, form
        self._is_bgr = row["order"] == "bgr"
        mean, std = (
            torch.tensor(row[name], device=device).view(1, 3, 1, 1) / row["scale"]
            for name in ("mean", "std")
        )
        self._mean, self._std = mean, std

    def of(self, views: Pixels) -> Tensor:
        """float32 (N, 3, h, w) in the memory format of the network, of uint8 RGB (N, h, w, 3)."""
        pixels = torch.from_numpy(views).to(self._device).permute(0, 3, 1, 2)
        ordered = pixels.flip(1) if self._is_bgr else pixels
        normalised: Tensor = (ordered.float() - self._mean) / self._std
        return normalised.contiguous(memory_format=self._form)


def save_state(trainer: Trainer, path: Path, log: list[dict[str, float]]) -> None:
    """Write everything that `load_state` needs to `path`, all or nothing."""
    with whole(path) as temporary:
        torch.save({**trainer.state(), "log": log}, temporary)


def load_state(trainer: Trainer, path: Path) -> list[dict[str, float]]:
    """Go on from `path`; returns the log up to there."""
    state = torch.load(path, weights_only=True, map_location=trainer.device)
    trainer.restore(state)
    log: list[dict[str, float]] = state["log"]
    return log


def save_weights(network: nn.Module, path: Path) -> None:
    """Write the weights of `network` as safetensors, floats as FP16 unless that is too small."""
    tensors = {
        name: _stored(value).contiguous().cpu()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    with whole(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(tensors))


def _stored(value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    half = value.half()
    # The variance of what bytes without division give may be beyond 65504.
    return half if bool(half.isfinite().all()) else value.float()


def _normalisation(network: nn.Module) -> nn.ModuleList:
    return nn.ModuleList(
        module for module in network.modules() if isinstance(module, nn.BatchNorm2d)
    )


def _optimizer(network: nn.Module, recipe: TrainingRecipe, classes: int) -> torch.optim.Optimizer:
    groups, rate = list(_groups(network, recipe, classes)), recipe.learning_rate
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=rate)
    nesterov = recipe.optimiser == "nesterov"
    return torch.optim.SGD(groups, lr=rate, momentum=recipe.momentum, nesterov=nesterov)


def _groups(network: nn.Module, recipe: TrainingRecipe, classes: int) -> Iterator[dict[str, Any]]:
    """The trained parameters by their learning rate and weight decay; no group is empty."""
    head = {id(value) for value in head_parameters(network, recipe, classes)}
    trained = [value for value in network.parameters() if value.requires_grad]
    for in_head in (False, True):
        rate = recipe.learning_rate * (recipe.head_multiplier if in_head else 1.0)
        for is_vector in (False, True):
            chosen = [
                value
                for value in trained
                if (id(value) in head) == in_head and (value.ndim <= 1) == is_vector
            ]
            keeps = is_vector and recipe.decayed == "weights"
            decay = 0.0 if keeps else recipe.weight_decay
            if chosen:
                yield {"params": chosen, "lr": rate, "base_lr": rate, "weight_decay": decay}


def head_parameters(
    network: nn.Module, recipe: TrainingRecipe, classes: int
) -> Iterator[nn.Parameter]:
    """The parameters that learn `recipe.head_multiplier` times as fast."""
    if recipe.head == "scorers":
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and module.out_channels == classes:
                yield from module.parameters()
        return
    yield from (v for name, v in network.named_parameters() if not name.startswith("backbone."))
