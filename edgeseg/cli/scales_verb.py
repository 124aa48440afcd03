"""edgeseg scales."""

from pathlib import Path
from typing import Annotated

import typer

from edgeseg.cli.show import Json, print_json, print_table
from edgeseg.types import size_from_text


def command(
    name: Annotated[str, typer.Argument(help="An attention-to-scale network of the zoo.")],
    image: Annotated[Path, typer.Argument(help="A picture.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The PNG to write.")],
    weights: Annotated[Path | None, typer.Option(help="Own weights of the network.")] = None,
    size: Annotated[str | None, typer.Option(help="Network input.", metavar="WxH")] = None,
    as_json: Json = False,
) -> None:
    """Show which scale of a picture Attention to Scale listens to, place by place."""
    from edgeseg.scales import scale_weights

    found = scale_weights(
        name, image, out, weights=weights, size=size_from_text(size) if size else None
    )
    if as_json:
        print_json(found)
        return
    print_table(
        str(found.picture),
        ("scale", "mean weight"),
        [(scale, f"{share:.3f}") for scale, share in found.shares.items()],
    )
