"""Bad input: the exit code, what is said, what mends it, and that nothing is left half done."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeseg.datasets import synthetic
from tests.cli.conftest import Call, Outcome
from tests.small import (
    NETWORK,
    QUICKLY,
    street,
    write_class_names,
    write_network,
    write_pictures,
)

pytestmark = pytest.mark.needs("openvino", "av", "cv2", "onnx", "PIL")

INT8 = ("--int8", "--size", "128x96", "--backend", "openvino", *QUICKLY)


def _failed(done: Outcome, code: int, *said: str) -> None:
    assert done.code == code, done.err
    for text in said:
        assert text in done.err
    assert done.err.startswith("edgeseg: ") or "\nedgeseg: " in done.err
    assert "\n  fix: " in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


@pytest.fixture(scope="session")
def cut_onnx(small_int8: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cut") / "net.onnx"
    path.write_bytes((small_int8 / "float.onnx").read_bytes()[:100_000])
    return path


@pytest.fixture(scope="session")
def clip(small_null: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of the street in a container that can be read from its beginning."""
    from edgeseg.run import run

    path = tmp_path_factory.mktemp("clip") / "street.mkv"
    run(small_null, "synthetic://?seconds=1&size=128x96", [str(path)], codec="mpeg4")
    return path


@pytest.fixture
def own_engine(small_int8: Path, workplace: Path) -> Path:
    shutil.copytree(small_int8, workplace / "engine")
    return Path("engine")


# Exit code 2: names and options.


@pytest.mark.parametrize(
    "verb", [("build",), ("export", "-o", "core.onnx"), ("train", "--data", "synthetic")]
)
def test_an_unknown_network_and_the_nearest_one(
    edgeseg_cli: Call, workplace: Path, verb: tuple[str, ...]
) -> None:
    if verb[0] == "train":
        pytest.importorskip("torch")
    done = edgeseg_cli(verb[0], "deeplabv3plus-mobilnetv2", *verb[1:])

    _failed(done, 2, "there is no network 'deeplabv3plus-mobilnetv2'", f"did you mean '{NETWORK}'?")
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--int8", "--fp16"), "--int8 and --fp16 contradict each other"),
        (("--int8",), "INT8 needs pictures"),
        (("--calibrate", "synthetic"), "--calibrate has no use in fp32"),
        (("--fp16", "--backend", "onnxruntime"), "onnxruntime does not compute in fp16"),
        (("--mean", "1,2,3"), "is described by edgeseg itself"),
        (("--max-drop", "1"), "--max-drop needs labelled pictures"),
        (("--map", "map.toml"), "--map needs labelled pictures"),
        (("--size", "128"), "'128' is not a size"),
        (("--size", "8x8"), "the size 8x8 is out of range"),
        (("--frame", "axb"), "'axb' is not a size"),
        (("--mean", "1,2"), "--mean '1,2' is not three numbers"),
        (("--std", "a,b,c"), "--std 'a,b,c' is not three numbers"),
        (("--until", "plan"), "--until plan is not known"),
        (("--backend", "openvno"), "did you mean 'openvino'?"),
        (("--int8", "--calibrate", "synthetic:trian"), "synthetic has no split 'trian'"),
        (("--int8", "--calibrate", "folder"), "folder needs a folder"),
        (("--int8", "--calibrate", "synthetic", "--method", "max"), "no calibration method 'max'"),
        (("--frame", "121x90", "--frame-format", "nv12"), "even width and height"),
    ],
)
def test_build_refuses_options_that_contradict_or_mean_nothing(
    edgeseg_cli: Call, workplace: Path, options: tuple[str, ...], said: str
) -> None:
    (workplace / "map.toml").write_text('Road = ["Road"]\n')

    done = edgeseg_cli("build", NETWORK, *options)

    _failed(done, 2, said)
    assert list(workplace.glob("engines/*")) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("synthetic://", "--rate", "fast"), "--rate 'fast' is no number"),
        (("synthetic://", "--rate", "1/0"), "--rate '1/0' is no number"),
        (("synthetic://", "--rate", "-3"), "a rate of -3"),
        (("synthetic://?speed=3",), "speed"),
        (("rtp://host:5000",), "the source rtp:// is not there yet"),
        (("synthetic://", "out.txt"), "out.txt is not a video file by its name"),
        (("synthetic://", "webrtc://@:8554/x"), "the sink webrtc:// is not there yet"),
        ((), "there is no source"),
        (("synthetic://", "out.mp4", "--codec", "h265"), "there is no video codec 'h265'"),
    ],
)
def test_run_refuses_options_that_mean_nothing(
    edgeseg_cli: Call, workplace: Path, small_null: Path, options: tuple[str, ...], said: str
) -> None:
    _failed(edgeseg_cli("run", small_null, *options), 2, said)
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [("build",), ("run",), ("bench", "x", "--frames", "0"), ("paint",), ("run", "--loud")],
)
def test_a_line_that_does_not_parse(edgeseg_cli: Call, arguments: tuple[str, ...]) -> None:
    done = edgeseg_cli(*arguments)

    assert done.code == 2
    assert "Usage:" in done.err
    assert "Traceback" not in done.err


