"""One training step: loss, optimiser, schedule and the running average of the weights."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from edgeseg.files import whole
from edgeseg.types import IGNORE, Array, Floats, Pixels

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """The numbers of the optimiser."""

    learning_rate: float = 2e-3
    weight_decay: float = 0.03
    warmup_steps: int = 150
    power: float = 1.0
    """Of the polynomial decay (DeepLab v2, section 4.1.2, uses 0.9)."""
    average_decay: float = 0.998
    jaccard_weight: float = 0.5
    """Of the soft Jaccard loss beside the weighted cross-entropy."""


class Trainer:
    """A network in training and the running average of its weights, which is what is evaluated."""

    def __init__(
        self,
        network: nn.Module,
        class_weights: Floats,
        how: Optimisation | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.how = how = how or Optimisation()
        # BF16 with channels_last is what a CPU with AMX and a GPU both run fastest.
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.class_weights = torch.from_numpy(class_weights).to(self.device)
        self.optimizer = torch.optim.AdamW(_groups(self.network, how), lr=how.learning_rate)
        self.step_done = 0
        self._seed = seed

    def step(self, views: Pixels, labels: Pixels, *, total_steps: int) -> float:
        """Learn from uint8 (N, h, w, 3) views and their (N, h/2, w/2) labels; returns the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.how.learning_rate * self._schedule(total_steps)
        pixels = _normalised(views, self.device)
        target = torch.from_numpy(labels).to(self.device, torch.int64)
        self.network.train()
        with torch.random.fork_rng(), torch.autocast(self.device.type, torch.bfloat16):
            # Dropout by seed and step, so that a resumed run drops the same.
            torch.manual_seed((self._seed << 32) + self.step_done)
            logits = self.network(pixels)
        loss = self._loss(logits.float(), target)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.step_done += 1
        self._update_average()
        return float(loss.detach())

    @torch.no_grad()
    def labels_of(self, image: Pixels) -> Pixels:
        """Class ids uint8 (H, W) of a uint8 (H, W, 3) picture, by the averaged weights."""
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.average(_normalised(image[None], self.device)).float()
        full = F.interpolate(logits, image.shape[:2], mode="bilinear", align_corners=False)
        return np.asarray(full[0].argmax(0).to(torch.uint8).cpu().numpy())

    def state(self) -> dict[str, Any]:
        """Everything that a later call of `restore` needs to go on."""
        return {
            "step": self.step_done,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state()` returned."""
        self.step_done = state["step"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _schedule(self, total_steps: int) -> float:
        warmup = min(1.0, (self.step_done + 1) / self.how.warmup_steps)
        remaining = max(0.0, 1 - self.step_done / total_steps)
        return float(warmup * remaining**self.how.power)

    def _loss(self, logits: Tensor, target: Tensor) -> Tensor:
        logits = F.interpolate(logits, size=target.shape[-2:], mode="bilinear", align_corners=False)
        loss = F.cross_entropy(logits, target, self.class_weights, ignore_index=IGNORE)
        return loss + self.how.jaccard_weight * soft_jaccard(logits, target)

    @torch.no_grad()
    def _update_average(self) -> None:
        # Early steps are averaged over less, so that the start does not linger.
        decay = min(self.how.average_decay, (1 + self.step_done) / (10 + self.step_done))
        live, kept = self.network.state_dict(), self.average.state_dict()
        floats = [name for name, value in kept.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [kept[name] for name in floats], [live[name] for name in floats], 1 - decay
        )


def soft_jaccard(logits: Tensor, target: Tensor) -> Tensor:
    """1 - the mean soft intersection over union of the classes in `target`, over the batch.

    Source: Rahman and Wang 2016, equation 3, with the counts taken over the whole batch.
    """
    valid = (target != IGNORE).unsqueeze(1)
    probabilities = logits.softmax(1) * valid
    hot = F.one_hot(target.clamp(max=logits.shape[1] - 1), logits.shape[1]).movedim(-1, 1) * valid
    intersection = (probabilities * hot).sum((0, 2, 3))
    union = probabilities.sum((0, 2, 3)) + hot.sum((0, 2, 3)) - intersection
    present = hot.sum((0, 2, 3)) > 0
    return 1 - (intersection[present] / union[present]).mean()


def class_weights_from_counts(counts: Array) -> Floats:
    """Weights of the cross-entropy, 1 / log(1.1 + share), scaled to a mean of 1 over pixels.

    Source: ENet (Paszke et al. 2016), section 4.1, with a larger constant: milder weights.
    """
    share = counts / counts.sum()
    weights = 1 / np.log(1.1 + share)
    return np.asarray(weights / (weights * share).sum(), np.float32)


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
    """Write the weights of `network` as safetensors, floats as FP16."""
    tensors = {
        name: (value.half() if value.is_floating_point() else value).contiguous().cpu()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    with whole(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(tensors))


def _normalised(views: Pixels, device: torch.device) -> Tensor:
    pixels = torch.from_numpy(views).to(device).permute(0, 3, 1, 2).float()
    mean = torch.tensor(IMAGENET_MEAN, device=device).view(1, 3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD, device=device).view(1, 3, 1, 1) * 255
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


def _groups(network: nn.Module, how: Optimisation) -> Iterator[dict[str, Any]]:
    """Weight decay for the convolutions' weights, none for biases and normalisation."""
    parameters = list(network.parameters())
    yield {"params": [p for p in parameters if p.ndim > 1], "weight_decay": how.weight_decay}
    yield {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}
