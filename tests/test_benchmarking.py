"""The clock: who is measured when, and what is made of it."""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from densewatch.benchmarking import machine, report, torchvision_peer
from densewatch.benchmarking.clock import Recording, compare, pictures_per_second, take_turns
from densewatch.benchmarking.pictures import drawn_picture
from densewatch.benchmarking.report import run_benchmark
from densewatch.benchmarking.torchvision_peer import TorchvisionPeer, architecture_like
from densewatch.cli import bench
from densewatch.cli.main import app
from densewatch.runtime import cpu
from densewatch.runtime.detector import Detector, load
from densewatch.runtime.engine import EngineError, Output
from densewatch.runtime.model_file import embedded_models
from densewatch.runtime.openvino_engine import OpenVinoEngine
from tiny_model import tiny_info, write_tiny_model


def recording(*total_ms: float) -> Recording:
    return Recording({"total": np.array(total_ms)})


def test_contestants_take_turns_and_who_begins_changes() -> None:
    calls: list[tuple[str, bytes]] = []

    def contestant(name: str) -> Callable[[bytes], Mapping[str, float]]:
        def measure(picture: bytes) -> Mapping[str, float]:
            calls.append((name, picture))
            return {"network": 1.0, "total": float(len(calls))}

        return measure

    turns: list[None] = []
    recordings = take_turns(
        {"ours": contestant("ours"), "peer": contestant("peer")},
        [b"1", b"2"],
        runs=2,
        warm_up=1,
        on_turn=lambda: turns.append(None),
    )
    assert [name for name, _ in calls] == ["ours", "peer", "peer", "ours"] * 3
    assert [picture for _, picture in calls] == [b"1", b"1", b"2", b"2"] * 3
    assert len(turns) == 6
    # The first picture pair is warm-up; of the rest, every measurement is there, in order.
    assert recordings["ours"].total_ms.tolist() == [5, 8, 9, 12]
    assert recordings["peer"].total_ms.tolist() == [6, 7, 10, 11]


@pytest.mark.parametrize(("pictures", "runs"), [([], 1), ([b"1"], 0)])
def test_nothing_to_measure_is_an_error(pictures: list[bytes], runs: int) -> None:
    with pytest.raises(ValueError, match="each must be at least 1"):
        take_turns({"ours": lambda picture: {"total": 1.0}}, pictures, runs=runs)


def test_summary_has_percentiles_of_every_stage() -> None:
    values = np.arange(1.0, 102.0)
    summary = Recording({"read": values, "total": values * 2}).summary()
    assert summary == {
        "read": {"p50": 51.0, "p95": 96.0, "p99": 100.0},
        "total": {"p50": 102.0, "p95": 192.0, "p99": 200.0},
    }


def test_ratios_say_how_many_times_as_long_the_peer_takes() -> None:
    comparison = compare(recording(10, 20, 40), recording(50, 80, 160))
    assert comparison.ratio_of_medians == 4.0
    assert comparison.median_of_ratios == 4.0
    # One slow turn that hit both moves neither figure.
    assert compare(recording(10, 10, 1000), recording(50, 50, 5000)).median_of_ratios == 5.0


def test_the_drawn_picture_is_a_jpeg_and_always_the_same() -> None:
    assert drawn_picture() == drawn_picture()
    with Image.open(io.BytesIO(drawn_picture())) as image:
        assert (image.format, image.size) == ("JPEG", (640, 480))


def test_machine_reads_linux_cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nflags\t\t: fpu avx2 amx_bf16 sse\n\n" * 2
    )
    monkeypatch.setattr(cpu, "_CPUINFO", cpuinfo)
    described = machine.describe_machine()
    assert described.cpu == "Some CPU @ 3 GHz"
    assert described.instruction_sets == ("avx2", "amx_bf16")
    assert described.cores >= 1


def test_machine_without_cpuinfo_still_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "absent")
    assert machine.describe_machine().cpu


def test_the_nearest_peer_is_told_by_where_p6_comes_from() -> None:
    info = tiny_info()
    assert architecture_like(info) == "retinanet_resnet50_fpn_v2"
    v1 = info.model_copy(update={"architecture": {"pyramid": {"p6_from": "P5"}}})
    assert architecture_like(v1) == "retinanet_resnet50_fpn"


