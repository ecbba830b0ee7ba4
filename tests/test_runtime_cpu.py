"""What Linux tells of a processor."""

from __future__ import annotations

from pathlib import Path

import pytest

from densewatch.runtime import cpu

X86 = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2{more}\n\nprocessor\t: 1\nflags\t\t: none\n"


def describe(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    monkeypatch.setattr(cpu, "_CPUINFO", path)


@pytest.mark.parametrize(
    ("more", "expected"),
    [("", False), (" avx512f", False), (" avx512_vnni", True), (" avx_vnni", True), (" amx_int8", True)],
)
def test_products_of_8_bits(
    more: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(X86.format(more=more), tmp_path, monkeypatch)
    assert cpu.has_int8_products() is expected
    assert cpu.cpu_flags() >= {"fpu", "avx2", *more.split()}
    assert cpu.cpu_value("model name") == "Some CPU"


def test_arm_calls_its_flags_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    describe("processor : 0\nFeatures : fp asimd asimddp\n", tmp_path, monkeypatch)
    assert cpu.cpu_flags() == {"fp", "asimd", "asimddp"}
    assert not cpu.has_int8_products()


def test_where_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "absent")
    assert cpu.cpu_flags() == frozenset()
    assert cpu.cpu_value("model name") == ""
    assert not cpu.has_int8_products()
