"""Pictures to calibrate or verify with: a data set, a folder, a list of paths, a video."""

import hashlib
import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from edgeseg.datasets import DATASETS, open_dataset, spread
from edgeseg.errors import InputFileError, UnreadablePicture
from edgeseg.frames import Source
from edgeseg.tables import needs
from edgeseg.types import Array, Dataset, LabelledFrame, Labels, Pixels, Size

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mkv", ".mov", ".avi", ".m4v", ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".flv",
     ".h264", ".h265", ".hevc", ".y4m", ".mjpeg"}
)  # fmt: skip
MOST_FRAMES = 1024
"""Of one video, however long: spread evenly over it, before near-duplicates are left out."""
SIGNATURE = Size(32, 32)
NEAR = 2.0
"""Frames whose signatures differ by less than this many grey levels on average are the same."""
NO_CLASSES = Labels(names=("class 0",), colors=((128, 128, 128),))
"""Without masks no class id is read, so one nameless class does."""

FORMS = (
    "give a data set (camvid:train, folder, synthetic), a folder of pictures, a .txt file with "
    "one picture path a line, or a video file"
)

log = logging.getLogger(__name__)


def open_pictures(
    text: str, *, root: Path | None = None, split: str = "train", count: int | None = None
) -> Dataset:
    """The pictures that `text` names: a data set as `open_dataset` takes it, or a path.

    A path is a folder (PATH:SPLIT for one of its splits), a .txt list of pictures, one picture
    or a video; `root` is of no use to it. `count` limits them to that many, spread evenly.

    Raises:
        UsageError: no such data set or split, or `root` is missing where it is needed.
        InputFileError: the path is missing or holds no pictures.
        VideoError: a video of which no frame can be decoded.
    """
    if text.partition(":")[0] in DATASETS or not _is_path(text):
        return open_dataset(text, root=root, split=split, count=count)
    opened = _opened(text, split)
    return opened if count is None else spread(opened, count)


class PictureFiles:
    """Pictures without masks, by their paths; each goes by the name it was listed under."""

    def __init__(self, name: str, names: Sequence[str], folder: Path) -> None:
        self.name = name
        self.labels = NO_CLASSES
        self._names = names
        self._folder = folder

    def __len__(self) -> int:
        return len(self._names)

    def frame_names(self) -> list[str]:
        """The listed names, in order."""
        return list(self._names)

    def digest(self, index: int) -> str:
        """SHA-256 of the bytes of picture file number `index`."""
        path = self._folder / self._names[index]
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise UnreadablePicture(
                f"{path} cannot be read: {error.strerror}", fix="check its permissions"
            ) from error

    def frame(self, index: int) -> LabelledFrame:
        """Picture number `index`; UnreadablePicture where it cannot be decoded."""
        with needs("video"):
            from edgeseg.datasets.files import read_image
        name = self._names[index]
        return LabelledFrame(name, read_image(self._folder / name), None)


class VideoFrames:
    """Frames of a video file, spread over it, near-duplicates left out; turned as it says.

    The file is decoded once to choose them, and once for each pass over them in order; one
    frame is held at a time.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"video:{path.name}"
        self.labels = NO_CLASSES
        self._path = path
        self._indices = distinct_frames(path)
        self._file_digest = ""
        self._source: Source | None = None
        self._next = 0

    def __len__(self) -> int:
        return len(self._indices)

    def frame_names(self) -> list[str]:
        """File name and number in the video, in order."""
        return [f"{self._path.stem}-{index:06d}" for index in self._indices]

    def digest(self, index: int) -> str:
        """The file's SHA-256 and the number of the frame in it."""
        if not self._file_digest:
            with self._path.open("rb") as file:
                digest = hashlib.sha256()
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
            self._file_digest = digest.hexdigest()
        return f"{self._file_digest} {self._indices[index]}"

    def frame(self, index: int) -> LabelledFrame:
        """Chosen frame number `index`; reading them in order decodes the file once."""
        wanted = self._indices[index]
        if self._source is None or wanted < self._next:
            self.close()
            self._source = _video(self._path, None)
        image = np.empty((*self._source.info.size, 3), np.uint8)
        while self._next <= wanted:
            if self._source.read_into(image) is None:
                raise UnreadablePicture(
                    f"{self._path} ends before frame {wanted}", fix="check that it plays"
                )
            self._next += 1
        if index == len(self) - 1:
            self.close()
        return LabelledFrame(self.frame_names()[index], image, None)

    def close(self) -> None:
        """Close the file; reading a frame opens it again."""
        if self._source is not None:
            self._source.close()
        self._source, self._next = None, 0


