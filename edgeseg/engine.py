"""An opened engine: a checked folder, a loaded plan, and the slots that frames live in."""

import hashlib
import logging
import tempfile
from pathlib import Path
from types import ModuleType, TracebackType

import numpy as np

from edgeseg.backends import backend
from edgeseg.backends.absent import NoRunner
from edgeseg.backends.chosen import chosen
from edgeseg.backends.host_slots import computed_at_once, host_slot, workers_on_a_cpu
from edgeseg.errors import EngineMismatch, OutputError, UsageError
from edgeseg.files import write_whole
from edgeseg.manifest import Manifest, check_files, check_fingerprint, read_manifest
from edgeseg.tables import needs
from edgeseg.types import (
    CompileOptions,
    Labels,
    MakesSlots,
    MakesStates,
    Pixels,
    Precision,
    Runner,
    RuntimeOptions,
    Size,
    Slot,
    State,
)
from edgeseg.video.rgb import write_rgb

GRAPH = "graph.onnx"
WORKERS_BESIDE_A_GPU = 3
"""One decodes, one waits for the GPU, one draws."""

log = logging.getLogger(__name__)


class Engine:
    """A network that takes camera frames and gives class ids. Owns its slots; close it."""

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        runner: Runner,
        *,
        backend_name: str,
        workers: int,
        threads: int | None,
        runtime: RuntimeOptions | None = None,
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.labels: Labels = manifest.to_labels()
        self.backend_name = backend_name
        self.workers = workers
        self._threads, self._runtime = threads, runtime
        self._runner = runner
        self._slot: Slot | None = None
        self._other_size: Engine | None = None
        self._closed = False

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        backend_name: str = "auto",
        workers: int = 1,
        threads: int | None = None,
        runtime: RuntimeOptions | None = None,
    ) -> "Engine":
        """The engine in `folder`, ready for `workers` frames at once over `threads` threads.

        `runtime` is how a GPU is used; None is what suits the one at hand.

        Raises:
            UsageError: `runtime` asks something of a GPU, and the plan is for a CPU.
            EngineMismatch: the folder was altered, or no plan in it fits this machine.
            MissingPackage: the plan's backend is not installed.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        check_files(folder, manifest)
        name = chosen(manifest, backend_name, folder)
        plan = manifest.plans[name]
        module = backend(name)
        check_fingerprint(plan.fingerprint, module.fingerprint(), folder, name)
        body = (folder / plan.file).read_bytes()
        at_once = computed_at_once(workers, smooth=manifest.smooth)
        runner = module.load(body, workers=at_once, threads=threads, runtime=runtime)
        return cls(
            folder,
            manifest,
            runner,
            backend_name=name,
            workers=workers,
            threads=threads,
            runtime=runtime,
        )

    @classmethod
    def without_plan(cls, folder: Path) -> "Engine":
        """The engine in a folder that was built `until graph`: it describes itself, no more."""
        return cls(
            folder, read_manifest(folder), NoRunner(), backend_name="none", workers=1, threads=None
        )

    @property
    def frame_size(self) -> Size:
        """(height, width) of the frames that this engine takes."""
        return self.manifest.frame_size

    @property
    def mask_size(self) -> Size:
        """(height, width) of the labels."""
        return Size(*self._runner.outputs["labels"].shape[-2:])

    @property
    def memory_mode(self) -> str | None:
        """How frames reach the GPU: mapped, managed or copy; None on a CPU."""
        return self._runner.memory_mode if isinstance(self._runner, MakesSlots) else None

    def new_slot(self) -> Slot:
        """Memory for one more frame in flight; allocate slots before the loop, not in it.

        On a GPU it goes with `close`: the slot is empty then, and arrays that were taken out of it
        are not to be touched any more.

        Raises:
            DeviceError: a GPU has no memory left.
        """
        self._refuse_unusable()
        if isinstance(self._runner, MakesSlots):
            return self._runner.new_slot()
        return host_slot(self._runner)

    def new_state(self) -> State | None:
        """The memory of one camera, for `Slot.state`; None where the engine remembers nothing."""
        return self._runner.new_state() if isinstance(self._runner, MakesStates) else None

    def launch(self, slot: Slot) -> None:
        """Run on what lies in `slot.pixels`; the ids are in `slot.labels` afterwards."""
        self._runner.launch(slot)
        if slot.pending is not None:
            slot.pending()

    def default_workers(self) -> int:
        """How many frames to work on at once where the user does not say.

        On a CPU two more than the cores that this process may use: while some wait, others work.
        """
        if isinstance(self._runner, MakesSlots):
            return WORKERS_BESIDE_A_GPU
        return workers_on_a_cpu()

    def __call__(self, image: Pixels) -> Pixels:
        """Class ids uint8 (H, W) of one RGB picture uint8 (H, W, 3); a fresh array each time.

        Raises:
            UsageError: `image` is no such array, or the engine was closed.
            EngineMismatch: its size is another one, and the backend cannot be made to take it.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise UsageError(
                f"an engine takes uint8 (H, W, 3) RGB, got {image.dtype} {image.shape}",
                fix="convert the picture, for example with cv2.cvtColor",
            )
        self._refuse_unusable()
        size = Size(*image.shape[:2])
        if size != self.frame_size:
            if self._other_size is None or self._other_size.frame_size != size:
                other = self.at(size)  # first, since the size may be refused
                if self._other_size is not None:
                    self._other_size.close()
                self._other_size = other
            return self._other_size(image)
        if self._slot is None:
            self._slot = self.new_slot()
        write_rgb(image, self._slot.pixels, self.manifest.frame_format, yuv=self.manifest.yuv_kind)
        self.launch(self._slot)
        return self._slot.labels.copy()

    def at(self, size: Size, *, workers: int | None = None, threads: int | None = None) -> "Engine":
        """The same network for frames of `size`, for `workers` at once; None keeps what is.

        For another size head and tail are made anew, and the plan is kept in the folder for the
        next time. What the manifest says was measured was measured at the engine's own size.

        Raises:
            EngineMismatch: the backend cannot take another size (TensorRT).
        """
        self._refuse_unusable()
        manifest, folder = self.manifest, self.folder
        if size == self.frame_size:
            plan = (folder / manifest.plans[self.backend_name].file).read_bytes()
        elif self.backend_name == "tensorrt":
            raise EngineMismatch(
                f"{folder} was built for {self.frame_size} frames, not {size}",
                fix=f"edgeseg build {folder / 'recipe.toml'} --frame {size}, or run with --scale",
            )
        else:
            log.info("making head and tail of %s anew for %s frames", folder, size)
            manifest = manifest.model_copy(update={"frame": str(size)})
            plan = self._plan_at(size, manifest)
        workers, threads = workers or self.workers, threads or self._threads
        at_once = computed_at_once(workers, smooth=manifest.smooth)
        runner = backend(self.backend_name).load(
            plan, workers=at_once, threads=threads, runtime=self._runtime
        )
        return Engine(
            folder,
            manifest,
            runner,
            backend_name=self.backend_name,
            workers=workers,
            threads=threads,
            runtime=self._runtime,
        )

    def moved_to(self, size: Size, *, workers: int) -> "Engine":
        """What `at` gives, for a caller who needs this engine no more: closed, or the same one.

        A GPU holds the plan once that way, not twice.
        """
        if isinstance(self._runner, MakesSlots) and size == self.frame_size:
            self.workers = workers
            return self
        moved = self.at(size, workers=workers)
        self.close()
        return moved

    def _plan_at(self, size: Size, manifest: Manifest) -> bytes:
        """The plan for another size, from the folder's cache or compiled and put there."""
        plan = self.manifest.plans[self.backend_name]
        key = hashlib.sha256(
            f"{self.manifest.files[plan.file]} {sorted(plan.fingerprint.items())}".encode()
        ).hexdigest()[:16]
        cached = self.folder / "cache" / f"{plan.file}.{size}.{key}"
        if cached.is_file():
            digest, _, body = cached.read_bytes().partition(b"\n")
            if digest.decode(errors="replace") == hashlib.sha256(body).hexdigest():
                return body
        module = backend(self.backend_name)
        with needs("graph"):
            from edgeseg.graph.reframe import reframed

        graph = reframed(self.folder / GRAPH, manifest)
        body = compiled(module, graph, self.manifest.precision)
        try:
            write_whole(cached, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        except OutputError as error:
            log.warning("the plan for %s frames is not kept: %s", size, error.problem)
        return body

    def _refuse_unusable(self) -> None:
        if self._closed:
            raise UsageError(f"the engine {self.folder} was closed", fix="open it again")
        if not self._runner.inputs:
            raise EngineMismatch(
                f"{self.folder} has no plan yet", fix=f"edgeseg build {self.folder} --backend auto"
            )

    def close(self) -> None:
        """Free the network; closing twice is fine."""
        self._closed, self._slot = True, None
        self._runner.close()
        if self._other_size is not None:
            self._other_size.close()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def compiled(module: ModuleType, graph: bytes, precision: Precision) -> bytes:
    """The plan that the backend `module` makes of a serialised frame graph."""
    if precision is Precision.INT8 and module.NEEDS:
        with needs("graph"):
            from edgeseg.graph.prepare import prepared_bytes

        graph = prepared_bytes(graph, module.NEEDS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / GRAPH
        path.write_bytes(graph)
        plan: bytes = module.compile(path, CompileOptions(precision=precision))
    return plan