def test_bench_prints_what_was_measured(tmp_path: Path) -> None:
    model = str(write_tiny_model(tmp_path / "tiny.onnx"))
    arguments = ["bench", "--model", model, "--runs", "2", "--threads", "1", "--precision", "float32"]
    document = json.loads(CliRunner().invoke(app, [*arguments, "--format", "json"]).stdout)
    assert (document["pictures"], document["runs"]) == (1, 2)
    assert list(document["timing_ms"]) == ["read", "prepare", "network", "boxes", "total"]
    assert document["timing_ms"]["total"]["p95"] >= document["timing_ms"]["total"]["p50"] > 0
    for word in ("tiny", "openvino", "float32", "1 threads"):
        assert word in document["model"]
    table = CliRunner().invoke(app, arguments).stdout
    assert table.startswith("machine")
    assert "ours p99" in table
    assert document["cold_ms"].keys() == {"load", "first_picture"}
    assert document["pictures_per_second"] > 1
    assert document["peak_memory_mb"] > 50


def test_bench_refuses_to_time_pictures_that_are_not_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["bench", str(tmp_path / "absent.jpg")])
    assert result.exit_code == 1
    assert "absent.jpg" in result.stderr


def test_bench_names_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    model = str(write_tiny_model(tmp_path / "tiny.onnx"))
    result = CliRunner().invoke(app, ["bench", str(tmp_path / "text.jpg"), "--model", model])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: cannot read {tmp_path / 'text.jpg'}: it is no picture")


def test_bench_ends_with_a_sentence_where_the_engine_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, images: object) -> None:
        raise EngineError("OpenVINO failed")

    monkeypatch.setattr(OpenVinoEngine, "__call__", fail)
    result = CliRunner().invoke(app, ["bench", "--model", str(write_tiny_model(tmp_path / "tiny.onnx"))])
    assert result.exit_code == 1
    assert result.stderr.endswith("error: OpenVINO failed\n")


class FakePeer:
    """Takes ten times as long as anybody's total, by its own account."""

    def __init__(self, architecture: str, threads: int) -> None:
        self.description = f"a fake {architecture} on {threads} threads"

    def __call__(self, picture: bytes) -> Mapping[str, float]:
        return {"read": 1000.0, "prepare": 2000.0, "network": 3000.0, "boxes": 4000.0, "total": 10_000.0}


Load = Callable[[int], Detector]


@pytest.fixture
def load_tiny(tmp_path: Path) -> Load:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    return lambda streams: load(path, threads=1, precision="float32", streams=streams)


def test_throughput_is_measured_for_long_enough() -> None:
    counts: list[int] = []

    def work(pictures: Sequence[bytes]) -> None:
        counts.append(len(pictures))
        time.sleep(len(pictures) * 1e-3)

    assert pictures_per_second(work, [b"a", b"b"], seconds=0.2) == pytest.approx(1000, rel=0.3)
    assert counts[0] == 8
    assert counts[-1] >= 100


def test_another_engine_takes_part(tmp_path: Path) -> None:
    model = str(write_tiny_model(tmp_path / "tiny.onnx"))
    arguments = ["bench", "--model", model, "--runs", "2", "--threads", "1", "--peer", "onnxruntime"]
    document = json.loads(CliRunner().invoke(app, [*arguments, "--format", "json"]).stdout)
    assert "onnxruntime" in document["peer"]["model"]
    assert document["peer"]["timing_ms"].keys() == document["timing_ms"].keys()


@pytest.mark.parametrize(
    ("peer", "ours", "place"),
    [
        ("torch", "cpu", "cpu"),
        ("onnxruntime", "cpu", "cpu"),
        ("tensorrt", "cpu", "cuda"),
        ("openvino", "cuda:1", "cpu"),
        ("torch", "cuda:1 with TensorRT", "cuda:1"),
        ("onnxruntime", "cuda:1 (Stand-in 3000)", "cuda:1"),
        ("tensorrt", "cuda:1", "cuda:1"),
    ],
)
def test_a_peer_runs_where_ours_runs(peer: bench.PeerName, ours: str, place: str) -> None:
    """Else a CPU would be compared with a GPU; OpenVINO and TensorRT have but one place."""
    assert bench._peers_device(peer, ours) == place


