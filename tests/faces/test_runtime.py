"""What runs the networks: one answer from every engine, and the fastest remembered."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from portraitd.faces import dlib_comparison, graph_cache
from portraitd.faces.detectors.mmod import MmodDetector
from portraitd.faces.factory import build_detector, describe_detector_runtime
from portraitd.faces.interface import EncoderSpec
from portraitd.faces.runtime import (
    MAX_SHAPES,
    Runtime,
    Session,
    has_bfloat16,
    has_openvino,
    open_session,
)
from portraitd.faces.runtime_selection import (
    WORTH_IT,
    RuntimeSelector,
    Variant,
    describe_machine,
    grey_pictures,
)
from portraitd.model.errors import ConfigError, ModelError

has_no_openvino = importlib.util.find_spec("openvino") is None

needs_openvino = pytest.mark.skipif(has_no_openvino, reason="the extra openvino is not installed")

SAMPLE = grey_pictures(150, 150)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graphs are built once for all tests here."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def resnet(models_dir: Path) -> Path:
    """The graph of the embedding."""
    return graph_cache.ensure_resnet(models_dir)


@needs_openvino
@pytest.mark.parametrize(("engine", "within"), [("openvino", 1e-5), ("openvino-bf16", 0.02)])
def test_every_engine_gives_one_answer(resnet: Path, engine: Runtime, within: float) -> None:
    """To the precision it computes in; and a batch is its pictures one by one."""
    if engine == "openvino-bf16" and not has_bfloat16():
        pytest.skip("this processor has no bfloat16")
    chips = np.random.default_rng(0).integers(0, 256, (3, 150, 150, 3), np.uint8)
    expected = open_session(resnet, "onnxruntime").run(chips)
    session = open_session(resnet, engine)

    together = session.run(chips)
    alone = np.concatenate([session.run(chip[None]) for chip in chips])

    assert np.abs(expected - together).max() < within
    assert np.array_equal(alone, together)


@needs_openvino
def test_openvino_finds_the_drawn_face(models_dir: Path) -> None:
    """Whatever it computes in."""
    session = RuntimeSelector("openvino", models_dir).open(
        graph_cache.ensure_mmod(models_dir), SAMPLE
    )
    detector = MmodDetector(session, upsample=0)

    assert dlib_comparison.measure_score_difference(detector) < 0.02


@needs_openvino
def test_many_shapes_change_nothing(models_dir: Path) -> None:
    """What OpenVINO keeps for each is dropped now and then."""
    session = open_session(graph_cache.ensure_mmod(models_dir), "openvino")
    face = dlib_comparison.draw_face(120)[None]
    before = session.run(face)

    for width in range(80, 80 + MAX_SHAPES + 1):
        session.run(np.zeros((1, 80, width, 3), np.uint8))

    assert np.array_equal(before, session.run(face))


@needs_openvino
def test_openvino_does_not_report_its_use() -> None:
    """Its model converter would, over the network, at every import."""
    program = (
        "import sys; from portraitd.faces.runtime import has_openvino; assert has_openvino(); "
        "print([name for name in sys.modules if 'telemetry' in name and sys.modules[name]])"
    )

    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert (told.stderr, told.stdout) == ("", "[]\n")


@pytest.mark.skipif(not has_no_openvino, reason="the extra openvino is installed")
def test_without_openvino_there_is_one_engine(models_dir: Path, resnet: Path) -> None:
    """Nothing is measured, and a wish for more says what to install."""
    assert not has_openvino()
    assert "onnxruntime" == RuntimeSelector("auto", models_dir).select(resnet, SAMPLE)
    with pytest.raises(ConfigError, match="pip install 'openvino"):
        RuntimeSelector("openvino", models_dir).select(resnet, SAMPLE)


def test_a_named_engine_is_not_measured(models_dir: Path, resnet: Path) -> None:
    """The clock is never looked at."""

    def clock() -> float:
        raise AssertionError("somebody looked at the clock")

    assert "onnxruntime" == RuntimeSelector("onnxruntime", models_dir, clock).select(resnet, SAMPLE)


class Clock:
    """Time that goes on by a step; the steps after the first ``count`` are shorter."""

    def __init__(self, first_s: float, then_s: float, count: int) -> None:
        self._now_s, self._steps = 0.0, [first_s] * count + [then_s] * count
        self.looks = 0

    def __call__(self) -> float:
        self._now_s += self._steps[self.looks]
        self.looks += 1
        return self._now_s


@needs_openvino
def test_the_fastest_engine_is_taken_and_remembered(tmp_path: Path, resnet: Path) -> None:
    """It is measured once for a machine and its versions."""
    slow_first, fast_first = Clock(2.0, 1.0, 10), Clock(1.0, 2.0, 10)

    taken = RuntimeSelector("auto", tmp_path, slow_first).select(resnet, SAMPLE)
    again = RuntimeSelector("auto", tmp_path, fast_first).select(resnet, SAMPLE)

    assert taken.startswith("openvino")
    assert taken == again
    assert (20, 0) == (slow_first.looks, fast_first.looks)
    (tmp_path / "engines.json").unlink()
    assert "onnxruntime" == RuntimeSelector("auto", tmp_path, fast_first).select(resnet, SAMPLE)


@needs_openvino
@pytest.mark.parametrize(
    "kept",
    [
        "",
        "[]",
        '{"machine": 1}',
        json.dumps({"machine": "another one", "engines": {"NAME": "ENGINE"}}),
        json.dumps({"machine": describe_machine(), "engines": {"NAME": "magic"}}),
        json.dumps({"machine": describe_machine(), "engines": ["NAME"]}),
    ],
)
def test_a_memory_that_does_not_hold_is_measured_again(
    tmp_path: Path, resnet: Path, kept: str
) -> None:
    """Damaged, of another machine, or of an engine that is not there."""
    other = RuntimeSelector("openvino", tmp_path).select(resnet, SAMPLE)
    kept = kept.replace("NAME", resnet.name).replace("ENGINE", other)
    (tmp_path / "engines.json").write_text(kept)
    clock = Clock(1.0, 2.0, 10)

    assert "onnxruntime" == RuntimeSelector("auto", tmp_path, clock).select(resnet, SAMPLE)
    assert 20 == clock.looks


class FixedClock:
    """Time that goes on by what the session in use takes: the plain ones 1 s, the variant less."""

    def __init__(self, variant_s: float) -> None:
        self._now_s, self._variant_s = 0.0, variant_s
        self.runs_variant = False

    def __call__(self) -> float:
        self._now_s += self._variant_s if self.runs_variant else 1.0
        return self._now_s


def variant_of(clock: FixedClock, resnet: Path, *, is_sound: bool = True) -> Variant:
    """Return a variant that is the network itself."""

    def open_it() -> Session:
        clock.runs_variant = True
        return open_session(resnet, "onnxruntime")

    return Variant("onnxruntime-int8", "resnet-int8", open_it, lambda exact, other: is_sound)


@pytest.mark.parametrize(
    ("takes_s", "is_sound", "is_taken"),
    [
        (0.5, True, True),
        (0.99 / WORTH_IT, True, True),
        (1.01 / WORTH_IT, True, False),
        (0.5, False, False),
    ],
)
def test_a_variant_is_taken_if_it_is_much_faster_and_sound(
    tmp_path: Path, resnet: Path, takes_s: float, is_sound: bool, is_taken: bool
) -> None:
    """What was found is kept, with what was measured, and not measured again."""
    clock = FixedClock(takes_s)
    selector = RuntimeSelector("auto", tmp_path, clock)
    variant = variant_of(clock, resnet, is_sound=is_sound)

    chosen = selector.select(resnet, SAMPLE, variant)

    timings = selector.timings_ms(variant.key)
    assert is_taken == (chosen == variant.name)
    assert is_taken == (timings.get(variant.name) == pytest.approx(1000 * takes_s))
    assert pytest.approx(1000) == timings["onnxruntime"]
    never = FixedClock(0.0)
    again = RuntimeSelector("auto", tmp_path, never)
    assert chosen == again.select(resnet, SAMPLE, variant_of(never, resnet))
    assert not never.runs_variant


def test_a_variant_that_cannot_be_loaded_is_not_taken(tmp_path: Path, resnet: Path) -> None:
    """Another version of the runtime may not have its operators."""

    def refuse() -> Session:
        return open_session(tmp_path / "gone.onnx", "onnxruntime")

    variant = Variant("onnxruntime-int8", "gone", refuse, lambda exact, other: True)

    chosen = RuntimeSelector("auto", tmp_path).select(resnet, SAMPLE, variant)

    assert variant.name != chosen
    assert variant.name not in RuntimeSelector("auto", tmp_path).timings_ms("gone")


def test_a_named_runtime_has_no_variant(tmp_path: Path, resnet: Path) -> None:
    """It computes in float32, and nothing is measured."""
    clock = FixedClock(0.1)
    selector = RuntimeSelector("onnxruntime", tmp_path, clock)

    assert "onnxruntime" == selector.select(resnet, SAMPLE, variant_of(clock, resnet))
    assert not clock.runs_variant
    assert not (tmp_path / "engines.json").exists()


def test_choices_of_an_earlier_version_are_kept(tmp_path: Path, resnet: Path) -> None:
    """They have no timings, and no variant was measured."""
    kept = {"machine": describe_machine(), "engines": {resnet.name: "onnxruntime"}}
    (tmp_path / "engines.json").write_text(json.dumps(kept))
    clock = FixedClock(0.5)
    selector = RuntimeSelector("auto", tmp_path, clock)
    variant = variant_of(clock, resnet)

    assert "onnxruntime" == selector.select(resnet, SAMPLE)
    assert variant.name == selector.select(resnet, SAMPLE, variant)
    assert "onnxruntime" == selector.select(resnet, SAMPLE)
    assert {} == selector.timings_ms(resnet.name)


def test_the_detector_runs_in_what_was_measured_to_be_faster(models_dir: Path) -> None:
    """And ``check`` says so. Which one that is depends on the machine."""
    settings = EncoderSpec(models_dir, detector="mmod")
    [[found]] = build_detector(settings).detect([dlib_comparison.draw_face(300)], 0.0)
    named = replace(settings, runtime="onnxruntime")
    [[exact]] = build_detector(named).detect([dlib_comparison.draw_face(300)], 0.0)

    described = describe_detector_runtime(settings)

    assert described.startswith(("onnxruntime", "openvino"))
    assert "(onnxruntime " in described and described.endswith(" ms)")
    assert "onnxruntime" == describe_detector_runtime(named)
    assert "dlib" == describe_detector_runtime(replace(settings, detector="hog"))
    assert exact.box.iou(found.box) > 0.9
    if described.startswith("onnxruntime"):
        assert exact == found


def test_a_network_that_is_gone_is_an_error_to_act_on(tmp_path: Path) -> None:
    """Named, for every engine."""
    engines: list[Runtime] = ["onnxruntime"] if has_no_openvino else ["onnxruntime", "openvino"]
    for engine in engines:
        with pytest.raises(ModelError, match=r"gone\.onnx cannot be loaded"):
            open_session(tmp_path / "gone.onnx", engine)


def test_the_engine_reports_to_nobody(tmp_path: Path, resnet: Path) -> None:
    """ONNX Runtime keeps a database below the home of what it will send, unless told not to."""
    script = (
        "import pathlib, sys\n"
        "from portraitd.faces.runtime import open_session\n"
        "open_session(pathlib.Path(sys.argv[1]), 'onnxruntime')\n"
    )
    without = ("ORT_", "XDG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(without)}

    subprocess.run(
        [sys.executable, "-c", script, resnet], env=kept | {"HOME": str(tmp_path)}, check=True
    )

    assert [] == [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name]
