"""The manual: every example runs, every option is explained, every key that it names exists."""

import dataclasses
import inspect
import logging
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

import edgeseg
from edgeseg import cli, errors
from edgeseg.benchmark import Benchmark
from edgeseg.budget import Attempt, Search
from edgeseg.calibrate import METHODS
from edgeseg.demo import Demo
from edgeseg.diff import Difference, Moved, Side, WorstPicture
from edgeseg.doctor import Diagnosis
from edgeseg.doctor_camera import CameraDiagnosis
from edgeseg.documents import Document
from edgeseg.evaluate import Evaluation
from edgeseg.graph.lint_rules import RULES, Finding
from edgeseg.inspect import Inspection
from edgeseg.lint import LintReport
from edgeseg.manifest import Manifest, Measured, Plan
from edgeseg.memory_bench import MemoryComparison
from edgeseg.models import Model
from edgeseg.options import STEPS
from edgeseg.ranges import Range, Ranges
from edgeseg.ranges_export import RangesExport, TensorScale
from edgeseg.run import RunSummary, run
from edgeseg.scales import ScaleWeights
from edgeseg.sensitivity_report import Effect, LayerCost, PartCost, Sensitivity
from edgeseg.train import TrainingResult
from tests.small import working_directory, write_pictures

pytestmark = pytest.mark.needs("openvino", "onnxruntime", "av", "cv2", "onnx", "PIL")

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
EXAMPLES = [
    (page, line[2:])
    for page in PAGES
    for block in re.findall(r"```console\n(.*?)```", (DOCS / page).read_text(), re.S)
    for line in block.splitlines()
]
FAST_BUILD = " --size 128x96 --int8 --calibrate folder:train "
"""Of the first example that quantises in every test run; the others take as long each, or more."""
LATE = ("edgeseg demo", "edgeseg train", " --scales ")
"""What else takes long in an example, and has fast tests of its own."""


def _marked(page: str, line: str) -> object:
    quantises = [one for _, one in EXAMPLES if " sensitivity " in one or " --int8 " in one]
    long = [one for _, one in EXAMPLES if any(words in one for words in LATE)]
    fast = next(one for one in quantises if FAST_BUILD in one)
    late = [one for one in long + quantises if one != fast]
    made = {name for one in late for name in re.findall(r" -o (\S+)", one)}
    slow = line in late or any(name in line.split() for name in made)
    return pytest.param(page, line, marks=[pytest.mark.slow] if slow else [])


NEEDS_TORCH = (" train ", " scales ", "--weights random", "--scales")
NEEDS_MATPLOTLIB = (" sensitivity ", " -o street.png")
DOCUMENTS = {
    "bench": Benchmark,
    "demo": Demo,
    "diff": Difference,
    "doctor": Diagnosis,
    "eval": Evaluation,
    "inspect": Inspection,
    "lint": LintReport,
    "models": Model,
    "ranges": RangesExport,
    "run": RunSummary,
    "scales": ScaleWeights,
    "sensitivity": Sensitivity,
    "train": TrainingResult,
}


@pytest.fixture(scope="module")
def prepared(
    tmp_path_factory: pytest.TempPathFactory,
    small_int8: Path,
    small_fp32: Path,
    small_null: Path,
    pictures: Path,
) -> Iterator[Path]:
    """A working directory with everything that the examples speak of, but for CamVid."""
    folder = tmp_path_factory.mktemp("manual")
    shutil.copytree(small_int8, folder / "engines" / "street")
    shutil.copytree(small_fp32, folder / "engines" / "street-fp32")
    shutil.copy(small_fp32 / "float.onnx", folder / "net.onnx")
    shutil.copytree(pictures, folder / "pictures")
    shutil.copytree(pictures / "test" / "images", folder / "photos")
    write_pictures(folder / "two-classes", range(1))
    mask = folder / "two-classes" / "masks" / "0.png"
    Image.fromarray((np.array(Image.open(mask)) == 5).astype(np.uint8)).save(mask)
    (folder / "two-classes" / "labels.txt").write_text("Way\nGreen\n")
    (folder / "map.toml").write_text('Way = ["Road", "Pavement"]\nGreen = ["Tree"]\n')
    run(small_null, "synthetic://?seconds=0.5&size=120x90", [str(folder / "street.mkv")])
    with working_directory(folder):
        yield folder


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch,
    streets_once: None,  # noqa: ARG001
) -> Iterator[object]:
    """Calls one line as a shell would; the exit code."""
    handler, level = signal.getsignal(signal.SIGTERM), logging.getLogger().level

    def run_line(line: str) -> object:
        monkeypatch.setattr(sys, "argv", shlex.split(line))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0

    yield run_line
    signal.signal(signal.SIGTERM, handler)
    logging.getLogger().setLevel(level)


@pytest.mark.parametrize(("page", "line"), [_marked(page, line) for page, line in EXAMPLES])
def test_example(
    page: str, line: str, prepared: Path, call: object, request: pytest.FixtureRequest
) -> None:
    del page
    if "data/camvid" in line and not (prepared / "data").exists():
        shared: Path = request.getfixturevalue("shared")
        (prepared / "data").mkdir()
        (prepared / "data" / "camvid").symlink_to(shared / "camvid")
    if any(word in line for word in NEEDS_TORCH):
        pytest.importorskip("torch")
    if any(word in line for word in NEEDS_MATPLOTLIB):
        pytest.importorskip("matplotlib")

    assert line.startswith("edgeseg ")
    assert call(line) == 0  # type: ignore[operator]


