"""edgeseg doctor."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseg.cli.camera_report import report_cameras
from edgeseg.cli.show import Json, print_json, print_table
from edgeseg.errors import UsageError

if TYPE_CHECKING:
    from edgeseg.doctor import Check, Diagnosis

MARKS = {True: "well", False: "WRONG", None: "-"}


def command(
    as_json: Json = False,
    camera: Annotated[
        bool, typer.Option("--camera", help="Look at the cameras, and take a picture of each.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="With --camera: folder for the pictures.")
    ] = None,
) -> None:
    """Say which backends and packages are usable here, why the others are not, and the mends."""
    if camera:
        report_cameras(picture, as_json=as_json)
        return
    if picture is not None:
        raise UsageError("--picture is for --camera", fix="edgeseg doctor --camera --picture DIR")
    from edgeseg.doctor import doctor

    found = doctor()
    if as_json:
        print_json(found)
        return
    print_diagnosis(found)


def print_diagnosis(found: "Diagnosis") -> None:
    """The findings come last: what is to be done then stands at the end of the screen."""
    print_table(
        "Machine",
        ("", ""),
        [(key, str(value)) for key, value in found.machine.items() if value is not None],
    )
    print_table(
        "Backends",
        ("backend", "usable", "why"),
        [(check.name, "yes" if check.usable else "no", check.detail) for check in found.backends],
    )
    print_table(
        "Packages",
        ("package", "for", "version or remedy"),
        [(check.name, check.what_for, _briefly(check, found)) for check in found.packages],
    )
    print_table(
        "Board and GPU",
        ("", "", "seen"),
        [(one.name, MARKS[one.ok], one.seen) for one in found.findings],
    )
    for one in sorted(found.findings, key=lambda one: one.ok is not False):
        if one.mend:  # as a line, not as a cell: commands are copied from here
            typer.echo(f"{one.name}: {'mend' if one.ok is False else 'if you like'}: {one.mend}")
    for note in found.notes:
        typer.echo(f"note: {note}")


def _briefly(check: "Check", found: "Diagnosis") -> str:
    """Without the remedy where the backend of that name, a table above, has it."""
    told = {backend.name for backend in found.backends if not backend.usable}
    return check.detail.partition(";")[0] if check.name in told else check.detail
