"""What a live benchmark must reach, beside what was measured."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

Relation: TypeAlias = Literal["<", "<=", ">=", "="]
RELATIONS: dict[Relation, Callable[[float, float], bool]] = {
    "<": lambda value, limit: value < limit,
    "<=": lambda value, limit: value <= limit,
    ">=": lambda value, limit: value >= limit,
    "=": lambda value, limit: value == limit,
}


@dataclass(frozen=True, kw_only=True)
class Target:
    """What must be so, and what was measured."""

    what: str
    measured: float
    relation: Relation
    limit: float
    met: bool


def target(what: str, value: float, relation: Relation, limit: float) -> dict[str, Any]:
    """A Target for the JSON, said aloud."""
    met = RELATIONS[relation](value, limit)
    print(f"{'PASS' if met else 'FAIL'}  {what}: {value:.2f} {relation} {limit:.2f}", flush=True)
    made = Target(
        what=what, measured=float(value), relation=relation, limit=float(limit), met=bool(met)
    )
    return asdict(made)
