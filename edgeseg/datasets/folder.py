"""Any folder of pictures, with masks or without: what most people have."""

import colorsys
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from edgeseg.datasets.files import IMAGE_SUFFIXES, FilePairs, images_in
from edgeseg.errors import InputFileError, UsageError
from edgeseg.types import IGNORE, Labels

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Color: TypeAlias = tuple[int, int, int]

MASK_FOLDERS = ("masks", "labels")
CLASS_FILES = ("classes.json", "classes.toml", "labels.txt")

LAYOUTS = (
    "pictures in DIR, or in DIR/images with masks of the same stem in DIR/masks or DIR/labels "
    "(.png); DIR/SPLIT may stand for DIR"
)
CLASSES_FORM = (
    "write one class name a line into labels.txt, in the order of the ids, or into classes.json: "
    '[{"name": "road", "color": [128, 64, 128]}, ...]'
)


class _Classes(NamedTuple):
    labels: Labels
    void: int


def open_folder(root: Path | None, split: str) -> FilePairs:
    """The pictures under `root`, and their masks where there are any.

    `root`/`split` is used if it is there, else `root` itself is every split. The first file of
    CLASS_FILES beside the pictures' folder or in `root` names the classes.

    Raises:
        UsageError: no root.
        InputFileError: no pictures, some without a mask, or no readable list of classes.
    """
    if root is None:
        raise UsageError("folder needs a folder", fix="give it with --root DIR")
    if not root.is_dir():
        raise InputFileError(
            f"{root} is {'not a folder' if root.exists() else 'missing'}", fix=f"give {LAYOUTS}"
        )
    inner = root / split if split and (root / split).is_dir() else root
    images = inner / "images" if (inner / "images").is_dir() else inner
    pictures = _pictures(images, root)
    name = f"folder:{root.name}" + (f":{split}" if inner != root else "")
    masks = [inner / folder for folder in MASK_FOLDERS if (inner / folder).is_dir()]
    classes = _classes((inner, root), needed=bool(masks))
    if not masks:
        return FilePairs(name, classes.labels, [(picture, None) for picture in pictures])
    pairs = _paired(pictures, masks[0])
    return FilePairs(name, classes.labels, pairs, void=classes.void)


def palette(count: int) -> tuple[Color, ...]:
    """`count` colours, always the same: hues a golden angle apart, in three brightnesses."""
    colors = []
    for index in range(count):
        hue, bright = (index * 0.6180339887) % 1.0, (0.9, 0.65, 0.45)[index % 3]
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, bright)
        colors.append((round(red * 255), round(green * 255), round(blue * 255)))
    return tuple(colors)


def _pictures(images: Path, root: Path) -> list[Path]:
    try:
        pictures = images_in(images)
        found = sorted(path.name + "/" * path.is_dir() for path in images.iterdir())
    except OSError as error:
        raise InputFileError(
            f"{images} cannot be read: {error.strerror}", fix="check its permissions"
        ) from error
    if not pictures:
        holds = ", ".join(found[:8]) + (f" and {len(found) - 8} more" if found[8:] else "")
        raise InputFileError(
            f"{images} holds no pictures ({', '.join(sorted(IMAGE_SUFFIXES))}), but "
            f"{holds or 'nothing at all'}",
            fix=f"with --root {root}, give {LAYOUTS}",
        )
    return pictures


def _paired(pictures: Sequence[Path], masks: Path) -> list[tuple[Path, Path | None]]:
    pairs: list[tuple[Path, Path | None]] = [
        (picture, masks / f"{picture.stem}.png") for picture in pictures
    ]
    missing = [mask.name for _, mask in pairs if mask is not None and not mask.is_file()]
    if missing:
        raise InputFileError(
            f"{len(missing)} of {len(pairs)} pictures have no mask in {masks}, such as "
            f"{missing[0]}",
            fix="save each mask as PNG under the stem of its picture, or move these pictures away",
        )
    return pairs


def _classes(folders: Sequence[Path], *, needed: bool) -> _Classes:
    for folder in folders:
        for name in CLASS_FILES:
            if (folder / name).is_file():
                return _classes_from_file(folder / name)
    if needed:
        raise InputFileError(
            f"{folders[0]} has masks, but none of {', '.join(CLASS_FILES)} to name their classes",
            fix=CLASSES_FORM,
        )
    # Without masks no class id is read, so one nameless class does.
    return _Classes(Labels(names=("class 0",), colors=palette(1)), IGNORE)


def _classes_from_file(path: Path) -> _Classes:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".txt":
            entries: object = [line.strip() for line in text.splitlines() if line.strip()]
        else:
            entries = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        return _classes_from_document(entries)
    except OSError as error:
        raise InputFileError(
            f"{path} cannot be read: {error.strerror}", fix="check its permissions"
        ) from error
    except (ValueError, TypeError) as error:
        reason = error.problem if isinstance(error, UsageError) else error
        raise InputFileError(
            f"{path} does not list the classes: {reason}", fix=CLASSES_FORM
        ) from error


def _classes_from_document(document: object) -> _Classes:
    """From a list of names or of tables, or a table that holds one as `classes` or `names`."""
    entries: object = document
    void: int | None = None
    if isinstance(document, Mapping):
        entries = document.get("classes", document.get("names"))
        stated = document.get("void_id", document.get("ignore_index"))
        void = None if stated is None else int(stated)
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        raise ValueError("expected a list of class names")
    rows = [_row(entry) for entry in entries]
    if void is not None and void < len(rows):  # listed among the classes, as some data sets do
        if void != len(rows) - 1:
            raise ValueError(f"the void id {void} lies between classes; it must follow the last")
        rows.pop()
    colors = palette(len(rows))
    labels = Labels(
        names=tuple(name for name, _ in rows),
        colors=tuple(given or made for (_, given), made in zip(rows, colors, strict=True)),
    )
    return _Classes(labels, IGNORE if void is None else void)


def _row(entry: object) -> tuple[str, Color | None]:
    if isinstance(entry, str):
        return entry, None
    if not isinstance(entry, Mapping) or "name" not in entry:
        raise ValueError(f"{entry!r} is neither a name nor a table with a name")
    color = entry.get("color", entry.get("rgb"))
    return str(entry["name"]), None if color is None else _color(color)


def _color(value: object) -> Color:
    numbers = [int(channel) for channel in value] if isinstance(value, Sequence) else []
    if len(numbers) != 3 or not all(0 <= number <= 255 for number in numbers):
        raise ValueError(f"{value!r} is not a colour of three numbers from 0 to 255")
    return numbers[0], numbers[1], numbers[2]
