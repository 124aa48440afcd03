"""The things of the procedural street, one function each, with a random state of their own."""

from collections.abc import Callable

import numpy as np

from edgeseg.scene_camera import NEAR_M, Camera, Color

(SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST) = range(11)

Random = np.random.Generator
Draw = Callable[[Camera, float], None]
"""Draws a thing whose near end is at the given z (metres ahead of the camera)."""

FACADES: tuple[Color, ...] = (
    (150, 110, 90), (176, 160, 140), (120, 80, 66), (196, 190, 178), (140, 130, 122),
    (168, 140, 100), (98, 90, 88), (205, 175, 150),
)  # fmt: skip
CARS: tuple[Color, ...] = (
    (40, 42, 48), (190, 192, 196), (120, 20, 24), (30, 50, 110), (90, 94, 98), (225, 225, 222),
    (40, 80, 60), (160, 150, 60),
)  # fmt: skip
CLOTHES: tuple[Color, ...] = (
    (40, 40, 50), (150, 40, 40), (60, 80, 140), (200, 190, 170), (30, 80, 50), (90, 60, 90),
)  # fmt: skip
SIGNS: tuple[Color, ...] = ((200, 30, 30), (30, 60, 180), (235, 235, 235), (225, 190, 40))


def varied(color: Color, random: Random, spread: float = 12.0) -> Color:
    """`color` with a random brightness and a small random tint."""
    values = np.array(color) * random.uniform(0.8, 1.15) + random.normal(0, spread / 2, 3)
    return tuple(float(value) for value in np.clip(values, 5, 250))  # type: ignore[return-value]


def choose(colors: tuple[Color, ...], random: Random) -> Color:
    """One of `colors`, varied."""
    return varied(colors[int(random.integers(len(colors)))], random)


def building(random: Random, side: float, x: float, length: float) -> Draw:
    """A house front along the road with its end wall, windows, and a door or a shop."""
    wall, glass = choose(FACADES, random), choose(((60, 70, 84), (110, 124, 138)), random)
    roof = varied((90, 70, 66), random)
    floors, floor_m = int(random.integers(2, 7)), random.uniform(2.7, 3.3)
    height, bay = floors * floor_m, random.uniform(1.8, 3.2)
    depth, sill = random.uniform(6, 14), random.uniform(0.25, 0.4)
    shop = choose(FACADES, random) if random.random() < 0.35 else None
    pitched = random.random() < 0.4

    def draw(camera: Camera, z: float) -> None:
        z1 = z + length
        shade = 0.75 if camera.light.left > camera.light.right else 0.9
        inner, outer = sorted((side * x, side * (x + depth)))
        camera.front(z, (inner, outer), (0, height), wall, BUILDING, shade=shade)
        if pitched and z > NEAR_M:
            top = [(inner, height, z), (outer, height, z), ((inner + outer) / 2, height + 3, z)]
            camera.polygon(top, roof, BUILDING, shade=shade)
        camera.side(side * x, (z, z1), (0, height), wall, BUILDING)
        if pitched:
            camera.side(side * x, (z, z1), (height, height + 0.5), roof, BUILDING)
        if shop is not None:
            camera.side(side * x, (z + 0.3, z1 - 0.3), (0.1, floor_m * 0.8), shop, BUILDING)
        for level in range(1 if shop else 0, floors):
            y = (level + sill) * floor_m
            for at in np.arange(z1 - bay, z + 0.3, -bay):
                if at + bay * 0.6 > NEAR_M and z1 < 90:
                    span = (at, at + bay * 0.55)
                    camera.side(side * x, span, (y, y + floor_m * 0.5), glass, BUILDING)

    return draw


def tree(random: Random, x: float) -> Draw:
    """A trunk and a crown of overlapping leaves."""
    green = choose(((52, 84, 36), (70, 92, 44), (40, 62, 34), (96, 104, 50)), random)
    trunk = varied((70, 58, 46), random)
    bare = random.random() < 0.15
    height, radius = random.uniform(3.5, 8.0), random.uniform(1.2, 2.8)
    count = 14 if bare else 44
    spots = random.normal(0, 0.45, (count, 2)) * (radius, radius * 1.1)
    sizes = random.uniform(0.16, 0.42, count) * radius
    shades = random.uniform(0.55, 1.35, count)

    def draw(camera: Camera, z: float) -> None:
        camera.front(z, (x - 0.14, x + 0.14), (0, height), trunk, TREE)
        camera.disc((x, height, z), (radius * 0.8, radius * 0.9), green, TREE, shade=0.7)
        camera.round_discs((x + spots[:, 0], height + spots[:, 1], z), sizes, green, TREE, shades)

    return draw


def pole(random: Random, side: float, x: float) -> Draw:
    """A lamp post, its arm towards the road, or a plain post."""
    metal, height = varied((96, 98, 100), random), random.uniform(3.0, 8.0)
    width, lamp = random.uniform(0.07, 0.16), random.random() < 0.6

    def draw(camera: Camera, z: float) -> None:
        camera.front(z, (side * x, side * x + width), (0, height), metal, POLE)
        if lamp:
            arm = sorted((side * x, side * (x - 1.3)))
            camera.front(z, (arm[0], arm[1]), (height - 0.12, height), metal, POLE)

    return draw