def distinct_frames(path: Path) -> list[int]:
    """The numbers of frames spread over the video at `path`, none like one before it.

    Two are alike where their 32x32 grey pictures differ by less than 2 levels on average.
    """
    state = path.stat() if path.is_file() else None
    return list(_distinct(path, (state.st_mtime_ns, state.st_size) if state else (0, 0)))


@lru_cache(maxsize=8)
def _distinct(path: Path, state: tuple[int, int]) -> tuple[int, ...]:
    """As `distinct_frames`; a build opens the same video several times, `state` tells it apart."""
    del state
    numbers, signatures = _spread_signatures(path)
    taken: list[int] = []
    for row, signature in enumerate(signatures):
        if not taken or np.abs(signatures[taken] - signature).mean(1).min() >= NEAR:
            taken.append(row)
    log.info("%s: %d of %d frames are unlike those before", path.name, len(taken), len(numbers))
    return tuple(numbers[row] for row in taken)


def _spread_signatures(path: Path) -> tuple[list[int], Array]:
    """At most MOST_FRAMES frame numbers, evenly apart, and what each frame looks like."""
    kept: list[tuple[int, Array]] = []
    stride, number = 1, 0
    source = _video(path, SIGNATURE)
    small: Pixels = np.empty((*SIGNATURE, 3), np.uint8)
    try:
        while source.read_into(small) is not None:
            if number % stride == 0:
                kept.append((number, small.mean(2, dtype=np.float32).ravel()))
            if len(kept) > MOST_FRAMES:
                kept, stride = kept[::2], stride * 2
            number += 1
    finally:
        source.close()
    return [index for index, _ in kept], np.stack([signature for _, signature in kept])


def _video(path: Path, scale_to: Size | None) -> Source:
    with needs("video"):
        from edgeseg.video.sources.video_file import VideoFile
    return VideoFile(path, scale_to=scale_to)


def _is_path(text: str) -> bool:
    """Whether `text` names something on disk, or is written like a path and not like a name."""
    return "/" in text or "\\" in text or bool(Path(text).suffix) or _exists(text)


def _exists(text: str) -> bool:
    return Path(text).exists() or Path(text.partition(":")[0]).exists()


def _opened(text: str, split: str) -> Dataset:
    with needs("video"):
        from edgeseg.datasets.files import IMAGE_SUFFIXES
        from edgeseg.datasets.folder import open_folder
    path = Path(text)
    before, colon, own_split = text.rpartition(":")
    if not path.exists() and colon and Path(before).is_dir():
        path, split = Path(before), own_split
    if path.is_dir():
        return open_folder(path, split)
    if not path.exists():
        raise InputFileError(f"{text} does not exist", fix=f"check the path, or {FORMS}")
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return PictureFiles(f"list:{path.name}", _listed(path), path.parent)
    if suffix in VIDEO_SUFFIXES:
        return VideoFrames(path)
    if suffix in IMAGE_SUFFIXES:
        return PictureFiles(f"picture:{path.name}", [path.name], path.parent)
    raise InputFileError(f"{text} is no file of pictures by its name", fix=FORMS)


def _listed(path: Path) -> list[str]:
    """The lines of a list that are no comments; every one must name a file."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(f"{path} cannot be read: {error}", fix="save it as UTF-8") from error
    names = [line for line in lines if line and not line.startswith("#")]
    form = "write one picture path a line, relative to the folder of the list"
    if not names:
        raise InputFileError(f"{path} lists no pictures", fix=form)
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing:
        raise InputFileError(
            f"{len(missing)} of {len(names)} pictures in {path} do not exist, such as "
            f"{missing[0]!r}",
            fix=form,
        )
    return names
