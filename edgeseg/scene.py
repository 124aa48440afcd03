"""A procedural street with exact labels in CamVid's classes: any size, seeded, and in motion.

Everything follows from the seed and the time: the street repeats in cells along the road, each
with a random state of its own, so a frame needs no frame before it.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from edgeseg import scene_parts as parts
from edgeseg.scene_camera import Camera, Light
from edgeseg.types import Pixels, Size

CELL_M = 9.0

KEPT_CELLS = 256
"""Of a street, so that one without an end does not grow."""
VIEW_M = 135.0
"""How far the street reaches; what lies beyond is covered by its far end."""


@dataclass(frozen=True, kw_only=True)
class _Style:
    """What stays the same along one street."""

    road_m: float
    pavement_m: float
    speed_m_s: float
    houses: float
    trees: float
    asphalt: tuple[float, float, float]
    paving: tuple[float, float, float]
    noise: float
    texture: float


class Street:
    """One street; `frame(t)` is what the camera sees `t` seconds after the start."""

    def __init__(self, seed: int, size: Size) -> None:
        self.size = size
        self._seed = seed
        random = np.random.default_rng([seed, 0])
        self._light = _light(random)
        grey = random.uniform(70, 130)
        self._style = _Style(
            road_m=random.uniform(3.2, 5.5),
            pavement_m=random.uniform(1.6, 3.5),
            speed_m_s=random.uniform(4, 10),
            houses=random.uniform(0.3, 0.95),
            trees=random.uniform(0.1, 0.6),
            asphalt=(grey, grey, grey + random.uniform(0, 6)),
            paving=parts.varied((136, 128, 122), random),
            noise=random.uniform(2, 7),
            texture=random.uniform(0.05, 0.14),
        )
        self._vanish = (random.uniform(0.4, 0.6), random.uniform(0.38, 0.52))
        self._focal = random.uniform(0.7, 1.1)
        self._height_m = random.uniform(1.2, 1.7)
        self._camera_x = -self._style.road_m * random.uniform(0.2, 0.5)
        # Mottling for the whole street, larger than a frame, so that it can move with the camera.
        wide = (size.width + 64, size.height + 64)
        coarse = random.normal(0, 0.35, (24, 32)).astype(np.float32)
        fine = random.normal(0, 1, (wide[1] // 2, wide[0] // 2)).astype(np.float32)
        texture = cv2.resize(coarse, wide, interpolation=cv2.INTER_CUBIC)
        texture = texture + 0.8 * cv2.resize(fine, wide, interpolation=cv2.INTER_LINEAR)
        self._texture = np.ascontiguousarray(texture * self._style.texture + 1)
        self._cells: dict[int, list[tuple[float, parts.Draw]]] = {}

    def frame(self, t_s: float) -> tuple[Pixels, Pixels]:
        """The picture uint8 (H, W, 3) RGB and its class ids uint8 (H, W) at `t_s` seconds."""
        camera = Camera(
            self.size,
            self._light,
            focal=self._focal,
            vanish=self._vanish,
            height_m=self._height_m,
        )
        travelled = t_s * self._style.speed_m_s
        self._paint_sky(camera)
        self._paint_ground(camera, travelled)
        things = self._standing(travelled) + self._moving(t_s, travelled)
        for z, draw in sorted(things, key=lambda thing: -thing[0]):
            draw(camera, z)
        return self._finished(camera, t_s), camera.labels

    def _paint_sky(self, camera: Camera) -> None:
        height = self.size.height
        horizon = int(np.clip(camera.vanish_px[1], 1, height))
        mix = np.linspace(0, 1, horizon)[:, None]
        gradient = np.array(self._light.sky) * (1 - mix) + np.array(self._light.horizon) * mix
        camera.image[:horizon] = gradient[:, None].astype(np.uint8)
        camera.labels[:] = parts.SKY
        # Below the horizon there is ground as far as one can see.
        far = camera.shaded(self._style.paving, VIEW_M, 1.0)
        camera.image[horizon:] = np.array(far, np.uint8)
        camera.labels[horizon:] = parts.PAVEMENT

    def _paint_ground(self, camera: Camera, travelled: float) -> None:
        style, x = self._style, self._camera_x
        edge = style.road_m
        camera.ground((-80, 80), (0, 400), style.paving, parts.PAVEMENT)
        camera.ground((-edge - x, edge - x), (0, 400), style.asphalt, parts.ROAD)
        for kerb in (-edge - x, edge - x - 0.15):
            camera.ground((kerb, kerb + 0.15), (0, 200), (170, 168, 164), parts.PAVEMENT)
        for index in range(26):
            z = index * 6.0 - travelled % 6.0
            camera.ground((-0.07 - x, 0.07 - x), (z, z + 2.5), (225, 225, 215), parts.ROAD)
        # The far end: a row of trees and houses, so that the road does not run into the sky.
        random = np.random.default_rng([self._seed, 1])
        for at in np.arange(-60, 60, 4.0):
            make = parts.TREE if random.random() < self._style.trees else parts.BUILDING
            color = (66, 84, 50) if make == parts.TREE else parts.choose(parts.FACADES, random)
            height = random.uniform(2.5, 9)
            camera.front(VIEW_M + 30, (at - x, at - x + 4.5), (0, height), color, make)

    def _standing(self, travelled: float) -> list[tuple[float, parts.Draw]]:
        things: list[tuple[float, parts.Draw]] = []
        first = int(travelled // CELL_M) - 1
        for cell in range(first, first + int(VIEW_M / CELL_M) + 2):
            z = cell * CELL_M - travelled
            things += [(z + ahead, draw) for ahead, draw in self._both_sides(cell)]
        return things

    def _both_sides(self, cell: int) -> list[tuple[float, parts.Draw]]:
        """What stands in one cell, by its distance from where the cell begins; made once."""
        if cell not in self._cells:
            if len(self._cells) > KEPT_CELLS:
                self._cells.clear()
            self._cells[cell] = [
                thing
                for side in (-1.0, 1.0)
                for thing in self._cell(
                    np.random.default_rng([self._seed, 2, cell % (1 << 30), int(side > 0)]), side
                )
            ]
        return self._cells[cell]

    def _cell(self, random: parts.Random, side: float) -> list[tuple[float, parts.Draw]]:
        style = self._style
        edge = style.road_m - side * self._camera_x  # distance of the kerb from the camera
        line = edge + style.pavement_m
        things = []
        if random.random() < style.houses:
            setback = random.choice([0.0, 1.5, 4.0], p=[0.6, 0.2, 0.2])
            things.append((0.0, parts.building(random, side, line + setback, CELL_M)))
        elif random.random() < 0.8:
            for _ in range(int(random.integers(2, 5))):
                x = side * (line + random.uniform(1.5, 8))
                things.append((random.uniform(0, CELL_M), parts.tree(random, x)))
        if random.random() < 0.3:
            things.append((0.0, parts.fence(random, side, line - 0.1, CELL_M)))
        if random.random() < style.trees:
            x = side * (edge + random.uniform(0.8, style.pavement_m))
            things.append((random.uniform(0, CELL_M), parts.tree(random, x)))
        if random.random() < 0.45:
            things.append((random.uniform(0, 8), parts.pole(random, side, edge + 0.5)))
        if random.random() < 0.35:
            things.append((random.uniform(0, 8), parts.sign(random, side, edge + 0.6)))
        if random.random() < 0.4 and style.road_m > 3.6:
            x = side * (edge - 1.1)
            things.append((random.uniform(0, 4), parts.car(random, x, oncoming=side > 0)))
        return things

    def _moving(self, t_s: float, travelled: float) -> list[tuple[float, parts.Draw]]:
        """Traffic and people; each comes again VIEW_M metres later."""
        things: list[tuple[float, parts.Draw]] = []
        style = self._style
        start = np.random.default_rng([self._seed, 3])
        for index in range(int(start.integers(12, 30))):
            random = np.random.default_rng([self._seed, 4, index])
            kind = random.random()
            side = float(random.choice([-1.0, 1.0]))
            edge = side * style.road_m - self._camera_x
            if kind < 0.3:
                speed, x = (-8.0, style.road_m * 0.5) if side > 0 else (7.5, -style.road_m * 0.45)
                draw = parts.car(random, x - self._camera_x, oncoming=side > 0)
            elif kind < 0.5:
                speed = 4.5 * -side
                draw = parts.bicyclist(random, edge - side * random.uniform(0.5, 1.6))
            else:
                speed = float(random.choice([-1.3, 1.3]))
                x = edge + side * random.uniform(0.3, style.pavement_m)
                draw = parts.pedestrian(random, x, stride=6.0 * t_s + index)
            z = (random.uniform(0, VIEW_M) + speed * t_s - travelled) % VIEW_M
            if z > 4.0:
                things.append((z, draw))
        return things

    def _finished(self, camera: Camera, t_s: float) -> Pixels:
        random = np.random.default_rng([self._seed, 5, round(t_s * 1000)])
        phase = int(t_s * 50) % 128
        shift = min(phase, 128 - phase)  # to and fro
        texture = self._texture[shift : shift + self.size.height, : self.size.width]
        image = cv2.GaussianBlur(camera.image, (3, 3), 0.6).astype(np.float32)
        image *= texture[..., None]
        noise = np.empty_like(image)
        cv2.setRNGSeed(int(random.integers(1 << 31)))
        sigma = self._style.noise
        cv2.randn(noise, np.zeros(3), np.array([sigma, sigma, sigma]))
        image += noise
        return np.clip(image, 0, 255).astype(np.uint8)


def _light(random: parts.Random) -> Light:
    """Clear, overcast or dusk."""
    kind = int(random.integers(3))
    sky, horizon, gain = (
        ((110, 150, 215), (200, 214, 232), 1.05),
        ((205, 208, 212), (228, 230, 232), 0.9),
        ((120, 118, 140), (196, 170, 150), 0.6),
    )[kind]
    sun = random.uniform(0.6, 1.0)
    left, right = (1.1, sun) if random.random() < 0.5 else (sun, 1.1)
    tint = np.exp(random.normal(0, 0.04, 3)) * gain * random.uniform(0.8, 1.15)
    return Light(
        sky=parts.varied(sky, random),
        horizon=parts.varied(horizon, random, 6),
        gain=tuple(float(channel) for channel in tint),  # type: ignore[arg-type]
        left=left,
        right=right,
        fog_m=random.uniform(90, 400),
    )