def test_other_classes_than_the_network_has(
    edgeseg_cli: Call, small_int8: Path, workplace: Path
) -> None:
    write_pictures(workplace / "data", range(1))
    (workplace / "data" / "labels.txt").write_text("\n".join(f"thing {n}" for n in range(11)))

    done = edgeseg_cli("eval", small_int8, "--data", "folder", "--root", "data")

    _failed(done, 2, "are not those of the data", "--map MAP.toml")


def test_an_onnx_file_that_nobody_describes(
    edgeseg_cli: Call, small_int8: Path, workplace: Path
) -> None:
    shutil.copy(small_int8 / "float.onnx", workplace / "net.onnx")

    done = edgeseg_cli("build", "net.onnx")

    _failed(done, 2, "which mean, std, labels net.onnx was trained with", "net.toml", "--mean")


def test_an_onnx_file_that_is_described_is_built(
    edgeseg_cli: Call, small_int8: Path, workplace: Path
) -> None:
    shutil.copy(small_int8 / "float.onnx", workplace / "net.onnx")
    names = ",".join(f"class {number}" for number in range(11))

    done = edgeseg_cli(
        "build", "net.onnx", "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25",
        "--scale", 1 / 255, "--labels", names, "--output", "logits", "--order", "rgb",
        "--backend", "openvino", "-o", "engine", "--json",
    )  # fmt: skip

    assert done.code == 0, done.err
    manifest = json.loads(done.out)["manifest"]
    assert (manifest["size"], manifest["labels"][3]) == ("128x96", "class 3")
    assert manifest["bias"] == [-2.0, -2.0, -2.0]


# Exit code 3: packages.

HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""


