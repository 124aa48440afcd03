"""Options that say how TensorRT compiles a plan, and how it is run."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edgeseg.errors import UsageError
from edgeseg.types import RuntimeOptions

if TYPE_CHECKING:
    from edgeseg.recipe import PlanOptions

Workspace = Annotated[
    int | None, typer.Option(min=16, metavar="MIB", help="TensorRT: scratch memory of a kernel.")
]
Level = Annotated[
    int | None, typer.Option(min=0, max=5, help="TensorRT: how long it chooses among kernels.")
]
Compatible = Annotated[
    bool, typer.Option("--version-compatible", help="TensorRT: later versions load it too.")
]
TimingCache = Annotated[
    bool, typer.Option(help="TensorRT: remember measured kernels in engines/.cache.")
]
Cameras = Annotated[
    int | None, typer.Option(min=1, max=64, help="TensorRT: frames that one launch takes.")
]
Dla = Annotated[int | None, typer.Option(min=0, metavar="CORE", help="TensorRT: run on a DLA.")]
Fallback = Annotated[
    bool, typer.Option("--gpu-fallback", help="With --dla: the GPU does what a DLA cannot.")
]
Memory = Annotated[
    Literal["auto", "mapped", "managed", "copy"] | None,
    typer.Option(help="How frames reach a GPU."),
]
Sync = Annotated[
    Literal["blocking", "spin"] | None, typer.Option(help="How a thread waits for a GPU.")
]


def plan_from(
    *,
    workspace: int | None,
    level: int | None,
    compatible: bool,
    timing_cache: bool,
    cameras: int | None,
    dla: int | None,
    fallback: bool,
) -> "PlanOptions | None":
    """What was said of the plan; None where nothing was.

    Raises:
        UsageError: --gpu-fallback without --dla.
    """
    from edgeseg.recipe import PlanOptions

    if fallback and dla is None:
        raise UsageError("--gpu-fallback is for what a DLA cannot run", fix="add --dla 0")
    said = PlanOptions(
        workspace_mib=workspace,
        optimization_level=level,
        version_compatible=compatible,
        timing_cache=timing_cache,
        cameras=cameras or 1,
        dla=dla,
        gpu_fallback=fallback,
    )
    return None if said == PlanOptions() else said


def runtime_from(memory: str | None, sync: str | None) -> RuntimeOptions | None:
    """What was said of running on a GPU; None where nothing was."""
    if memory is None and sync is None:
        return None
    return RuntimeOptions(memory=memory or "auto", sync=sync or "blocking")  # type: ignore[arg-type]
