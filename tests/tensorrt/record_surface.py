"""Record the names, signatures and values of NVIDIA's Python bindings that edgeseg may use.

    python -m tests.tensorrt.record_surface 10.3.0 11.4.0.106
    python -m tests.tensorrt.record_surface --fetch

The first downloads the public wheels of the bindings (about 1 MB each, for this Python), imports
their extension module against stub libraries, and writes surface/VERSION.json; the second only
downloads, all versions. It needs gcc and pip.
"""

import inspect
import json
import os
import re
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FunctionType
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
KEPT = Path(os.environ.get("EDGESEG_TENSORRT_BINDINGS") or ROOT / ".tensorrt-bindings").resolve()
CACHE = KEPT / sys.implementation.cache_tag
"""Where the unpacked wheels are kept, for this Python and no other."""
PACKAGES = {
    "8.6.1": "tensorrt-bindings",
    "10.3.0": "tensorrt_cu12_bindings",
    "10.7.0": "tensorrt_cu12_bindings",
    "10.13.0.35": "tensorrt_cu12_bindings",
    "10.16.1.11": "tensorrt_cu13_bindings",
    "11.4.0.106": "tensorrt_cu13_bindings",
}
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers")
EXPORTED = (
    *("createInferBuilder_INTERNAL", "createInferRuntime_INTERNAL", "getPluginRegistry"),
    *("createInferRefitter_INTERNAL", "getBuilderPluginRegistry", "initLibNvInferPlugins"),
    *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL"),
    "getNvOnnxParserVersion",
    # What 8.x wants of the parsers for Caffe and UFF, as its compiler spelt them.
    "_ZN11nvuffparser15createUffParserEv",
    "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi",
    "_ZN14nvcaffeparser117createCaffeParserEv",
    "_ZN14nvcaffeparser123shutdownProtobufLibraryEv",
)

CLASSES = (
    *("Builder", "Dims", "EngineInspector", "IBuilderConfig", "ICudaEngine", "IErrorRecorder"),
    *("IExecutionContext", "IHostMemory", "IInt8Calibrator", "IInt8EntropyCalibrator2", "ILayer"),
    *("ILogger", "INetworkDefinition", "IOptimizationProfile", "IProfiler", "IProgressMonitor"),
    *("ITensor", "ITimingCache", "Logger", "OnnxParser", "ParserError", "Profiler", "Runtime"),
    "Weights",
)
ENUMS = (
    *("BuilderFlag", "CalibrationAlgoType", "DataType", "DeviceType", "EngineCapability"),
    *("ErrorCode", "ErrorCodeTRT", "ExecutionContextAllocationStrategy", "LayerType"),
    *("HardwareCompatibilityLevel", "LayerInformationFormat", "MemoryPoolType"),
    *("NetworkDefinitionCreationFlag", "OnnxParserFlag", "PreviewFeature", "ProfilingVerbosity"),
    *("QuantizationFlag", "TacticSource", "TensorFormat", "TensorIOMode", "TensorLocation"),
    "ILogger.Severity",
)
FUNCTIONS = ("get_nv_onnx_parser_version", "init_libnvinfer_plugins", "nptype", "volume")
LEFT_OUT = re.compile(
    "add_(?!optimization_profile)|.*(weights?_stream|refit|plugin|debug_(?!sync)|allocator"
    "|communicator|remote_auto)|execute(_async(_v2)?)?$|(get|set)_shape_input$"
    "|(get|set|is|num)_\\w*bindings?|binding_is"
)
"""Layers by hand, plugins, refitting, weight streaming and what ended with 8.6: never used."""

SPELLINGS = (
    (r"tensorrt_bindings\.tensorrt\.|\btrt\.|nvinfer1::(v_1_0::)?|nvonnxparser::", ""),
    (r"typing\.Supports(Int|Index) \| typing\.Supports(Int|Index)", "int"),
    (r"typing\.Supports(Int|Index)", "int"),
    (r"typing\.SupportsFloat( \| typing\.SupportsIndex)?", "float"),
    (r"\b(collections\.abc\.|typing_extensions\.)?Buffer\b", "buffer"),
    (r"\b(typing_extensions\.|types\.)?CapsuleType\b", "capsule"),
    (r"(collections\.abc\.Sequence|typing\.List|\bList)\[", "list["),
    (r"(typing\.Tuple|\bTuple)\[", "tuple["),
    (r"\bI(ParserError|EngineInspector)\b", r"\1"),
)
"""How different versions of pybind11 and of the bindings write the same type."""


