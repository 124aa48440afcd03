"""The floors of the package, read from its import statements."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "edgeseg"

FLOORS = {
    0: {"errors", "tables", "types", "frames", "yuv", "files", "documents"},
    1: {
        "recipe", "manifest", "ranges", "device",
        "scene", "scene_camera", "scene_parts",
    },
    2: {"zoo", "graph", "calibrate", "backends", "video", "datasets", "metrics", "charts"},
    3: {"engine"},
    5: {"cli"},
    6: {"__main__"},
}  # fmt: skip
USE_CASES = 4
"""The floor of every top-level module that is not named above."""

ISLANDS = {
    "torch": ("zoo/",),
    "safetensors": ("zoo/",),
    "onnxscript": ("zoo/", "graph/"),
    "onnx": ("graph/",),
    "onnxsim": ("graph/",),
    "onnxruntime": ("backends/onnxruntime",),
    "openvino": ("backends/openvino",),
    "tensorrt": ("backends/tensorrt",),
    "polygraphy": ("backends/peers",),
    "cv2": ("video/", "datasets/", "scene", "backends/"),
    "PIL": ("video/", "datasets/"),
    "av": ("video/",),
    "gi": ("video/",),
    "starlette": ("video/sinks/",),
    "uvicorn": ("video/sinks/",),
    "matplotlib": ("charts/",),
    "pycuda": ("device/",),
    "cuda": ("device/",),
}
WITHOUT_TORCH = ("graph", "calibrate", "backends", "video", "engine", "stream")


class Import(NamedTuple):
    importer: str
    target: str
    line: int
    module_level: bool
    typing_only: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


def test_imports_go_downwards_only() -> None:
    upwards = [
        str(found)
        for found in _internal()
        if _floor(found.target) > _floor(found.importer)
    ]  # fmt: skip
    assert upwards == []


def test_neighbours_on_one_floor_do_not_import_each_other() -> None:
    sideways = [
        str(found)
        for found in _internal()
        if _floor(found.target) == _floor(found.importer)
        and _part(found.target) != _part(found.importer)
        and not _may_be_neighbours(found)
    ]
    assert sideways == []


def test_there_is_no_import_cycle() -> None:
    below: dict[str, set[str]] = {}
    for found in _internal():
        if not found.typing_only:
            below.setdefault(found.importer, set()).add(found.target)
    leaves_removed = dict(below)
    while free := [
        name for name, needed in leaves_removed.items() if not needed & {*leaves_removed}
    ]:
        for name in free:
            del leaves_removed[name]
    assert leaves_removed == {}, "these import each other in a circle"


@pytest.mark.parametrize("package", ISLANDS)
def test_heavy_package_is_imported_at_the_top_of_its_islands_only(package: str) -> None:
    astray = [
        str(found)
        for found in _imports()
        if found.target.partition(".")[0] == package
        and found.module_level
        and not found.typing_only
        and not _path(found.importer).startswith(ISLANDS[package])
    ]
    assert astray == []


@pytest.mark.parametrize("part", WITHOUT_TORCH)
def test_torch_is_out_of_reach(part: str) -> None:
    reached, waiting = set(), {name for name in _modules() if _part(name) == part}
    while waiting:
        reached |= waiting
        waiting = {
            found.target
            for found in _internal()
            if found.importer in waiting and not found.typing_only
        } - reached
    users = [
        str(found)
        for found in _imports()
        if found.importer in reached
        and found.target.partition(".")[0] == "torch"
        and not found.typing_only
    ]
    assert users == []


@pytest.mark.needs("onnx", "onnxsim", "av", "cv2")
def test_deployment_runs_where_torch_cannot_be_imported() -> None:
    parts = [name for name in sorted(_modules()) if _part(name) in {"graph", "calibrate", "video"}]
    code = "import sys, importlib\nsys.modules['torch'] = None\n" + "".join(
        f"importlib.import_module({name!r})\n" for name in parts
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_use_of_the_words_loads_no_heavy_package() -> None:
    code = (
        "import sys, edgeseg, edgeseg.tables, edgeseg.types, edgeseg.errors, edgeseg.files\n"
        f"print(sorted(set(sys.modules) & set({sorted(ISLANDS)!r})))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


def test_every_table_row_points_at_something_that_is_there() -> None:
    rows = list(_table_rows())
    assert len(rows) >= 10
    astray = [f"{where}: {target}" for where, target in rows if not _is_there(target)]
    assert astray == []


def test_no_file_is_longer_than_300_lines() -> None:
    lengths = {_path(name): len(_source(name).splitlines()) for name in _modules()}
    assert {path: lines for path, lines in lengths.items() if lines > 300} == {}


@cache
def _modules() -> dict[str, Path]:
    """Files by module name; a package goes by its own name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }


@cache
def _source(module: str) -> str:
    return _modules()[module].read_text(encoding="utf-8")


def _path(module: str) -> str:
    """Relative to the package, with slashes."""
    return _modules()[module].relative_to(PACKAGE).as_posix()


def _part(module: str) -> str:
    """The folder or file right below the package; "" for the package's own __init__."""
    return module.split(".")[1] if "." in module else ""


def _floor(module: str) -> int:
    part = _part(module)
    return next((floor for floor, parts in FLOORS.items() if part in parts), USE_CASES)


def _may_be_neighbours(found: Import) -> bool:
    """Words know each other, use cases build on each other, and the street is three files."""
    if _floor(found.importer) in {0, USE_CASES}:
        return True
    return _part(found.importer).startswith("scene") and _part(found.target).startswith("scene_")


@cache
def _imports() -> tuple[Import, ...]:
    return tuple(
        found
        for module in _modules()
        for found in _imports_below(ast.parse(_source(module)), module, True, False)
    )


@cache
def _internal() -> tuple[Import, ...]:
    return tuple(found for found in _imports() if found.target in _modules())


def _imports_below(
    node: ast.AST, module: str, module_level: bool, typing_only: bool
) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            for target in _targets(child):
                yield Import(module, target, child.lineno, module_level, typing_only)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _imports_below(child, module, module_level, True)
        else:
            inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from _imports_below(child, module, module_level and not inside, typing_only)


def _targets(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Module names; `from package import name` means package.name where that is a module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert node.level == 0, "relative imports are banned"
    source = node.module or ""
    full = [f"{source}.{alias.name}" for alias in node.names]
    return sorted({name if name in _modules() else source for name in full})


def _table_rows() -> Iterator[tuple[str, str]]:
    """(module, "module:attribute") for each value of an upper-case dict of strings to strings."""
    for module in _modules():
        for node in ast.parse(_source(module)).body:
            named = isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(
                node.value, ast.Dict
            )
            if not named:
                continue
            for value in node.value.values:
                if isinstance(value, ast.Constant) and str(value.value).startswith("edgeseg."):
                    yield module, value.value


def _is_there(target: str) -> bool:
    module, _, attribute = target.partition(":")
    if module not in _modules():
        return False
    names = set()
    for node in ast.parse(_source(module)).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {name.id for name in node.targets if isinstance(name, ast.Name)}
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
    return not attribute or attribute in names
