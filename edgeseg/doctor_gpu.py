"""The NVIDIA GPU and its driver, asked through CUDA; what refuses becomes a finding."""

from pathlib import Path

from edgeseg.device.memory import GpuFacts
from edgeseg.device.nvidia_smi import Card, cards
from edgeseg.device.sysfs import Ask, found, output_of
from edgeseg.doctor_finding import Finding, fine, open_question, wrong
from edgeseg.errors import DeviceError, MissingPackage


def gpu_findings(root: Path, *, jetson: bool, ask: Ask = output_of) -> list[Finding]:
    """What CUDA says of the GPU, and nvidia-smi of each card."""
    known = cards(ask)
    present = jetson or bool(found(root, "dev/nvidia[0-9]*")) or bool(known)
    try:
        seen = _facts()
    except (DeviceError, MissingPackage) as error:
        seen = wrong("NVIDIA GPU", error.problem, error.fix) if present else _without(error)
    return [seen, *_slowed(known)]


def _without(error: DeviceError | MissingPackage) -> Finding:
    """Nothing is wrong with a machine that has no GPU, nor with one that cannot ask for one."""
    reason = f" ({error.problem})" if isinstance(error, DeviceError) else ""
    return open_question("NVIDIA GPU", f"none was seen: engines run on the CPU{reason}")


def _facts() -> Finding:
    """The GPU by its own account.

    Raises:
        MissingPackage: nothing is installed that could ask it.
        DeviceError: there is none, or its driver is missing or too old.
    """
    from edgeseg.device.choice import mode_for, open_device

    device = open_device()
    try:
        how = f"driven by {device.package}; --memory auto is {mode_for(device.facts)}"
        return fine("NVIDIA GPU", f"{_in_words(device.facts)}; {how}")
    finally:
        device.close()


def _in_words(facts: GpuFacts) -> str:
    capability = "{}.{}".format(*facts.compute_capability)
    driver = "{}.{}".format(*facts.driver)
    return (
        f"{facts.name}, compute capability {capability}, {facts.multiprocessors} multiprocessors, "
        f"{facts.total_memory_mib} MiB, driver for CUDA {driver}"
    )


def _slowed(known: list[Card]) -> list[Finding]:
    return [
        wrong(
            f"clocks of {card.name}",
            f"slowed down: {', '.join(card.slowed_by)}",
            "nvidia-smi -q -d PERFORMANCE",
        )
        for card in known
        if card.slowed_by
    ]