@pytest.mark.parametrize(
    ("names", "arguments", "said"),
    [
        ({"onnx"}, ("build", NETWORK), "pip install 'edgeseg[graph]'"),
        ({"openvino", "onnxruntime"}, ("build", NETWORK), "no backend is installed"),
        ({"openvino"}, ("build", NETWORK, "--backend", "openvino"), "'edgeseg[openvino]'"),
        ({"av"}, ("run", "ENGINE", "film.mp4"), "pip install 'edgeseg[video]'"),
        ({"torch"}, ("train", NETWORK, "--data", "synthetic"), "pip install 'edgeseg[export]'"),
        (set(), ("build", NETWORK, "--backend", "tensorrt"), "tensorrt"),
    ],
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    as_process: Call,
    workplace: Path,
    small_null: Path,
    names: set[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    (workplace / "film.mp4").write_bytes(b"not reached")
    line = [str(small_null) if part == "ENGINE" else part for part in arguments]

    done = as_process(*line, before=HIDE.format(names=names))

    _failed(done, 3, said)
    assert [path.name for path in workplace.iterdir()] == ["film.mp4"]


# Exit code 5: the gate.


def test_a_missed_gate(edgeseg_cli: Call, pictures: Path, workplace: Path) -> None:
    network = write_network(workplace / "net.onnx")

    done = edgeseg_cli(
        "build", network, "--int8", *QUICKLY, "--calibrate", "folder:train", "--val", "folder:val",
        "--root", pictures, "--max-drop", "-100", "-o", "engine",
    )  # fmt: skip

    _failed(done, 5, "meets the budget", "nothing was published")
    left = {path.name for path in workplace.iterdir()}
    assert left == {"calibration", "net.onnx", "net.toml"}


# Exit code 6: engines that do not fit.


@pytest.mark.parametrize(
    "verb", [("run", "null://"), ("bench",), ("eval", "--data", "synthetic"), ("inspect",)]
)
@pytest.mark.parametrize("file", ["graph.onnx", "plan.openvino", "float.onnx"])
def test_an_engine_with_one_byte_changed(
    edgeseg_cli: Call, own_engine: Path, verb: tuple[str, ...], file: str
) -> None:
    held = bytearray((own_engine / file).read_bytes())
    held[len(held) // 2] ^= 1
    (own_engine / file).write_bytes(held)

    done = edgeseg_cli(verb[0], own_engine, *verb[1:])

    mend = "engine --backend openvino" if "plan" in file else "engine/recipe.toml -o engine"
    _failed(done, 6, f"engine/{file} was altered", f"edgeseg build {mend}")


def test_a_truncated_plan_is_made_anew_from_the_folders_own_graph(
    edgeseg_cli: Call, own_engine: Path
) -> None:
    plan = own_engine / "plan.openvino"
    plan.write_bytes(plan.read_bytes()[:-100])

    assert edgeseg_cli("run", own_engine, "null://?seconds=1&size=120x90").code == 6
    built = edgeseg_cli("build", own_engine, "--backend", "openvino")

    assert built.code == 0, built.err
    assert edgeseg_cli("run", own_engine, "null://?seconds=1&size=120x90").code == 0


def test_an_engine_of_another_version_of_its_backend(edgeseg_cli: Call, own_engine: Path) -> None:
    manifest = json.loads((own_engine / "manifest.json").read_text())
    manifest["plans"]["openvino"]["fingerprint"]["version"] = "2019.1"
    (own_engine / "manifest.json").write_text(json.dumps(manifest))

    done = edgeseg_cli("run", own_engine, "null://")

    _failed(
        done,
        6,
        "built for '2019.1', found '",
        "edgeseg build engine --backend openvino",
    )


def test_the_command_that_it_names_mends_it(edgeseg_cli: Call, own_engine: Path) -> None:
    manifest = json.loads((own_engine / "manifest.json").read_text())
    manifest["plans"]["openvino"]["fingerprint"]["version"] = "2019.1"
    (own_engine / "manifest.json").write_text(json.dumps(manifest))

    built = edgeseg_cli("build", "engine", "--backend", "openvino")

    assert built.code == 0, built.err
    assert edgeseg_cli("run", own_engine, "null://?seconds=1&size=120x90").code == 0


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_no_engine_at_all(edgeseg_cli: Call, folder: str) -> None:
    _failed(edgeseg_cli("run", folder, "null://"), 6, "is no engine folder", "edgeseg build NAME")


def test_a_manifest_that_is_none(edgeseg_cli: Call, own_engine: Path) -> None:
    (own_engine / "manifest.json").write_text("{}")

    _failed(edgeseg_cli("inspect", own_engine), 8, "manifest.json")


# Exit code 7: video.


def test_a_video_that_ends_in_the_middle_of_a_frame(
    edgeseg_cli: Call, small_int8: Path, clip: Path, workplace: Path
) -> None:
    (workplace / "cut.mkv").write_bytes(clip.read_bytes()[: clip.stat().st_size * 3 // 5])

    done = edgeseg_cli("run", small_int8, "cut.mkv", "out.mkv", "--json")

    assert done.code == 0, done.err
    assert 5 < json.loads(done.out)["frames"] < 30
    assert "Traceback" not in done.err
    again = edgeseg_cli("run", small_int8, "out.mkv", "--json")
    assert json.loads(again.out)["frames"] == json.loads(done.out)["frames"]


def test_a_missing_video(edgeseg_cli: Call, small_int8: Path, workplace: Path) -> None:
    _failed(edgeseg_cli("run", small_int8, "film.mp4", "out.mp4"), 7, "film.mp4")
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"a poem\n" * 100])
def test_a_text_file_as_a_video(
    edgeseg_cli: Call, small_int8: Path, workplace: Path, content: bytes
) -> None:
    (workplace / "film.mp4").write_bytes(content)

    _failed(edgeseg_cli("run", small_int8, "film.mp4", "out.mp4"), 7, "film.mp4")
    assert [path.name for path in workplace.iterdir()] == ["film.mp4"]


# Exit code 8: files that do not fit.


def test_a_cut_onnx_file(edgeseg_cli: Call, cut_onnx: Path) -> None:
    _failed(edgeseg_cli("build", cut_onnx, "--mean", "0,0,0", "--std", "1,1,1"), 8, "net.onnx")
    _failed(edgeseg_cli("inspect", cut_onnx), 8, "net.onnx")


def test_a_missing_onnx_file(edgeseg_cli: Call) -> None:
    _failed(edgeseg_cli("build", "net.onnx"), 8, "net.onnx")
    _failed(edgeseg_cli("inspect", "net.onnx"), 8, "net.onnx")


def test_a_missing_recipe(edgeseg_cli: Call) -> None:
    _failed(edgeseg_cli("build", "net.toml"), 8, "net.toml does not exist")


def test_a_recipe_with_a_typo(edgeseg_cli: Call, own_engine: Path, workplace: Path) -> None:
    text = (own_engine / "recipe.toml").read_text().replace("precision =", "precison =")
    (workplace / "recipe.toml").write_text(text)

    _failed(edgeseg_cli("build", "recipe.toml"), 8, "precison")


def test_an_onnx_file_without_a_picture_as_input(edgeseg_cli: Call, workplace: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    sound = helper.make_tensor_value_info("sound", TensorProto.FLOAT, [1, 16000])
    loud = helper.make_tensor_value_info("loud", TensorProto.FLOAT, [1, 16000])
    graph = helper.make_graph([helper.make_node("Abs", ["sound"], ["loud"])], "g", [sound], [loud])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, workplace / "net.onnx")

    done = edgeseg_cli("build", "net.onnx", "--mean", "0,0,0", "--std", "1,1,1", "--labels", "a,b")

    _failed(done, 8, "sound")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder.mkdir(), "holds no pictures"),
        (lambda folder: None, "data is missing"),  # noqa: ARG005
        (lambda folder: folder.write_text("x"), "data is not a folder"),
        (lambda folder: _write(folder, b"no picture"), "be read"),
        (lambda folder: _write(folder, b""), "be read"),
    ],
)
def test_nothing_to_calibrate_with(
    edgeseg_cli: Call, workplace: Path, make: object, said: str
) -> None:
    make(workplace / "data")  # type: ignore[operator]

    done = edgeseg_cli("build", NETWORK, *INT8, "--calibrate", "folder", "--root", "data")

    _failed(done, 8, said)
    assert not (workplace / "engines").exists()


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.full((90, 120), 11, np.uint8), "holds the label ids 11"),
        (np.zeros((45, 60), np.uint8), "is 120x90, but its mask 0.png is 60x45"),
        (np.zeros((90, 120, 3), np.uint8), "not a mask of class ids"),
    ],
)
def test_masks_that_do_not_fit(
    edgeseg_cli: Call, workplace: Path, small_int8: Path, mask: np.ndarray, said: str
) -> None:
    (workplace / "data" / "images").mkdir(parents=True)
    (workplace / "data" / "masks").mkdir()
    Image.fromarray(street(0)[0]).save("data/images/0.png")
    Image.fromarray(mask).save("data/masks/0.png")
    write_class_names(workplace / "data")

    _failed(edgeseg_cli("eval", small_int8, "--data", "folder", "--root", "data"), 8, said)
    built = edgeseg_cli(
        "build", NETWORK, *INT8, "--calibrate", "folder", "--val", "folder", "--root", "data"
    )
    _failed(built, 8, said)
    assert not (workplace / "engines").exists()