def bindings(version: str, cache: Path) -> Path:
    """The folder with the unpacked wheel of `version`, fetched where `cache` lacks it."""
    folder = cache / version
    if not folder.is_dir():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        wanted = ["--no-deps", "--only-binary=:all:", f"{PACKAGES[version]}=={version}"]
        subprocess.run([*pip, "--dest", str(cache), *wanted], check=True)
        (wheel,) = cache.glob(f"*-{version}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        wheel.unlink()
    return folder


def run_against(version: str, cache: Path, code: str) -> str:
    """What `code` prints in a Python of its own, where `import tensorrt` gives the bindings.

    Raises:
        CalledProcessError: it fails; `stderr` says why.
    """
    ours = [str(bindings(version, cache)), str(ROOT), *filter(None, sys.path)]
    found = os.environ | {
        "LD_LIBRARY_PATH": str(_stub_libraries(version, cache)),
        "PYTHONPATH": os.pathsep.join(ours),
    }
    alias = "import sys, tensorrt_bindings\nsys.modules['tensorrt'] = tensorrt_bindings\n"
    command = [sys.executable, "-c", alias + code]
    ran = subprocess.run(command, env=found, cwd=ROOT, check=True, capture_output=True, text=True)
    return ran.stdout


def recorded(module: Any) -> dict[str, Any]:
    """The surface of the bindings `module`: the picked names that this version has."""
    present = [name for name in (*CLASSES, *ENUMS) if _at(module, name) is not None]
    data_type = module.DataType
    return {
        "classes": {n: _class(_at(module, n)) for n in present if n in CLASSES},
        "constants": sorted(n for n, v in vars(module).items() if isinstance(v, data_type)),
        "enums": {n: _members(_at(module, n)) for n in present if n in ENUMS},
        "functions": {name: _function(getattr(module, name)) for name in FUNCTIONS},
        "version": module.__version__,
    }


def text_of(surface: dict[str, Any]) -> str:
    """The file: JSON, one line for each class, enum and function."""
    parts = []
    for part, value in sorted(surface.items()):
        text = json.dumps(value, sort_keys=True)
        if isinstance(value, dict):
            lines = (f" {json.dumps(k)}: {json.dumps(value[k], sort_keys=True)}" for k in value)
            text = "{\n" + ",\n".join(sorted(lines)) + "\n}"
        parts.append(f"{json.dumps(part)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def record(version: str, cache: Path) -> str:
    """The text of surface/VERSION.json, from the bindings themselves."""
    code = "from tests.tensorrt.record_surface import recorded, text_of\n"
    return run_against(version, cache, f"{code}print(text_of(recorded(tensorrt_bindings)), end='')")


def _stub_libraries(version: str, cache: Path) -> Path:
    """A folder with libraries that `version` can be linked to and that do nothing."""
    folder = cache / "stubs"
    folder.mkdir(exist_ok=True)
    code = "".join(f"void *{name}(void) {{ return 0; }}\n" for name in EXPORTED)
    for library in LIBRARIES:
        target = folder / f"lib{library}.so.{version.partition('.')[0]}"
        if not target.exists():
            made = target.with_name(f"{target.name}.{os.getpid()}")
            flags = ["-shared", "-fPIC", f"-Wl,-soname,{target.name}", "-o", str(made)]
            command = ["gcc", *flags, "-x", "c", "-"]
            subprocess.run(command, input=code, text=True, check=True)
            made.replace(target)
    return folder


def _at(module: Any, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part, None)
    return module


def _class(found: type) -> dict[str, Any]:
    names = [n for n in dir(found) if n[0] != "_" or n in {"__init__", "__len__", "__getitem__"}]
    kept = [(n, inspect.getattr_static(found, n)) for n in names if not LEFT_OUT.match(n)]
    kept = [(n, v) for n, v in kept if not isinstance(v, type)]
    return {
        "bases": [base.__name__ for base in found.__bases__ if base.__name__ in CLASSES],
        "methods": {n: _signatures(n, v.__doc__ or "") for n, v in kept if callable(v)},
        "properties": {n: _property(v) for n, v in kept if isinstance(v, property)},
    }


def _members(found: Any) -> dict[str, int]:
    return {name: int(value) for name, value in found.__members__.items()}


def _function(found: Any) -> list[str]:
    if isinstance(found, FunctionType):
        return [str(inspect.signature(found))]
    return _signatures(found.__name__, found.__doc__)


def _signatures(name: str, doc: str) -> list[str]:
    """What pybind11 writes into a docstring, without the object that the method is of."""
    lines = re.findall(rf"^(?:\d+\. )?{name}(\(.* -> .*)$", doc, re.MULTILINE)
    return [re.sub(r"^\(self: [^,)]*(, )?", "(", _plain(line)) for line in lines]


def _property(found: property) -> str:
    """ "TYPE r" or "TYPE rw"; what can be set only has no known type."""
    given = re.search(r"-> (.*)$", (found.fget and found.fget.__doc__) or "", re.MULTILINE)
    kind = _plain(given[1]) if given else "object"
    return f"{kind} {'r' if found.fset is None else 'rw'}"


def _plain(text: str) -> str:
    for pattern, spelling in SPELLINGS:
        text = re.sub(pattern, spelling, text)
    return text


def main(versions: list[str]) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    if versions == ["--fetch"]:
        with ThreadPoolExecutor() as threads:
            list(threads.map(bindings, PACKAGES, [CACHE] * len(PACKAGES)))
        return
    for version in versions:
        (HERE / "surface" / f"{version}.json").write_text(record(version, CACHE))


if __name__ == "__main__":
    main(sys.argv[1:])
