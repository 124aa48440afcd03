"""What each verb prints, and that its JSON is complete."""

import json
from pathlib import Path
from typing import Any

import pytest

import edgeseg
from edgeseg.cli import VERBS
from edgeseg.engine import Engine
from tests.cli.conftest import Call
from tests.small import NETWORK, PLAIN, QUICKLY

pytestmark = pytest.mark.needs("openvino", "av", "cv2", "onnx", "PIL")


def _json(text: str) -> dict[str, Any]:
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert document["schema"] == 1
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb(edgeseg_cli: Call, verb: str) -> None:
    done = edgeseg_cli(verb, "--help")

    assert done.code == 0
    assert f"{verb} [OPTIONS]" in done.out
    assert "--json" in done.out
    assert done.err == ""


def test_help_gives_whole_names_of_options_on_a_narrow_terminal(
    edgeseg_cli: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    lines = edgeseg_cli("build", "--help").out.splitlines()

    assert max(map(len, lines)) <= 80
    for option in ("--optimization-level", "--version-compatible", "--no-timing-cache"):
        assert any(option in line for line in lines)


def test_help_names_every_verb(edgeseg_cli: Call) -> None:
    done = edgeseg_cli("--help")

    assert done.code == 0
    assert all(f" {verb} " in done.out for verb in VERBS)


def test_version(edgeseg_cli: Call) -> None:
    done = edgeseg_cli("--version")

    assert (done.code, done.out) == (0, f"{edgeseg.__version__}\n")


def test_models(edgeseg_cli: Call) -> None:
    found = _json(edgeseg_cli("models", "--json").out)

    assert NETWORK in [model["name"] for model in found["items"]]
    assert NETWORK in edgeseg_cli("models").out


def test_export(edgeseg_cli: Call, workplace: Path) -> None:
    import onnx

    found = _json(edgeseg_cli("export", NETWORK, "-o", "core.onnx", "--json").out)

    assert found["bytes"] == (workplace / "core.onnx").stat().st_size
    graph = onnx.load(workplace / "core.onnx").graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["pixels", "logits"]


def test_build_run_and_look_at_the_engine(
    edgeseg_cli: Call, workplace: Path, pictures: Path
) -> None:
    data = ("--calibrate", "folder:train", "--val", "folder:val", "--root", pictures)
    options = ("--int8", *data, *QUICKLY)
    built = edgeseg_cli(
        "build", NETWORK, *options, "--size", "128x96", "--max-drop", 100, "--backend", "openvino"
    )
    assert built.code == 0, built.err
    folder = f"engines/{NETWORK}-int8-128x96"
    assert folder in built.out.replace("\n", "")
    assert "drop" in built.out

    done = edgeseg_cli("run", folder, "synthetic://?seconds=1&size=120x90", "out.mp4", "masks/")

    assert done.code == 0, done.err
    assert "30 in" in done.out
    assert len(list((workplace / "masks" / "masks").iterdir())) == 30
    assert (workplace / "out.mp4").stat().st_size > 1000
    assert sorted(path.name for path in workplace.iterdir()) == [
        "calibration",
        "engines",
        "masks",
        "out.mp4",
    ]


def test_build_as_json(edgeseg_cli: Call, small_int8: Path) -> None:
    done = edgeseg_cli("build", small_int8 / "recipe.toml", "-o", "engine", "--json")
    found = _json(done.out)

    assert found["folder"] == "engine"
    measured = found["manifest"]["plans"]["openvino"]["measured"]
    assert measured["drop"] == pytest.approx(measured["reference_miou"] - measured["miou"])
    assert found["manifest"] == json.loads(Path("engine/manifest.json").read_text())


def test_run_as_json(edgeseg_cli: Call, small_int8: Path) -> None:
    found = _json(
        edgeseg_cli("run", small_int8, "synthetic://?seconds=1&size=120x90", "--json").out
    )

    assert set(found) == {
        "schema",
        "frames",
        "fps",
        "seconds",
        "age_ms",
        "stages_ms",
        "damaged",
        "skipped",
        "outputs",
        "memory",
        "cameras",
    }
    assert found["memory"] is None
    assert (found["frames"], found["outputs"]) == (30, ["null://"])
    assert {"p50", "p95", "p99"} <= set(found["age_ms"])
    assert found["stages_ms"]["pre"] is None


@pytest.mark.parametrize("how", ["overlay", "mask", "side-by-side"])
def test_run_shows_what_was_asked_for(edgeseg_cli: Call, small_int8: Path, how: str) -> None:
    done = edgeseg_cli(
        "run", small_int8, "null://?seconds=1&size=120x90", "out.mkv", "--visualize", how,
        "--alpha", "0.3", "--no-legend", "--workers", 2, "--codec", "mpeg4",
    )  # fmt: skip

    assert done.code == 0, done.err
    source = edgeseg.video.open_source("out.mkv")
    assert source.info.size.width == (240 if how == "side-by-side" else 120)
    source.close()


def test_run_on_a_folder_of_pictures_that_stands_for_a_rate(
    edgeseg_cli: Call, small_int8: Path, pictures: Path
) -> None:
    done = edgeseg_cli(
        "run", small_int8, pictures / "test" / "images", "out.mkv", "--fps", "5", "--json"
    )

    assert done.code == 0, done.err
    assert _json(done.out)["frames"] == 3
    source = edgeseg.video.open_source("out.mkv")
    assert source.info.fps == 5
    source.close()


def test_bench_as_json_and_as_tables(edgeseg_cli: Call, small_int8: Path, small_fp32: Path) -> None:
    arguments = ("bench", small_int8, "null://?seconds=1&size=120x90", "--frames", 5)
    found = _json(edgeseg_cli(*arguments, "--versus", small_fp32, "--workers", 2, "--json").out)

    assert {"p50", "p95", "p99"} <= set(found["latency_ms"])
    assert found["end_to_end"]["fps"] > 0
    assert found["versus"]["paper"]["network"].startswith("DeepLab v1")
    assert found["versus"][str(small_fp32)]["ratio"] > 0
    assert set(found["foreign_load"]) == {"cpus", "dirty"}
    table = edgeseg_cli(*arguments, "--threads", 1)
    assert table.code == 0, table.err
    assert "network alone" in table.out
    assert "DeepLab v1" in table.out


def test_bench_of_an_offered_load_as_json_and_as_tables(
    edgeseg_cli: Call, small_null: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeseg.benchmark_loop.FLICKER_S", 0.1)
    source = "null://?seconds=9999&size=128x96"
    load = ("--source", source, "--rate", "40", "--seconds", "0.3", "--frames", 2)
    found = _json(edgeseg_cli("bench", small_null, *load, "--source", source, "--json").out)

    assert (found["live"]["rate"], found["live"]["seconds"]) == (40, 0.3)
    for camera in found["live"]["cameras"]:
        gone = camera["counts"]["dropped"] + camera["counts"]["late"]
        assert camera["counts"]["captured"] == camera["frames"] + gone
        assert camera["age_ms"]["p99"] > 0
    assert found["end_to_end"]["sources"] == [source, source]
    table = edgeseg_cli("bench", small_null, "null://", *load)  # a sink, beside a --source
    assert table.code == 0, table.err
    assert "Sources, 40 fps asked for" in table.out
    assert "age p50, p95, p99, ms" in table.out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--rate", "30"), "source"),
        (("null://", "--rate", "many"), "--rate"),
        (("null://", "--seconds", "0"), "--seconds"),
        (("--memory", "all", "--source", "null://"), "--memory all"),
    ],
)
def test_bench_refuses_a_load_that_is_none(
    edgeseg_cli: Call, small_null: Path, arguments: tuple[str, ...], word: str
) -> None:
    done = edgeseg_cli("bench", small_null, *arguments)

    assert done.code == 2
    assert word in done.err


