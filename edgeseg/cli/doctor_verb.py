"""edgeseg doctor."""

import typer

from edgeseg.cli.show import Json, print_json, print_table

MARKS = {True: "well", False: "WRONG", None: "-"}


def command(as_json: Json = False) -> None:
    """Say which backends and packages are usable here, why the others are not, and the mends."""
    from edgeseg.doctor import doctor

    found = doctor()
    if as_json:
        print_json(found)
        return
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
        [(check.name, check.what_for, check.detail) for check in found.packages],
    )
    print_table(
        "Board and GPU",
        ("", "", "seen", "mend"),
        [(one.name, MARKS[one.ok], one.seen, one.mend) for one in found.findings],
    )
    for note in found.notes:
        typer.echo(f"note: {note}")
