"""`densewatch watch` as a process of its own."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from live_helpers import wait_for
from tiny_model import draw_squares, write_tiny_model
from watch_process import COMMAND, PASSWORD, served


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model file, a folder of pictures, and a site that watches it."""
    folder = tmp_path_factory.mktemp("scene")
    write_tiny_model(folder / "tiny.onnx")
    (folder / "hall").mkdir()
    image = draw_squares((128, 256), [(32, 32, 32, "person"), (192, 64, 32, "car")])
    for number in range(8):
        Image.fromarray(image).save(folder / "hall" / f"{number}.png")
    (folder / "site.yaml").write_text(
        "model: {model: tiny.onnx}\n"
        "sources: {folders: [hall]}\n"
        "cameras:\n"
        "  hall:\n"
        "    source: hall\n"
        "    zones:\n"
        "      left: {points: [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}\n"
    )
    return folder


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, "COLUMNS": "100", **variables}


def run(scene: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=scene, env=environment(), capture_output=True, text=True, timeout=90
    )


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_picture_of_a_folder_is_a_line(scene: Path) -> None:
    done = run(scene, "hall", "--model", "tiny.onnx", "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    frames = [line for line in lines(done) if line["state"] == "live"]
    assert [line["frame"] for line in frames] == list(range(8))
    assert frames[-1]["counts"] == {"person": 1, "car": 1}
    assert {row["label"] for row in frames[-1]["detections"]} == {"person", "car"}
    assert all(row["track"] >= 0 for row in frames[-1]["detections"])
    assert lines(done)[-1]["state"] == "ended"


def test_frames_end_it(scene: Path) -> None:
    done = run(scene, "demo", "--model", "tiny.onnx", "--format", "jsonl", "--frames", "3")
    assert done.returncode == 0, done.stderr
    assert [line["frame"] for line in lines(done) if line["frame"] is not None] == [0, 1, 2]
    assert lines(done)[-1]["age_ms"] < 5000


def test_seconds_end_it_and_a_table_in_a_pipe_is_plain(scene: Path) -> None:
    done = run(scene, "hall", "--realtime", "--model", "tiny.onnx", "--seconds", "3", "--only", "car")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("hall  live  ")
    assert done.stdout.splitlines()[-1].endswith("  car 1")


def test_one_source_that_is_missing_is_named_and_the_other_is_seen(scene: Path) -> None:
    done = run(scene, "gone.mp4", "hall", "--model", "tiny.onnx", "--format", "jsonl")
    assert done.returncode == 1
    assert "error: gone.mp4: there is no such file" in done.stderr
    assert sum(line["camera"] == "hall" and line["frame"] is not None for line in lines(done)) == 8


def test_a_camera_that_does_not_answer_is_no_data_and_no_secret_is_told(scene: Path) -> None:
    source = "rtsp://user:s3cr3t@127.0.0.1:9/stream"
    done = run(scene, source, "--model", "tiny.onnx", "--format", "jsonl", "--seconds", "2")
    assert done.returncode == 1
    assert all(line["frame"] is None and "counts" not in line for line in lines(done))
    assert "lost" in [line["state"] for line in lines(done)]
    assert "s3cr3t" not in done.stdout + done.stderr


def test_variables_of_a_site_are_told_by_their_names(scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORD", "hunter2")
    (scene / "variables.yaml").write_text(
        "model: {model: tiny.onnx}\n"
        "sources: {networks: [127.0.0.1]}\n"
        "cameras: {a: {source: 'rtsp://127.0.0.1:9/${WORD}/x'}}\n"
    )
    done = run(scene, "variables.yaml", "--no-serve", "--format", "jsonl", "--seconds", "2")
    assert "camera a is lost: rtsp://127.0.0.1:9/${WORD}/x: it refuses the connection" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    (scene / "variables.yaml").write_text("model: {model: tiny.onnx}\ncameras: {a: {source: '${WORD}'}}\n")
    done = run(scene, "variables.yaml", "--no-serve")
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: ${WORD}: it lies in no folder that is allowed" in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["site.yaml", "--threshold", "0.4"], "--threshold is not for a site: set it in site.yaml"),
        (["demo", "--check"], "--check is for the YAML file of a site"),
        (["demo", "site.yaml"], "site.yaml is a site of its own"),
        (["demo", "--only", "persn"], "did you mean 'person'"),
        (["gone.yaml"], "gone.yaml: cannot be read"),
        (["gopher://camera.example/"], "sources of the kind gopher:"),
        (["demo", "--tiles", "many"], "--tiles"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_sentence(scene: Path, arguments: list[str], told: str) -> None:
    done = run(scene, *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_site_is_checked_without_opening_anything(scene: Path) -> None:
    done = run(scene, "site.yaml", "--check")
    assert (done.returncode, done.stderr) == (0, "site.yaml is right: 1 camera\n")
    (scene / "wrong.yaml").write_text((scene / "site.yaml").read_text().replace("zones:", "zoness:"))
    done = run(scene, "wrong.yaml", "--check")
    assert done.returncode == 2
    assert "wrong.yaml:6:5: cameras.hall.zoness: unknown setting: did you mean 'zones'?" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
@pytest.mark.parametrize("format", ["table", "jsonl"])
def test_a_full_disk_behind_standard_output_is_one_sentence(scene: Path, format: str) -> None:
    command = [*COMMAND, "hall", "--realtime", "--model", "tiny.onnx", "--format", format, "--seconds", "5"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, cwd=scene, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr.count("standard output: No space left on device") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "end"),
    [
        (["site.yaml", "--port", "0", "--no-serve"], signal.SIGTERM),
        (["hall", "--model", "tiny.onnx"], signal.SIGINT),
    ],
)
def test_a_reader_that_reads_nothing_does_not_keep_it_from_ending(
    scene: Path, arguments: list[str], end: signal.Signals
) -> None:
    command = [*COMMAND, *arguments, "--format", "jsonl"]
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writing, bytes(4000))
    with subprocess.Popen(
        command, cwd=scene, env=environment(), stdout=writing, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_for(lambda: waits_in_write(process.pid), 60, "the pipe is full")
            process.send_signal(end)
            told = process.communicate(timeout=20)[1]
        finally:
            process.kill()
            os.close(reading)
            os.close(writing)
    assert process.returncode == (130 if end == signal.SIGINT else 1)
    assert "standard output: nobody reads it" in told
    assert "Traceback" not in told
    assert "Fatal" not in told


def waits_in_write(pid: int) -> bool:
    """Return whether a thread of a process is held up by a pipe."""
    held = ("pipe_write", "anon_pipe_write")
    return any(
        (task / "wchan").read_text() in held or (task / "syscall").read_text().startswith("1 0x1 ")
        for task in Path(f"/proc/{pid}/task").iterdir()
    )


def test_the_schema_of_a_site_is_printed(scene: Path) -> None:
    schema = json.loads(run(scene, "--schema").stdout)
    assert {"cameras", "store", "server", "users"} <= set(schema["properties"])
    assert "source" in schema["$defs"]["CameraSettings"]["properties"]


def test_a_site_is_served_until_it_is_told_to_end(scene: Path, tmp_path: Path) -> None:
    with (
        served(scene, tmp_path / "log", "site.yaml", "--format", "jsonl") as address,
        httpx.Client(base_url=address, headers={"Origin": address.rstrip("/")}) as client,
    ):
        wait_for(lambda: client.get("readyz").json()["cameras"] == {"hall": "live"}, 30, "a picture")
        assert client.get("api/v1/cameras").status_code == 401
        signed_in = client.post("api/v1/session", json={"name": "admin", "password": PASSWORD})
        assert signed_in.status_code == 200
        [camera] = client.get("api/v1/cameras").json()
        assert (camera["id"], list(camera["zones"])) == ("hall", ["left"])
        assert client.get("api/v1/cameras/hall/picture.jpg").content[:2] == b"\xff\xd8"
    assert (scene / "densewatch-data" / "densewatch.db").is_file()