# Exit code 9: targets.


@pytest.mark.parametrize(
    "line",
    [
        ("export", NETWORK, "-o", "file/core.onnx"),
        ("build", NETWORK, "--size", "128x96", "-o", "file/engine"),
        ("build", NETWORK, "--size", "128x96", "-o", "file"),
        ("run", "ENGINE", "null://?seconds=1&size=120x90", "file/out.mp4"),
        ("run", "ENGINE", "null://?seconds=1&size=120x90", "file/masks/"),
        ("demo", "-o", "file/demo", "--seconds", "1"),
        ("train", NETWORK, "--data", "synthetic", "-o", "file/run", "--steps", "1"),
    ],
)
def test_a_target_that_cannot_be_written(
    edgeseg_cli: Call,
    workplace: Path,
    small_int8: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: tuple[str, ...],
) -> None:
    if line[0] == "train":
        pytest.importorskip("torch")
        monkeypatch.setitem(synthetic.SPLITS, "train", (2, 0))
    (workplace / "file").write_text("mine")

    done = edgeseg_cli(*(small_int8 if part == "ENGINE" else part for part in line))

    _failed(done, 9, "file")
    assert (workplace / "file").read_text() == "mine"
    assert [path.name for path in workplace.iterdir()] == ["file"]


FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes}, {bytes}))
"""


@pytest.mark.parametrize(
    ("line", "limit"),
    [
        (("export", NETWORK, "-o", "core.onnx"), 1_000_000),
        (("build", NETWORK, "--size", "128x96", "-o", "engine"), 3_000_000),
        (("run", "ENGINE", "synthetic://?seconds=0.5&size=120x90", "out.mkv"), 3_000),
    ],
)
def test_a_target_that_is_full(
    as_process: Call, workplace: Path, small_int8: Path, line: tuple[str, ...], limit: int
) -> None:
    parts = [small_int8 if part == "ENGINE" else part for part in line]

    done = as_process(*parts, before=FULL.format(bytes=limit))

    _failed(done, 9, "cannot be written")
    assert list(workplace.iterdir()) == []


def test_a_strangers_folder_is_left_alone(edgeseg_cli: Call, workplace: Path) -> None:
    (workplace / "holiday").mkdir()
    (workplace / "holiday" / "photo.jpg").write_bytes(b"precious")

    done = edgeseg_cli("build", NETWORK, "--size", "128x96", "-o", "holiday")

    _failed(done, 9, "holiday exists and is no engine folder")
    assert [path.name for path in (workplace / "holiday").iterdir()] == ["photo.jpg"]


def _write(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "one.png").write_bytes(content)
