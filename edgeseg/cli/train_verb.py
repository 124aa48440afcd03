"""edgeseg train."""

from pathlib import Path
from typing import Annotated

import typer

from edgeseg.cli.show import Json, Root, points, print_json, print_table, progress
from edgeseg.cli.zoo_options import Variants, variant_from


def command(
    name: Annotated[str, typer.Argument(help="A network of the zoo.")],
    data: Annotated[str, typer.Option(help="A data set with a train and a val split.")],
    root: Root = None,
    recipe: Annotated[
        str, typer.Option(help="default, compact, a system, or paper: the network's own system.")
    ] = "default",
    steps: Annotated[int | None, typer.Option(min=1, help="How long, in steps.")] = None,
    epochs: Annotated[
        float | None, typer.Option(min=0.01, help="How long, in passes over the pictures.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights and views.")] = 0,
    synthetic_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Views from the synthetic street.")
    ] = None,
    variant: Variants = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder of the run.")] = None,
    as_json: Json = False,
) -> None:
    """Train a network; the same command goes on where a run was interrupted."""
    from edgeseg.train import Training, train

    how = Training(
        network=name,
        data=data,
        root=root,
        recipe=recipe,
        variant=variant_from(variant),
        steps=steps,
        epochs=epochs,
        seed=seed,
        synthetic_share=synthetic_share,
    )
    with progress() as report:
        done = train(how, out or Path("training") / name, on_progress=report)
    if as_json:
        print_json(done)
        return
    rows = [(label, points(value)) for label, value in done.val_iou.items()]
    print_table(f"IoU on val after {done.steps} steps", ("class", "IoU"), rows)
    typer.echo(f"mIoU {done.val_miou:.2f}; weights in {done.weights}")