def test_eval_as_json_and_as_tables(edgeseg_cli: Call, small_int8: Path, pictures: Path) -> None:
    arguments = ("eval", small_int8, "--data", "folder:test", "--root", pictures)
    found = _json(edgeseg_cli(*arguments, "--json").out)

    assert found["frames"] == 3
    assert found["drop"] == pytest.approx(found["reference"]["miou"] - found["miou"])
    table = edgeseg_cli(*arguments, "--count", 1)
    assert table.code == 0, table.err
    assert "Pavement" in table.out
    assert "1 pictures" in table.out


def test_inspect_an_engine(edgeseg_cli: Call, small_int8: Path) -> None:
    found = _json(edgeseg_cli("inspect", small_int8, "--json").out)

    assert found["usable"] == {"openvino": "yes"}
    assert found["graph"]["findings"] == []
    assert 0 < found["graph"]["macs_int8"] <= found["graph"]["macs"]
    assert found["graph"]["macs"] >= found["manifest"]["macs"]  # head and tail add some
    assert "quantisation" in edgeseg_cli("inspect", small_int8).out


def test_inspect_an_onnx_file(edgeseg_cli: Call, small_int8: Path) -> None:
    found = _json(edgeseg_cli("inspect", small_int8 / "float.onnx", "--json").out)

    assert found["manifest"] is None
    assert list(found["graph"]["inputs"]) == ["pixels"]
    assert found["graph"]["macs_int8"] == 0


