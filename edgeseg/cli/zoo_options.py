"""The options of a network of the zoo: its variant, and inference at several scales."""

from typing import Annotated, Any

import typer

from edgeseg.errors import UsageError

Weights = Annotated[
    str | None,
    typer.Option(help="Own weights in any layout that `models` lists, or random for speed alone."),
]
Variants = Annotated[
    list[str] | None,
    typer.Option("--variant", help="Of the network, such as width=0.5; repeatable.", metavar="K=V"),
]
Scales = Annotated[
    str | None, typer.Option(help="Run at each scale and fuse, such as 1,0.75,0.5.", metavar="S,S")
]
Flip = Annotated[bool, typer.Option("--flip", help="Run on the mirrored picture as well.")]
Fusion = Annotated[
    str | None, typer.Option(help="Of the runs: mean (of scores), softmax-mean or max.")
]


def variant_from(options: list[str] | None) -> dict[str, Any]:
    """The keyword arguments that `key=value` options mean; 1,2,4 is a tuple of numbers.

    Raises:
        UsageError: an option without `=`.
    """
    values: dict[str, Any] = {}
    for option in options or ():
        key, equals, text = option.partition("=")
        if not (key and equals and text):
            raise UsageError(f"--variant {option!r} is no KEY=VALUE", fix="--variant width=0.5")
        parts = [_value(part) for part in text.split(",")]
        values[key.replace("-", "_")] = tuple(parts) if len(parts) > 1 else parts[0]
    return values


def scales_from(text: str | None) -> tuple[float, ...] | None:
    """The scales that `1,0.75,0.5` means.

    Raises:
        UsageError: not numbers from 0.1 to 4.
    """
    if text is None:
        return None
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        scales = ()
    if not scales or not all(0.1 <= scale <= 4 for scale in scales):
        raise UsageError(
            f"--scales {text!r} are no scales", fix="give numbers from 0.1 to 4: --scales 1,0.75"
        )
    return scales


def _value(text: str) -> bool | int | float | str:
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
