"""What a user writes for a source or a sink, taken apart: scheme, rest and options."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from edgeseg.errors import UsageError
from edgeseg.tables import known
from edgeseg.video.credentials import shown

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi")

# Schemes that users know from other tools and that no file here serves yet.
NOT_YET = frozenset({"rtp", "webrtc"})

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


class Address(NamedTuple):
    """A URI in two parts; a plain path has the scheme "file" or "folder"."""

    scheme: str
    rest: str


def source_address(uri: str, schemes: Mapping[str, str]) -> Address:
    """The Address of a source: a folder that exists is "folder", any other path is "file"."""
    address = _split(uri, schemes, kind="source")
    if address.scheme == "file" and Path(address.rest).is_dir():
        return Address("folder", address.rest)
    return address


def sink_address(uri: str, schemes: Mapping[str, str]) -> Address:
    """The Address of a sink: a path with the suffix of a video is "file".

    A path that ends in a slash, has no suffix, or is a folder already is "folder".

    Raises:
        UsageError: a suffix that is not one of a video file.
    """
    address = _split(uri, schemes, kind="sink")
    path = Path(address.rest)
    suffix = path.suffix.lower()
    if address.scheme != "file" or (suffix in VIDEO_SUFFIXES and not address.rest.endswith("/")):
        return address
    if address.rest.endswith("/") or not suffix or path.is_dir():
        return Address("folder", address.rest)
    raise UsageError(
        f"{path.name} is not a video file by its name",
        fix=f"use one of {', '.join(VIDEO_SUFFIXES)}, or end the name of a folder with /",
    )


def options_of(rest: str, accepted: tuple[str, ...], *, scheme: str) -> dict[str, str]:
    """The options of `scheme://?KEY=VALUE&...`.

    Raises:
        UsageError: an option that `accepted` does not name, one given twice, or a path.
    """
    path, _, query = rest.partition("?")
    usage = f"{scheme}://?KEY=VALUE with the keys {', '.join(accepted)}"
    if path.strip("/") or (query and not accepted):
        raise UsageError(
            f"{scheme}:// does not take {rest!r}",
            fix=f"write {usage}" if accepted else f"write {scheme}:// and no more",
        )
    options: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        known(dict.fromkeys(accepted), key, kind=f"option of {scheme}://")
        if key in options:
            raise UsageError(f"{scheme}:// got {key} twice", fix=f"give {key} once")
        options[key] = value
    return options


def _split(uri: str, schemes: Mapping[str, str], *, kind: str) -> Address:
    if not uri:
        raise UsageError(f"the {kind} is empty", fix="give a path or a URI")
    matched = _SCHEME.fullmatch(uri)
    if matched is None:
        scheme, rest = ("v4l2" if uri.startswith(("/dev/video", "/dev/v4l/")) else "file"), uri
    else:
        scheme, rest = matched[1].lower(), matched[2]
    if scheme in NOT_YET and scheme not in schemes:
        raise UsageError(
            f"{shown(uri)}: the {kind} {scheme}:// is not there yet",
            fix=f"what is: {', '.join(f'{name}://' for name in sorted(schemes))}, or a plain path",
        )
    known(schemes, scheme, kind=kind)
    if matched is not None and scheme in {"file", "folder"}:
        rest = unquote(rest.removeprefix("localhost"))
    return Address(scheme, rest)
