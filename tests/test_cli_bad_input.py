"""`densewatch detect` on everything that can be wrong with a picture, in one call, among good ones."""

from __future__ import annotations

import csv
import io
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from densewatch.cli.main import app
from local_server import serving
from tiny_model import draw_squares, write_tiny_model

ASTRONAUT = Path(__file__).parents[1] / "src" / "densewatch" / "assets" / "astronaut.jpg"
GOOD = ["good.png", "last.png"]
REASONS = {
    "truncated.jpg": "truncated",
    "text.jpg": "JPEG, PNG",
    "empty.jpg": "empty",
    "bomb.png": "20000",
    "folder": "picture",
    "absent.jpg": "no such file",
}
"""What each sentence must say beside the name."""


def png_bomb(side_px: int) -> bytes:
    """Return a grey PNG of zeros; for 20000 px it would become 1.2 GB as RGB."""
    squeeze = zlib.compressobj(9)
    row = bytes(1 + side_px)
    pixels = b"".join(squeeze.compress(row) for _ in range(side_px)) + squeeze.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def bomb() -> bytes:
    return png_bomb(20_000)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bomb: bytes) -> Path:
    """The working directory, with one file of every kind."""
    scene = Image.fromarray(draw_squares((128, 160), [(0, 0, 32, "person"), (64, 64, 32, "chair")]))
    for name in GOOD:
        scene.save(tmp_path / name)
    (tmp_path / "truncated.jpg").write_bytes(ASTRONAUT.read_bytes()[:40_000])
    (tmp_path / "text.jpg").write_text("this is no picture")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "bomb.png").write_bytes(bomb)
    (tmp_path / "folder").mkdir()
    write_tiny_model(tmp_path / "tiny.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def missing_url() -> Iterator[str]:
    with serving(b"") as server:
        server.status = 404
        yield server.url("/street.jpg")


def detect(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["detect", "--model", "tiny.onnx", *arguments])


def test_the_bomb_is_small_on_disk_and_a_real_png(bomb: bytes) -> None:
    assert len(bomb) < 1_000_000
    with Image.open(io.BytesIO(png_bomb(100))) as image:
        assert image.convert("RGB").getextrema() == ((0, 0),) * 3


@pytest.mark.parametrize("output_format", ["json", "jsonl", "csv", "coco", "table"])
def test_each_is_named_with_its_reason_and_the_others_are_done(
    pictures: Path, missing_url: str, output_format: str
) -> None:
    first, last = GOOD
    result = detect(first, *REASONS, missing_url, last, "--format", output_format)
    assert result.exit_code == 1
    errors = result.stderr.splitlines()
    assert len(errors) == len(REASONS) + 1
    for line, (name, reason) in zip(errors, {**REASONS, missing_url: "404"}.items(), strict=True):
        assert line.startswith("error: ")
        assert name in line
        assert reason in line.replace(name, "")
    assert found(result.stdout, output_format) == {name: ["chair", "person"] for name in GOOD}
    if output_format in ("json", "jsonl"):
        names = [*REASONS, missing_url]
        sentences = [line.removeprefix("error: ") for line in errors]
        assert failed(result.stdout, output_format) == [
            {"source": name, "error": sentence} for name, sentence in zip(names, sentences, strict=True)
        ]


def failed(output: str, output_format: str) -> list[dict[str, str]]:
    """Return the records of failed pictures in JSON or JSON lines."""
    if output_format == "json":
        records: list[dict[str, str]] = json.loads(output)["failed"]
        return records
    return [record for record in map(json.loads, output.splitlines()) if "error" in record]


def found(output: str, output_format: str) -> dict[str, list[str]]:
    """Return what an answer says of each picture: its name → the classes in it."""
    if output_format == "coco":
        pairs = [
            (row["file_name"], {1: "person", 62: "chair"}[row["category_id"]]) for row in json.loads(output)
        ]
    elif output_format == "csv":
        pairs = [(row["source"], row["label"]) for row in csv.DictReader(io.StringIO(output))]
    elif output_format == "table":
        lines = output.splitlines()
        starts = [index for index, line in enumerate(lines) if line.endswith("160×128 px")]
        pairs = [
            (lines[start].split()[0], line.split()[1])
            for start in starts
            for line in lines[start + 2 : start + 4]
        ]
    else:
        records = (
            json.loads(output)["images"]
            if output_format == "json"
            else [json.loads(line) for line in output.splitlines()]
        )
        pairs = [
            (record["source"], item["label"]) for record in records for item in record.get("detections", [])
        ]
    classes: dict[str, list[str]] = {}
    for name, label in sorted(pairs):
        classes.setdefault(name, []).append(label)
    return classes


def test_nothing_but_bad_input_is_still_a_valid_document(pictures: Path) -> None:
    result = detect("text.jpg", "absent.jpg", "--format", "json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["images"] == []
    assert [record["source"] for record in document["failed"]] == ["text.jpg", "absent.jpg"]
    assert len(result.stderr.splitlines()) == 2
