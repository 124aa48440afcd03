"""The classes of the data sets that public weights were trained on, by how many there are."""

from typing import NamedTuple


class Classes(NamedTuple):
    """Names and RGB colours, in the order of the ids."""

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]


def _voc_color(index: int) -> tuple[int, int, int]:
    """The colour of id `index` in PASCAL VOC's palette: its bits, three at a time, from the top."""
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= ((index >> (3 * place + channel)) & 1) << (7 - place)
    return channels[0], channels[1], channels[2]


VOC = Classes(
    names=(
        "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat",
        "chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant",
        "sheep", "sofa", "train", "tvmonitor",
    ),
    colors=tuple(_voc_color(index) for index in range(21)),
)  # fmt: skip

CITYSCAPES = Classes(
    names=(
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
        "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train",
        "motorcycle", "bicycle",
    ),
    colors=(
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153),
        (153, 153, 153), (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152),
        (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100),
        (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ),
)  # fmt: skip

BY_COUNT = {21: VOC, 19: CITYSCAPES}


def usual_classes(count: int) -> Classes:
    """What `count` classes usually are: VOC's 21, Cityscapes' 19, else the ids themselves."""
    if count in BY_COUNT:
        return BY_COUNT[count]
    return Classes(names=tuple(str(index) for index in range(count)), colors=())
