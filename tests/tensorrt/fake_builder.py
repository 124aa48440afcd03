"""The builder, its configuration, optimisation profiles and timing caches."""

import json
from typing import Any

from tests.tensorrt.fake_binding import Dims
from tests.tensorrt.fake_build import (
    MIB,
    activation_bytes,
    constraints,
    layer_key,
    layers_of,
    refusals,
)
from tests.tensorrt.fake_calibration import calibrated
from tests.tensorrt.fake_plan import HostMemory, packed
from tests.tensorrt.fake_state import State

NO_OBJECT = "pybind11::init(): factory function returned nullptr"
PHASES = ("Building Engine", "Tactic Selection")


class Builder:
    _fake: State

    def __init__(self, logger: Any) -> None:
        if self._fake.gpu is None:
            raise TypeError(NO_OBJECT)
        self._logger = logger

    @property
    def logger(self) -> Any:
        return self._logger

    @property
    def num_DLA_cores(self) -> int:  # noqa: N802
        return self._fake.board.dla_cores

    @property
    def max_threads(self) -> int:
        return 1

    @property
    def platform_has_fast_fp16(self) -> bool:
        return True

    @property
    def platform_has_fast_int8(self) -> bool:
        return True

    def create_network(self, flags: int) -> Any:
        return self._fake.new("INetworkDefinition", builder=self, flags=flags)

    def create_builder_config(self) -> Any:
        return self._fake.new("IBuilderConfig", logger=self._logger)

    def create_optimization_profile(self) -> Any:
        return self._fake.new("IOptimizationProfile")

    def is_network_supported(self, network: Any, config: Any) -> bool:
        return not list(refusals(network, config, self._fake))

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        fake = self._fake
        fake.builds += 1
        if network._parser is not None and network._parser() is None:
            raise fake.fault("the parser is gone, and with it the weights of the network")
        fake.log(self._logger, "INFO", f"Building {len(network._view.nodes)} layers")
        if refused := list(refusals(network, config, fake)):
            for line in refused:
                fake.log(self._logger, "ERROR", line)
            return None
        if not calibrated(network, config, self._logger, fake):
            return None
        if not self._has_room(config) or not self._timed(network, config):
            return None
        return HostMemory(packed(self._header(network, config), _model(network)))

    def _has_room(self, config: Any) -> bool:
        fake = self._fake
        assert fake.gpu is not None
        free = fake.board.free_mib or fake.gpu.memory_mib
        wanted = config._pools.get("WORKSPACE", fake.gpu.memory_mib * MIB)
        if wanted <= free * MIB:
            return True
        text = f"Requested amount of GPU memory ({wanted} bytes) could not be allocated."
        fake.log(self._logger, "WARNING", text)
        for line in (
            "Error Code 1: Cuda Runtime (out of memory)",
            "Error Code 10: Internal Error (Could not find any implementation for node)",
        ):
            fake.log(self._logger, "ERROR", line)
        return False

    def _timed(self, network: Any, config: Any) -> bool:
        """Choose kernels in two nested phases; False where the user cancelled."""
        fake, monitor, (outer, inner) = self._fake, config._monitor, PHASES
        steps = max(fake.board.steps, 1)
        if monitor:
            fake.called(monitor.phase_start, outer, None, steps)
            fake.called(monitor.phase_start, inner, outer, steps)
        goes_on = self._chosen(network, config)
        for step in range(steps):
            if fake.board.on_step:
                fake.board.on_step()
            if goes_on and monitor:
                goes_on = fake.called_elsewhere(monitor.step_complete, inner, step) is True
            if goes_on and monitor:
                goes_on = fake.called(monitor.step_complete, outer, step) is True
        if monitor:
            fake.called(monitor.phase_finish, inner)
            fake.called(monitor.phase_finish, outer)
        return goes_on

    def _chosen(self, network: Any, config: Any) -> bool:
        fake, view = self._fake, network._view
        known = set() if config._cache is None else config._cache._entries
        if config._has("DISABLE_TIMING_CACHE") or config._level == 0:
            known = set()
        for node in view.nodes:
            key = layer_key(view, node)
            if key in known:
                fake.reused += 1
            elif config._has("ERROR_ON_TIMING_CACHE_MISS"):
                fake.log(self._logger, "ERROR", f"Error Code 10: {node.name}: timing cache miss")
                return False
            else:
                fake.timed += 1
                known.add(key)
        return True

    def _header(self, network: Any, config: Any) -> dict[str, Any]:
        fake, view = self._fake, network._view
        name, capability = fake.device
        detailed = config._verbosity.name in {"DETAILED", "VERBOSE"}
        layers = layers_of(network, config, fake)
        return {
            "version": fake.surface.version,
            "gpu": name,
            "capability": list(capability),
            "name": network.name,
            "io": [
                {
                    "name": n,
                    "input": n in view.inputs,
                    "dtype": int(network._tensor(n).dtype),
                    "shape": list(view.shapes[n]),
                }
                for n in (*view.inputs, *view.outputs)
            ],
            "profiles": [profile._shapes for profile in config._profiles] or [{}],
            "shared_profiles": config._shares_profiles(),
            "activations": activation_bytes(view),
            "layers": layers if detailed else [item["Name"] for item in layers],
            "verbosity": int(config._verbosity),
            "dla": config._dla_core if config._device == "DLA" else None,
            "constraints": constraints(network, config),
            "parser_flags": self._parser_flags(network),
            "compatible": config._has("VERSION_COMPATIBLE"),
        }

    def _parser_flags(self, network: Any) -> list[str]:
        known = self._fake.module.OnnxParserFlag.__members__
        return [name for name, flag in known.items() if network._parser().get_flag(flag)]


class IOptimizationProfile:
    _fake: State

    def _setup(self) -> None:
        self._shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: Dims, opt: Dims, max: Dims) -> None:
        shapes = [list(min), list(opt), list(max)]  # type: ignore[call-overload]
        if not all(a <= b <= c for a, b, c in zip(*shapes, strict=True)):
            raise RuntimeError("Shape provided for max is inconsistent with other shapes.")
        self._shapes[input] = shapes

    def get_shape(self, input: str) -> list[Dims]:
        return [Dims(shape) for shape in self._shapes.get(input, [])]


class ITimingCache:
    _fake: State

    def _setup(self, entries: set[str], device: list[Any]) -> None:
        self._entries, self._device = entries, device

    def serialize(self) -> HostMemory:
        head = {"version": self._fake.surface.version, "device": self._device}
        return HostMemory(packed(head, json.dumps(sorted(self._entries)).encode()))

    def combine(self, input_cache: Any, ignore_mismatch: bool) -> bool:
        if input_cache._device != self._device and not ignore_mismatch:
            return False
        self._entries |= input_cache._entries
        return True

    def reset(self) -> bool:
        self._entries.clear()
        return True


def _model(network: Any) -> bytes:
    data: bytes = network._view.model.SerializeToString()
    return data
