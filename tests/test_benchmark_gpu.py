"""The benchmark for GPUs runs, on the CPU with a tiny network, and prints all of its figures."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

PROGRAM = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_benchmark", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_prints_what_it_measured(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = "--device cpu --precision float32 --tiny --size 64 --max-size 96 --picture 96x64"
    quick = "--batches 1 2 --seconds 0.01 --matrix 64"
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *small.split(), *quick.split()])
    program.main()
    printed = capsys.readouterr().out
    for pattern in (
        rf"tiny: torch {re.escape(torch.__version__)}, float32, \d+ threads",
        r"input 96x64 px, \d+\.\d GFLOP a picture",
        r"matrix product 64³ in float32: \d+\.\d+ TFLOP/s",
        r"  total +\d+\.\d+ +\d+\.\d+\n",
        r"batch   2: network alone +\d+\.\d pictures/s, \d+\.\d% of the matrix rate; JPEG to boxes +\d+\.\d",
        r"best, JPEG to boxes: \d+\.\d pictures/s, \d+\.\d% of the matrix rate",
    ):
        assert re.search(pattern, printed), printed


def test_operations_are_counted_as_products_and_sums(program: ModuleType) -> None:
    """Of the first convolution, 7x7 with stride 2, alone: 64 channels from 3; all the rest is more."""
    network, _ = program.random_network(64, 96, tiny=True)
    one = program.count_flops(network, np.zeros((1, 64, 96, 3), np.uint8))
    stem = 2 * (32 * 48) * 64 * (3 * 7 * 7)
    assert one > 10 * stem
    assert program.count_flops(network, np.zeros((2, 64, 96, 3), np.uint8)) == 2 * one
