"""The manual: every example runs, every option is explained, every key that it names exists."""

import dataclasses
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

from edgeseg import cli, errors
from edgeseg.benchmark import Benchmark
from edgeseg.demo import Demo
from edgeseg.doctor import Diagnosis
from edgeseg.evaluate import Evaluation
from edgeseg.inspect import Inspection
from edgeseg.manifest import Manifest, Measured, Plan
from edgeseg.models import Model
from edgeseg.scales import ScaleWeights
from edgeseg.stream import RunSummary, run
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
NEEDS_TORCH = (" train ", " scales ", "--weights random", "--scales")
DOCUMENTS = {
    "bench": Benchmark,
    "demo": Demo,
    "doctor": Diagnosis,
    "eval": Evaluation,
    "inspect": Inspection,
    "models": Model,
    "run": RunSummary,
    "scales": ScaleWeights,
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
def call(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
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


@pytest.mark.parametrize(("page", "line"), EXAMPLES)
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


def test_the_keys_of_the_manifest() -> None:
    text = (DOCS / "engine-folder.md").read_text()
    manifest, plan, measured = (
        {field.alias or name for name, field in model.model_fields.items()}
        for model in (Manifest, Plan, Measured)
    )

    assert _first_column(_section("engine-folder.md", "## manifest.json", "Each plan:")) == manifest
    assert _first_column(text.split("Each plan:")[1].split("What was measured:")[0]) == plan
    assert _first_column(text.split("What was measured:")[1].split("## Exit")[0]) == measured


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


def _first_column(text: str) -> set[str]:
    cells = re.findall(r"^\| (`[^|]*) \|", text, re.M)
    return {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}