def sign(random: Random, side: float, x: float) -> Draw:
    """A post with a round, square or three-light sign."""
    face, metal = choose(SIGNS, random), varied((110, 112, 114), random)
    inner = choose(SIGNS, random)
    y, half = random.uniform(2.0, 3.0), random.uniform(0.28, 0.5)
    kind = int(random.integers(3))

    def draw(camera: Camera, z: float) -> None:
        at = side * x
        camera.front(z, (at - 0.05, at + 0.05), (0, y), metal, POLE)
        if kind == 0:
            camera.disc((at, y, z), (half, half), face, SIGN)
            camera.disc((at, y, z), (half * 0.65, half * 0.65), inner, SIGN)
        elif kind == 1:
            camera.front(z, (at - half, at + half), (y - half, y + half), face, SIGN)
            camera.front(z, (at - half * 0.7, at + half * 0.7), (y, y + half * 0.5), inner, SIGN)
        else:
            camera.front(z, (at - 0.2, at + 0.2), (y - 0.2, y + 0.85), (30, 32, 30), SIGN)
            for light, color in enumerate(((40, 200, 80), (90, 80, 30), (90, 30, 30))):
                camera.disc((at, y + 0.3 * light, z), (0.11, 0.11), color, SIGN)

    return draw


def fence(random: Random, side: float, x: float, length: float) -> Draw:
    """Railings, boards or a hedge-high wall along the pavement."""
    color, height = varied((84, 80, 78), random), random.uniform(0.9, 1.9)
    bars = varied((50, 50, 52), random)
    step = random.uniform(0.25, 0.8)

    def draw(camera: Camera, z: float) -> None:
        camera.side(side * x, (z, z + length), (0, height), color, FENCE)
        for at in np.arange(z + length - step, z, -step):
            if NEAR_M < at < 40:
                camera.side(side * x, (at, at + step * 0.3), (0, height), bars, FENCE)
        camera.side(side * x, (z, z + length), (height * 0.93, height), bars, FENCE)

    return draw


def car(random: Random, x: float, *, oncoming: bool) -> Draw:
    """A car, a van or a bus, seen from ahead or behind, with its road-side flank."""
    paint, glass = choose(CARS, random), varied((50, 60, 70), random)
    tall = random.choice([0.0, 0.5, 1.3], p=[0.7, 0.2, 0.1])
    width, length = 1.75 + 0.3 * tall, 4.2 + 2.5 * tall
    body, roof = 0.85 + 0.3 * tall, 1.45 + 0.9 * tall
    light = (235, 230, 200) if oncoming else (170, 30, 30)

    def draw(camera: Camera, z: float) -> None:
        x0, x1 = x - width / 2, x + width / 2
        flank = x1 if x < 0 else x0
        camera.ground((x0 - 0.1, x1 + 0.1), (z, z + length), (40, 40, 42), ROAD)  # its shadow
        camera.side(flank, (z, z + length), (0.2, body), paint, CAR)
        camera.side(flank, (z + 0.8, z + length - 0.8), (body, roof), glass, CAR)
        for wheel in (0.8, length - 0.9):
            camera.side(flank, (z + wheel - 0.3, z + wheel + 0.3), (0, 0.6), (22, 22, 24), CAR)
        camera.front(z + 0.9, (x0 + 0.15, x1 - 0.15), (body, roof), paint, CAR, shade=0.9)
        camera.front(z + 0.85, (x0 + 0.25, x1 - 0.25), (body + 0.05, roof - 0.12), glass, CAR)
        camera.front(z, (x0, x1), (0.25, body), paint, CAR)
        for wheel_x in (x0 + 0.05, x1 - 0.3):
            camera.front(z, (wheel_x, wheel_x + 0.25), (0, 0.35), (22, 22, 24), CAR)
            camera.disc((wheel_x + 0.12, body - 0.18, z), (0.14, 0.09), light, CAR)
        camera.front(z, (x - 0.26, x + 0.26), (0.35, 0.48), (220, 215, 160), CAR)

    return draw


def pedestrian(random: Random, x: float, stride: float) -> Draw:
    """Somebody on foot; `stride` (radians) is where the step stands."""
    coat, legs = choose(CLOTHES, random), choose(CLOTHES, random)
    skin = choose(((200, 160, 130), (120, 84, 62)), random)
    height = random.uniform(1.5, 1.9)

    def draw(camera: Camera, z: float) -> None:
        swing = 0.16 * np.sin(stride)
        for foot in (-swing, swing):
            camera.front(z, (x + foot - 0.09, x + foot + 0.09), (0, height * 0.5), legs, PEDESTRIAN)
        camera.disc((x, height * 0.65, z), (0.25, height * 0.21), coat, PEDESTRIAN)
        camera.disc((x, height * 0.93, z), (0.12, 0.15), skin, PEDESTRIAN)

    return draw


def bicyclist(random: Random, x: float) -> Draw:
    """A rider on a bicycle, seen from behind or ahead."""
    coat, legs = choose(CLOTHES, random), choose(CLOTHES, random)
    skin, frame = choose(((200, 160, 130), (120, 84, 62)), random), (30, 30, 34)

    def draw(camera: Camera, z: float) -> None:
        camera.disc((x, 0.36, z), (0.09, 0.36), frame, BICYCLIST)
        camera.front(z, (x - 0.3, x + 0.3), (0.98, 1.05), frame, BICYCLIST)
        for leg in (-0.14, 0.14):
            camera.front(z, (x + leg - 0.08, x + leg + 0.08), (0.3, 1.0), legs, BICYCLIST)
        camera.disc((x, 1.25, z), (0.27, 0.38), coat, BICYCLIST)
        camera.disc((x, 1.68, z), (0.13, 0.16), skin, BICYCLIST)

    return draw
