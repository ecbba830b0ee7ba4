"""What `doctor` prints: tables for people, or JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from densewatch.cli.reports import counted
from densewatch.cli.writers import results_console, results_table

if TYPE_CHECKING:
    from rich.console import Console

    from densewatch.doctor.diagnosis import Diagnosis
    from densewatch.doctor.words import Sheet

_STYLES = {"error": "red", "warning": "yellow", "note": "dim"}
_MOST_CLASSES = 10


def print_document(diagnosis: Diagnosis, network: str) -> None:
    """Print everything as JSON."""
    from densewatch.doctor.document import to_document

    document = {"network": network, **to_document(diagnosis)}
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def print_tables(diagnosis: Diagnosis, heading: str) -> None:
    """Print what matters: verdict, what limits recall and what to change, then what is odd, worst first."""
    from densewatch.doctor import words

    console = results_console(sys.stdout)
    for part in diagnosis.parts:
        objects = counted(part.outcome.by_iou.objects, "object")
        pictures = counted(len(part.part.dataset), "picture")
        console.print(f"{part.part.split}: {part.part.source}, {pictures}, {objects}", soft_wrap=True)
    console.print(heading, soft_wrap=True)
    console.print(f"\n{diagnosis.verdict()}\n", style="bold", soft_wrap=True)
    _print_sheet(console, words.limits_sheet(diagnosis))
    learned = diagnosis.learned
    if words.loses_much(learned):
        for sheet in words.kind_sheets(learned):
            _print_sheet(console, sheet)
    if diagnosis.changes:
        _print_sheet(console, words.changes_sheet(diagnosis))
    for change in diagnosis.changes:
        style = "bold" if change in diagnosis.recommended else "dim"
        console.print(f"{change.name}: {words.command(change)}", style=style, soft_wrap=True)
    console.print()
    classes = words.classes_sheet(diagnosis)
    _print_sheet(console, classes, most=_MOST_CLASSES)
    for finding in diagnosis.findings:
        text = f"{finding.severity}  {finding.split}: {finding.count} {finding.text}"
        console.print(text, style=_STYLES[finding.severity], soft_wrap=True)
        if finding.cases:
            case = finding.cases[0]
            console.print(
                f"  such as {' and '.join(map(str, case.pictures))}: {case.caption}", soft_wrap=True
            )
        if finding.advice:
            console.print(f"  {finding.advice}", soft_wrap=True)


def _print_sheet(console: Console, sheet: Sheet, most: int | None = None) -> None:
    table = results_table(console, sheet.headings, text=sheet.headings[:1])
    for row in sheet.rows[:most]:
        table.add_row(*row)
    console.print(table)
    if most is not None and len(sheet.rows) > most:
        console.print(f"and {len(sheet.rows) - most} classes with more objects", soft_wrap=True)
    console.print()