def test_the_manual_has_examples() -> None:
    assert {page for page, _ in EXAMPLES} >= {f"{verb}.md" for verb in cli.VERBS}


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_option_is_on_its_page_and_every_option_there_exists(verb: str) -> None:
    page = (DOCS / f"{verb}.md").read_text()
    real = {option for option in _options_of(verb) if option != "--help"}

    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", page))

    assert real - named - {"--json"} == set()
    assert named - real == set()


@pytest.mark.parametrize(("_page", "line"), EXAMPLES)
def test_options_of_examples_exist(_page: str, line: str) -> None:
    verb = next((word for word in line.split() if word in cli.VERBS), None)
    known = _options_of(verb) if verb else {"--version", "--help"}

    assert set(re.findall(r"--[a-z][a-z0-9-]*", line)) <= known


@pytest.mark.parametrize("verb", DOCUMENTS)
def test_the_keys_of_a_verbs_json_are_those_on_its_page(verb: str) -> None:
    keys = {field.name for field in dataclasses.fields(DOCUMENTS[verb])}

    assert _first_column(_section("json.md", f"## {verb}")) == keys


def test_the_keys_of_the_cameras_of_a_machine() -> None:
    keys = {field.name for field in dataclasses.fields(CameraDiagnosis)}

    assert _first_column(_section("json.md", "## doctor --camera")) == keys


def test_the_keys_of_a_comparison_of_memory() -> None:
    keys = {field.name for field in dataclasses.fields(MemoryComparison)}

    assert _first_column(_section("json.md", "## bench --memory all")) == keys


def test_the_keys_of_the_manifest() -> None:
    text = (DOCS / "engine-folder.md").read_text()
    manifest, plan, measured = (_keys_of(model) for model in (Manifest, Plan, Measured))

    assert _first_column(_section("engine-folder.md", "## manifest.json", "Each plan:")) == manifest
    assert _first_column(text.split("Each plan:")[1].split("What was measured:")[0]) == plan
    assert _first_column(text.split("What was measured:")[1].split("## Exit")[0]) == measured


@pytest.mark.parametrize(
    ("page", "section", "document"),
    [("calibration.md", "## What is kept", Ranges), ("build.md", "## The budget", Search)],
)
def test_the_keys_of_files_beside_the_engine(
    page: str, section: str, document: type[Document]
) -> None:
    assert _first_column(_section(page, section)) == _keys_of(document)


@pytest.mark.parametrize(
    ("page", "section", "row", "kinds"),
    [
        ("calibration.md", "## What is kept", "tensors", [Range]),
        ("build.md", "## The budget", "attempts", [Attempt]),
        ("json.md", "## lint", "findings", [Finding]),
        ("json.md", "## sensitivity", "int8", [Effect]),
        ("json.md", "## sensitivity", "blocks", [PartCost, Effect]),
        ("json.md", "## sensitivity", "layers", [LayerCost]),
        ("json.md", "## diff", "a", [Side]),
        ("json.md", "## diff", "moved", [Moved]),
        ("json.md", "## diff", "worst", [WorstPicture]),
        ("json.md", "## ranges", "tensors", [TensorScale]),
    ],
)
def test_the_keys_within_a_key(page: str, section: str, row: str, kinds: list[type]) -> None:
    (meaning,) = re.findall(rf"^\| `{row}`.*?\| (.*) \|$", _section(page, section), re.M)
    own = {name for kind in kinds for name in inspect.get_annotations(kind)}

    assert set(re.findall(r"`(\w+)`", meaning)) == own


def test_every_rule_of_lint_is_on_its_page() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (\w+) \|", (DOCS / "lint.md").read_text(), re.M)

    assert dict(rows) == {name: rule.severity for name, rule in RULES.items()}


def test_every_step_and_every_calibration_method_is_explained() -> None:
    steps = _first_column(_section("build.md", "## The steps of the quantisation"))
    methods = _first_column(_section("calibration.md", "## Methods"))

    assert steps == set(STEPS)
    assert methods == set(METHODS)


def test_every_verb_is_in_the_index_and_a_function_of_the_package() -> None:
    index = (DOCS / "index.md").read_text()
    renamed = dict(re.findall(r"`(\w+)` is\s+`edgeseg\.(\w+)`", index))

    assert set(re.findall(r"^\| \[`(\w+)`\]", index, re.M)) == set(cli.VERBS)
    assert set(renamed) < set(cli.VERBS)
    for verb in cli.VERBS:
        name = renamed.get(verb, verb)
        assert name in edgeseg.__all__
        assert inspect.isfunction(getattr(edgeseg, name))


def test_every_exit_code_is_explained() -> None:
    kinds = vars(errors).values()
    raised = {kind.exit_code for kind in kinds if isinstance(kind, type)}
    told = re.findall(r"^\| (\d+) \|", _section("engine-folder.md", "## Exit codes"), re.M)

    assert {int(code) for code in told} == raised | {0, cli.BUG, cli.INTERRUPTED, cli.TERMINATED}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    targets = re.findall(r"\]\(([^)#]+)", (DOCS / page).read_text())

    assert [target for target in targets if not (DOCS / target).is_file()] == []


def _options_of(verb: str) -> set[str]:
    command = typer.main.get_command(cli._app()).commands[verb]  # type: ignore[attr-defined]
    found = {
        option
        for parameter in command.params
        if parameter.param_type_name == "option"
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--")
    }
    return found | {"--help"}


def _section(page: str, start: str, end: str = "\n## ") -> str:
    return (DOCS / page).read_text().split(f"\n{start}\n")[1].split(end)[0]


def _keys_of(document: type[Document]) -> set[str]:
    """As they are written: `schema_` is `schema` there."""
    return {name.rstrip("_") for name in document.model_fields}


def _first_column(text: str) -> set[str]:
    cells = re.findall(r"^\| (`[^|]*) \|", text, re.M)
    return {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}
