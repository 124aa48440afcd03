"""Which of an engine's plans runs on this machine."""

from pathlib import Path

from edgeseg.backends import BACKENDS, backend, why_not
from edgeseg.errors import EngineMismatch
from edgeseg.manifest import Manifest
from edgeseg.tables import known


def chosen(manifest: Manifest, name: str, folder: Path) -> str:
    """The backend that runs the engine in `folder`: `name`, or for `auto` the best one here.

    Raises:
        UsageError: no such backend.
        EngineMismatch: the folder has no plan for it, or none that can run here.
        MissingPackage, DeviceError: its only plan is for what this machine lacks.
    """
    if name != "auto":
        known(BACKENDS, name, kind="backend")
        if name not in manifest.plans:
            raise EngineMismatch(
                f"{folder} holds no {name} plan, only: {', '.join(manifest.plans) or 'none'}",
                fix=f"edgeseg build {folder} --backend {name}",
            )
        return name
    for candidate in BACKENDS:
        if candidate in manifest.plans and why_not(candidate) is None:
            return candidate
    if len(manifest.plans) == 1:  # what is missing for it has a mend and a code of its own
        backend(*manifest.plans)
    reasons = "; ".join(f"{plan}: {why_not(plan)}" for plan in manifest.plans)
    raise EngineMismatch(
        f"no plan in {folder} can run here ({reasons or 'it holds none'})",
        fix=f"edgeseg build {folder} --backend auto",
    )
