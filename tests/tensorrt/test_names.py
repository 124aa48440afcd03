"""Each name of TensorRT in our source is in every version that gets to it."""

import ast
from functools import cache
from pathlib import Path

import pytest

import edgeseg
from tests.tensorrt.names import Reader, answers_of, fields_of
from tests.tensorrt.surface import VERSIONS, surface

FOLDER = Path(edgeseg.__file__).parent / "backends" / "tensorrt"
FILES = sorted(FOLDER.glob("*.py"))
GUARDS = "versions.py"
"""The only file in which `has` makes a name allowed that some versions lack."""


def reader(tree: ast.Module, *, guarded: bool, fields: dict[str, str] | None = None) -> Reader:
    made = Reader(fields=fields or {}, answers=answers_of(tree), guarded=guarded)
    made.read(tree)
    return made


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def read(path: Path) -> Reader:
    trees = [tree_of(file) for file in FILES]
    fields = {name: kind for tree in trees for name, kind in fields_of(tree)}
    return reader(tree_of(path), guarded=path.name == GUARDS, fields=fields)


def problems(source: str, *, guarded: bool = True) -> dict[str, list[str]]:
    tree = ast.parse(source)
    made = reader(tree, guarded=guarded, fields=dict(fields_of(tree)))
    return {use.name: use.lacking for use in made.uses if use.lacking}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_name_is_in_all_versions_that_get_to_it(path: Path) -> None:
    lacking = [
        f"{path.name}:{use.line}: {use.name} is not in {', '.join(use.lacking)}"
        for use in read(path).uses
        if use.lacking
    ]
    assert lacking == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_number_stands_for_an_enum(path: Path) -> None:
    assert read(path).literals == []


def test_what_the_source_asks_for_is_in_some_version() -> None:
    trees = [tree_of(path) for path in FILES]
    asked = {
        node.args[0].value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] == "has"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    unknown = [name for name in asked if not any(surface(v).has(name) for v in VERSIONS)]
    assert unknown == []


def test_the_checks_see_the_calls_of_the_builder_and_of_the_runner() -> None:
    """An object that nobody annotated would go unchecked."""
    seen = {use.name for path in FILES for use in read(path).uses}
    assert {
        "Builder.build_serialized_network",
        "IBuilderConfig.set_memory_pool_limit",
        "MemoryPoolType.WORKSPACE",
        "OnnxParser.parse",
        "Runtime.deserialize_cuda_engine",
        "ICudaEngine.get_tensor_dtype",
        "IExecutionContext.set_tensor_address",
        "IExecutionContext.execute_async_v3",
    } <= seen


def test_name_that_some_versions_lack_is_found() -> None:
    source = "def f(config: trt.IBuilderConfig):\n    config.progress_monitor = None\n"
    assert problems(source) == {"IBuilderConfig.progress_monitor": ["8.6.1"]}
    assert "IBuilderConfig.max_workspace_size" in problems(
        "def f(config: trt.IBuilderConfig | None):\n    config.max_workspace_size = 1\n"
    )


def test_guard_allows_it_in_the_file_of_guards_only() -> None:
    source = "if has('BuilderFlag.FP16'):\n    x = trt.BuilderFlag.FP16\n"
    assert problems(source) == {}
    assert problems(source, guarded=False) == {"BuilderFlag.FP16": ["11.4.0.106"]}


def test_guard_for_one_name_does_not_cover_another() -> None:
    source = "def f():\n    if not has('IProgressMonitor'):\n        return\n    {}\n"
    assert problems(source.format("trt.IProgressMonitor()")) == {}
    assert problems(source.format("trt.BuilderFlag.FP16")) == {"BuilderFlag.FP16": ["11.4.0.106"]}
    assert problems(
        "if has('IProgressMonitor'):\n    pass\nelse:\n    trt.IProgressMonitor()\n"
    ) == {"IProgressMonitor": ["8.6.1"]}


def test_guard_can_be_a_function_of_one_test() -> None:
    source = "def old() -> bool:\n    return has('BuilderFlag.INT8')\n\n\n"
    assert problems(f"{source}if old():\n    trt.BuilderFlag.INT8\n") == {}
    assert problems(f"{source}if not old():\n    trt.BuilderFlag.INT8\n") != {}


def test_result_of_a_call_is_followed() -> None:
    source = (
        "def f(engine: trt.ICudaEngine):\n    made = engine.create_engine_inspector()\n    {}\n"
    )
    assert (
        problems(source.format("made.get_engine_information(trt.LayerInformationFormat.JSON)"))
        == {}
    )
    assert problems(source.format("made.get_engine_info()")) == {
        "EngineInspector.get_engine_info": list(VERSIONS)
    }


def test_annotated_attribute_is_followed() -> None:
    source = (
        "class A:\n    engine: trt.ICudaEngine\n\n\ndef f(held):\n    held.engine.num_bindings\n"
    )
    assert problems(source) == {"ICudaEngine.num_bindings": list(VERSIONS)}


@pytest.mark.parametrize(
    "line",
    [
        "config.set_flag(1)",
        "config.default_device_type = 1",
        "trt.BuilderFlag(0)",
        "builder.create_network(1)",
    ],
)
def test_number_in_the_place_of_an_enum_is_found(line: str) -> None:
    source = f"def f(config: trt.IBuilderConfig, builder: trt.Builder):\n    {line}\n"
    assert reader(ast.parse(source), guarded=True).literals != []
