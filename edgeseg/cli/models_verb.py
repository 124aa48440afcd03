"""edgeseg models."""

from typing import TYPE_CHECKING

from edgeseg.cli.show import Json, print_json, print_table

if TYPE_CHECKING:
    from edgeseg.models import Model

COLUMNS = ("network", "cost", "one score", "weights")


def command(as_json: Json = False) -> None:
    """List the networks of the zoo: paper, cost, geometry, whose weights load, what ships."""
    from edgeseg.models import models

    found = models()
    if as_json:
        print_json(found)
        return
    classes = next((model.classes for model in found if model.classes), None)
    title = f"Networks; cost with {classes} classes" if classes else "Networks"
    print_table(title, COLUMNS, [_cells(model) for model in found])


def _cells(model: "Model") -> tuple[str, ...]:
    weights = [f"loads {', '.join(model.authors)}"] if model.authors else []
    weights += [f"ships {model.weights}"] if model.weights != "none" else []
    return (
        f"{model.name}\n{model.paper}, {model.year}",
        _cost(model),
        _geometry(model),
        "\n".join(weights) or "-",
    )


def _cost(model: "Model") -> str:
    if model.parameters is None or model.macs is None:
        return "-"
    return f"{model.parameters / 1e6:.2f} M\n{model.macs / 1e9:.1f} GMAC\nat {model.size}"


def _geometry(model: "Model") -> str:
    field = model.receptive_field
    if field is None:
        return "-"
    sees = f"sees {field} px" if isinstance(field, int) else f"sees {field}"
    return f"stride {model.output_stride}\nencoder {model.encoder_stride}\n{sees}"
