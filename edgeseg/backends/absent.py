"""What stands where a plan is still to be compiled."""

from collections.abc import Mapping

from edgeseg.errors import EngineMismatch
from edgeseg.types import Slot, TensorSpec


class NoRunner:
    """Stands where a plan is still to be compiled."""

    inputs: Mapping[str, TensorSpec] = {}
    outputs: Mapping[str, TensorSpec] = {}

    def launch(self, slot: Slot) -> None:
        """Refuse: nothing was compiled."""
        del slot
        raise EngineMismatch(
            "this engine has no plan yet", fix="edgeseg build FOLDER --backend auto"
        )

    def close(self) -> None:
        """Nothing to free."""