def test_doctor(edgeseg_cli: Call) -> None:
    found = _json(edgeseg_cli("doctor", "--json").out)

    usable = {check["name"]: check["usable"] for check in found["backends"]}
    assert usable["openvino"] is True
    assert set(usable) == {"tensorrt", "openvino", "onnxruntime"}
    assert all(check["detail"] for check in (*found["backends"], *found["packages"]))
    printed = edgeseg_cli("doctor").out
    assert "openvino" in printed
    assert printed.count("--system-site-packages") <= 1  # the remedy of TensorRT stands there once


def test_doctor_ends_with_the_mends_of_what_is_wrong_in_lines_to_copy(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from edgeseg.cli.doctor_verb import print_diagnosis
    from edgeseg.doctor import doctor
    from tests.device.trees import ORIN_NANO, write
    from tests.well_board import well_board

    place = well_board(tmp_path, origin={}.get)
    write(tmp_path, ORIN_NANO)

    print_diagnosis(doctor(place))

    lines = capsys.readouterr().out.splitlines()
    (venv,) = (line for line in lines if line.startswith("TensorRT: mend:"))
    assert venv.endswith("; python3 -m venv --system-site-packages .venv")
    (clocks,) = (line for line in lines if line.startswith("clocks: if you like: sudo jetson_cl"))
    assert lines.index(venv) < lines.index(clocks)


def test_the_python_of_the_manual(workplace: Path, pictures: Path) -> None:
    # Importing the modules must not put them in the place of the functions.
    import edgeseg.benchmark
    import edgeseg.build
    import edgeseg.evaluate
    import edgeseg.stream

    engine = edgeseg.build(
        NETWORK,
        precision="int8",
        calibrate="folder:train",
        val="folder:val",
        root=str(pictures),
        size=edgeseg.Size(96, 128),
        max_drop=100.0,
        without=PLAIN,
    )
    assert isinstance(engine, Engine)
    image = edgeseg.datasets.open_dataset("folder:test", root=pictures).frame(0).image
    labels = engine(image)
    assert (labels.shape, labels.dtype) == (image.shape[:2], "uint8")
    ages = [
        (result.labels.shape, result.age_ms)
        for result in edgeseg.stream(engine, "synthetic://?seconds=0.5&size=120x90")
    ]
    assert len(ages) == 15
    assert 0 <= edgeseg.evaluate(engine, "folder:test", root=str(pictures)).miou <= 100
    assert workplace.joinpath("engines").is_dir()
