"""Masks and overlays as pictures in a folder."""

import io
from pathlib import Path

from PIL import Image

from edgeseg.errors import OutputError
from edgeseg.files import write_whole
from edgeseg.types import Labels
from edgeseg.video.sinks import FrameView, SinkOptions

JPEG_QUALITY = 90


class FolderSink:
    """Writes `masks/NAME-000001.png` and `overlays/NAME-000001.jpg` for frame 1 of a source.

    The masks are palette PNGs: their values are the class ids, their palette the class colours.
    """

    takes_pictures = True

    def __init__(self, folder: Path, labels: Labels, *, name: str) -> None:
        self._masks, self._overlays = folder / "masks", folder / "overlays"
        self._palette = labels.palette().tobytes()
        self._name = name
        try:
            self._masks.mkdir(parents=True, exist_ok=True)
            self._overlays.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{folder} cannot be made into a folder of masks and overlays: {error.strerror}",
                fix="choose another target",
            ) from error

    def write(self, frame: FrameView) -> None:
        """Write the mask and the overlay of `frame`.

        Raises:
            OutputError: the folder cannot be written, or is full.
        """
        stem = f"{self._name}-{frame.index:06d}"
        mask = Image.fromarray(frame.labels)
        mask.putpalette(self._palette)
        encoded = io.BytesIO()
        mask.save(encoded, "PNG")
        write_whole(self._masks / f"{stem}.png", encoded.getvalue())
        encoded = io.BytesIO()
        Image.fromarray(frame.picture).save(encoded, "JPEG", quality=JPEG_QUALITY)
        write_whole(self._overlays / f"{stem}.jpg", encoded.getvalue())

    def close(self) -> None:
        """Do nothing: every file is complete when `write` returns."""


def open_folder(rest: str, wanted: SinkOptions) -> FolderSink:
    """The sink that writes into the folder at `rest`, its files named after it.

    Raises:
        OutputError: the folder cannot be made.
    """
    folder = Path(rest)
    return FolderSink(folder, wanted.labels, name=folder.absolute().name or "frame")