def test_a_peer_runs_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the embedded model, the peer alone would choose another form."""
    asked: list[tuple[str | None, str, str]] = []
    path = write_tiny_model(tmp_path / "tiny.onnx")

    def load_detector(
        model: str | None, engine: str, threads: int | None, precision: str, *, device: str, **_: object
    ) -> Detector:
        asked.append((model, engine, device))
        return load(path, threads=1)

    monkeypatch.setattr(bench, "load_detector", load_detector)
    monkeypatch.setattr(report, "_SETTLE_S", 0.0)
    arguments = ["bench", "--runs", "1", "--peer", "torch", "--precision", "float32"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    float_file = str(embedded_models()[0])
    assert asked == [(None, "auto", "auto"), (float_file, "torch", "cpu"), (None, "auto", "auto")]


class CountingEngine:
    """Finds nothing, and counts the batches it is given."""

    name, version, numeric_type, device = "counting", "1", "float32", "cpu"
    threads, streams = 1, 1

    def __init__(self) -> None:
        self.batches: Counter[int] = Counter()

    def __call__(self, images: np.ndarray) -> Output:
        count, height, width, _ = images.shape
        self.batches[count] += 1
        time.sleep(1e-3)  # for others to wait meanwhile
        cells = (height // 32) * (width // 32) + (height // 64) * (width // 64)
        return np.zeros((count, cells, 4), np.float32), np.zeros((count, cells, 3), np.float32)


def test_batches_have_come_often_when_throughput_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a size of batch that comes often a network is compiled, which is no part of throughput."""
    engine = CountingEngine()
    before: list[Counter[int]] = []

    def pictures_per_second(work: object, pictures: Sequence[bytes]) -> float:
        before.append(engine.batches.copy())
        return 1.0

    monkeypatch.setattr(report, "pictures_per_second", pictures_per_second)
    monkeypatch.setattr(report, "_SETTLE_S", 60.0)
    run_benchmark(lambda streams: Detector(tiny_info(), engine, batch=4), [drawn_picture((64, 64))], runs=1)
    assert before[0][4] >= 16


def test_a_report_with_a_peer_has_its_figures_and_the_ratios(load_tiny: Load) -> None:
    report = run_benchmark(
        load_tiny, [drawn_picture()], runs=3, make_peer=lambda ours: FakePeer("net", ours.engine.threads)
    )
    document = report.to_dict()
    assert set(document) == {
        *("machine", "code", "model", "pictures", "runs", "cold_ms", "timing_ms"),
        *("pictures_per_second", "peak_memory_mb", "peer"),
    }
    assert set(document["peer"]) == {"model", "timing_ms", "ratio_of_medians", "median_of_ratios"}
    assert document["peer"]["model"] == "a fake net on 1 threads"
    assert document["peer"]["timing_ms"]["total"] == {"p50": 10_000.0, "p95": 10_000.0, "p99": 10_000.0}
    assert document["peer"]["timing_ms"].keys() == document["timing_ms"].keys()
    ours_ms = document["timing_ms"]["total"]["p50"]
    assert document["peer"]["ratio_of_medians"] == pytest.approx(10_000 / ours_ms, rel=0.01)
    assert report.comparison == compare(report.ours, recording(10_000, 10_000, 10_000))


def test_a_report_without_a_peer_has_no_place_for_one(load_tiny: Load) -> None:
    assert "peer" not in run_benchmark(load_tiny, [drawn_picture()], runs=1).to_dict()


def test_the_table_sets_the_peer_beside_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_peer, "TorchvisionPeer", FakePeer)
    model = str(write_tiny_model(tmp_path / "tiny.onnx"))
    arguments = ["bench", "--model", model, "--runs", "2", "--threads", "1", "--peer", "torchvision-v1"]
    lines = CliRunner().invoke(app, arguments).stdout.splitlines()
    assert ["peer", "a fake retinanet_resnet50_fpn on 1 threads"] in [
        line.split(maxsplit=1) for line in lines
    ]
    (total,) = (line.split() for line in lines if line.startswith("total"))
    assert total[4:] == ["10000.0"] * 3
    assert lines[-1].startswith("the peer takes ")
    assert "times as long" in lines[-1]


@pytest.mark.slow
def test_torchvision_takes_part_with_its_own_stages() -> None:
    pytest.importorskip("torchvision")
    stages = TorchvisionPeer("retinanet_resnet50_fpn", threads=2)(drawn_picture())
    assert stages["total"] == pytest.approx(sum(stages.values()) - stages["total"])
    assert stages["network"] > stages["prepare"] > 0
