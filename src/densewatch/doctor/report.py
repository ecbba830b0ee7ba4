"""The diagnosis as one HTML page that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from densewatch.doctor import words
from densewatch.doctor.crops import figure
from densewatch.doctor.diagnosis import Diagnosis
from densewatch.doctor.findings import Finding

MARK = '<meta name="generator" content="densewatch doctor">'
"""By which a page is known to be a report, which a newer one may replace."""

_MOST_FIGURES = 6


def write_report(target: Path, diagnosis: Diagnosis, title: str, setup: str) -> None:
    """Write the page.

    Args:
        target: the HTML file.
        diagnosis: what was found out.
        title: what was examined, in a few words.
        setup: what is planned, in a line.

    Raises:
        ImportError: jinja2 is missing.
        OSError: the file cannot be written.
    """
    target.write_text(render_report(diagnosis, title, setup), encoding="utf-8")


def render_report(diagnosis: Diagnosis, title: str, setup: str) -> str:
    """Return the page as HTML; see `write_report`."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader(  # the style sheet is that of evaluation's report
            [PackageLoader("densewatch.doctor", "."), PackageLoader("densewatch.evaluation.report", ".")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("doctor.html").render(
        mark=MARK,
        title=title,
        setup=setup,
        diagnosis=diagnosis,
        limits=words.limits_sheet(diagnosis),
        changes=words.changes_sheet(diagnosis),
        commands=[
            (change.name, words.command(change), change in diagnosis.recommended)
            for change in diagnosis.changes
        ],
        kinds=[(part.part.split, words.kind_sheets(part)) for part in diagnosis.parts],
        losses=[_shown(finding) for finding in diagnosis.losses],
        findings=[_shown(finding) for finding in diagnosis.findings],
        classes=words.classes_sheet(diagnosis),
    )


def _shown(finding: Finding) -> tuple[Finding, list[str]]:
    """Return a finding with its worst cases as HTML."""
    return finding, [figure(case) for case in finding.cases[:_MOST_FIGURES]]
