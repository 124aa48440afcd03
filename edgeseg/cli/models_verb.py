"""edgeseg models."""

from edgeseg.cli.show import Json, print_json, print_table


def command(as_json: Json = False) -> None:
    """List the networks of the zoo: paper, parameters, MACs, weights."""
    from edgeseg.models import models

    found = models()
    if as_json:
        print_json(found)
        return
    print_table(
        "Networks",
        ("name", "paper", "parameters", "GMAC", "at", "shipped weights"),
        [
            (
                model.name,
                model.paper,
                "-" if model.parameters is None else f"{model.parameters / 1e6:.2f} M",
                "-" if model.macs is None else f"{model.macs / 1e9:.2f}",
                model.size or "-",
                model.weights,
            )
            for model in found
        ],
    )
