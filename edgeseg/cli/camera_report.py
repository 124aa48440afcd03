"""What `edgeseg doctor --camera` prints."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgeseg.cli.show import print_json, print_table

if TYPE_CHECKING:
    from edgeseg.doctor_camera import CameraDiagnosis, CameraSeen, FormatOffered

MARKS = {True: "well", False: "WRONG", None: "-"}


def report_cameras(folder: Path | None, *, as_json: bool) -> None:
    """Look at the cameras, put pictures into `folder` or a temporary one, and print all of it."""
    from edgeseg.doctor_camera import doctor_cameras

    found = doctor_cameras(folder)
    if as_json:
        print_json(found)
    else:
        print_cameras(found)


def print_cameras(found: "CameraDiagnosis") -> None:
    """The cameras, the ways to them, and last what is to be done."""
    for camera in found.cameras:
        _print_camera(camera)
    print_table(
        "Ways to a camera",
        ("by", "usable", "for", "why"),
        [(one.name, "yes" if one.usable else "no", one.what_for, one.detail) for one in found.ways],
    )
    print_table(
        "Cameras",
        ("", "", "seen"),
        [(one.name, MARKS[one.ok], one.seen) for one in found.findings],
    )
    for one in found.findings:
        if one.mend:
            typer.echo(f"{one.name}: {'mend' if one.ok is False else 'look'}: {one.mend}")


def _print_camera(camera: "CameraSeen") -> None:
    title = f"{camera.device}: {camera.name or 'no name'} ({camera.kind})"
    rows = [
        (one.format if one.read else f"{one.format}, not read", _sizes(one))
        for one in camera.formats
    ]
    if not rows:
        typer.echo(title)
    else:
        print_table(title, ("format", "sizes, each with its greatest rate"), rows)
    for source in camera.opens:
        typer.echo(
            f"  edgeseg run ENGINE '{source}'"
            if " " in source
            else f"  edgeseg run ENGINE {source}"
        )


def _sizes(offered: "FormatOffered") -> str:
    return ", ".join(
        f"{one.width}x{one.height}" + (f" at {one.fps[0]:g}" if one.fps else "")
        for one in offered.sizes
    )
