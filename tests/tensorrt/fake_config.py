"""The configuration of a build."""

import json
from typing import Any

from tests.tensorrt.fake_build import runs_on_dla
from tests.tensorrt.fake_plan import unpacked
from tests.tensorrt.fake_state import State


class IBuilderConfig:
    _fake: State

    def _setup(self, logger: Any) -> None:
        self._logger = logger
        self._set: set[str] = {"TF32"}
        self._pools: dict[str, int] = {}
        self._profiles: list[Any] = []
        self._cache: Any = None
        self._monitor: Any = None
        self._calibrator: Any = None
        self._device, self._dla_core = "GPU", -1
        self._level, self._aux = 3, 0
        self._preview: dict[str, bool] = {}
        self._verbosity = self._fake.value("ProfilingVerbosity.LAYER_NAMES_ONLY")
        self._hardware = self._fake.value("HardwareCompatibilityLevel.NONE")

    def _has(self, flag: str) -> bool:
        return flag in self._set

    def _shares_profiles(self) -> bool:
        return self._preview.get("PROFILE_SHARING_0806", self._fake.release[0] >= 10)

    def set_flag(self, flag: Any) -> None:
        self._set.add(flag.name)

    def clear_flag(self, flag: Any) -> None:
        self._set.discard(flag.name)

    def get_flag(self, flag: Any) -> bool:
        return flag.name in self._set

    @property
    def flags(self) -> int:
        kinds = self._fake.module.BuilderFlag.__members__
        return sum({1 << int(value) for name, value in kinds.items() if name in self._set})

    @flags.setter
    def flags(self, value: int) -> None:
        kinds = self._fake.module.BuilderFlag.__members__
        self._set = {name for name, flag in kinds.items() if value >> int(flag) & 1}

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        if pool.name.startswith("DLA") and (pool_size < 4096 or pool_size & (pool_size - 1)):
            text = f"Error Code 3: API Usage Error ({pool.name} must be a power of two >= 4096)"
            self._fake.log(self._logger, "ERROR", text)
            return
        self._pools[pool.name] = pool_size

    def get_memory_pool_limit(self, pool: Any) -> int:
        gpu = self._fake.gpu
        return self._pools.get(pool.name, gpu.memory_mib << 20 if gpu else 0)

    def add_optimization_profile(self, profile: Any) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._profiles)

    def create_timing_cache(self, serialized_timing_cache: Any) -> Any:
        data = bytes(serialized_timing_cache)
        name, capability = self._fake.device
        device: list[Any] = [name, list(capability)]
        entries: set[str] = set()
        if data:
            try:
                head, body = unpacked(data)
                entries, device = set(json.loads(body)), head["device"]
                if head["version"] != self._fake.surface.version:
                    raise ValueError(f"Timing cache is of version {head['version']}")
            except (ValueError, KeyError) as error:
                self._fake.log(self._logger, "ERROR", f"Error Code 1: Serialization ({error})")
                return None
        return self._fake.new("ITimingCache", entries=entries, device=device)

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        name, capability = self._fake.device
        if cache._device != [name, list(capability)] and not ignore_mismatch:
            self._fake.log(self._logger, "WARNING", f"Timing cache is of {cache._device}")
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self._cache

    def set_preview_feature(self, feature: Any, enable: bool) -> None:
        self._preview[feature.name] = enable

    def get_preview_feature(self, feature: Any) -> bool:
        return self._preview.get(feature.name, False)

    def can_run_on_DLA(self, layer: Any) -> bool:  # noqa: N802
        if not self._fake.board.dla_cores:
            self._fake.log(self._logger, "ERROR", "Error Code 3: there is no DLA")
            return False
        return runs_on_dla(layer._network, layer._node, self._fake)

    @property
    def default_device_type(self) -> Any:
        return self._fake.value(f"DeviceType.{self._device}")

    @default_device_type.setter
    def default_device_type(self, value: Any) -> None:
        self._device = value.name

    @property
    def DLA_core(self) -> int:  # noqa: N802
        return self._dla_core

    @DLA_core.setter
    def DLA_core(self, value: int) -> None:  # noqa: N802
        self._dla_core = value

    @property
    def progress_monitor(self) -> Any:
        return self._monitor

    @progress_monitor.setter
    def progress_monitor(self, value: Any) -> None:
        self._monitor = value

    @property
    def int8_calibrator(self) -> Any:
        self._fake.deprecated((10, 1))
        return self._calibrator

    @int8_calibrator.setter
    def int8_calibrator(self, value: Any) -> None:
        self._fake.deprecated((10, 1))
        self._calibrator = value

    def set_calibration_profile(self, profile: Any) -> bool:
        self._fake.deprecated((10, 1))
        return profile is not None

    @property
    def profiling_verbosity(self) -> Any:
        return self._verbosity

    @profiling_verbosity.setter
    def profiling_verbosity(self, value: Any) -> None:
        self._verbosity = value

    @property
    def hardware_compatibility_level(self) -> Any:
        return self._hardware

    @hardware_compatibility_level.setter
    def hardware_compatibility_level(self, value: Any) -> None:
        self._hardware = value

    @property
    def builder_optimization_level(self) -> int:
        return self._level

    @builder_optimization_level.setter
    def builder_optimization_level(self, value: int) -> None:
        if not 0 <= value <= 5:
            text = f"Error Code 3: builder optimization level {value} is not in [0, 5]"
            self._fake.log(self._logger, "ERROR", text)
            return
        self._level = value

    @property
    def max_aux_streams(self) -> int:
        return self._aux

    @max_aux_streams.setter
    def max_aux_streams(self, value: int) -> None:
        self._aux = value

    @property
    def avg_timing_iterations(self) -> int:
        return 1

    @avg_timing_iterations.setter
    def avg_timing_iterations(self, value: int) -> None:
        pass
