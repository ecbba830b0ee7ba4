"""Pictures that cannot be read, that are not as recorded, or that are there twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from densewatch.data.dataset import Dataset
from densewatch.doctor.findings import MOST_CASES, Case, Finding
from densewatch.doctor.pictures import Doubles, PictureFacts, find_doubles


@dataclass(frozen=True, eq=False)
class LookedAt:
    """A part of the data whose pictures were read.

    Attributes:
        split: what it is called.
        dataset: its samples.
        facts: of each sample.
    """

    split: str
    dataset: Dataset
    facts: Sequence[PictureFacts]


def check_pictures(part: LookedAt) -> Iterator[Finding]:
    """Give what is wrong with the files of one part of the data."""
    unreadable = [Case((item.path,), (), item.problem) for item in part.facts if item.problem is not None]
    yield Finding(
        "unreadable",
        "error",
        part.split,
        len(unreadable),
        "pictures that cannot be read: training stops at them",
        "replace them, or take them out of the labels",
        tuple(unreadable[:MOST_CASES]),
    )
    turned: list[Case] = []
    other: list[Case] = []
    for sample, item in zip(part.dataset, part.facts, strict=True):
        if item.size is None or item.size == sample.size:
            continue
        (height, width), (recorded_height, recorded_width) = item.size, sample.size
        caption = f"recorded as {recorded_width}×{recorded_height}, but upright it is {width}×{height}"
        is_turned = item.size == (recorded_width, recorded_height)
        (turned if is_turned else other).append(Case((item.path,), (), caption))
    yield Finding(
        "turned",
        "error",
        part.split,
        len(turned),
        "pictures whose sides are exchanged: labelled without their EXIF orientation",
        "label them upright, or take the orientation out of the files",
        tuple(turned[:MOST_CASES]),
    )
    yield Finding(
        "other-size",
        "error",
        part.split,
        len(other),
        "pictures of another size than recorded: their boxes are in the wrong places",
        "see that labels and pictures belong together",
        tuple(other[:MOST_CASES]),
    )


def check_doubles(parts: Sequence[LookedAt]) -> Iterator[Finding]:
    """Give which pictures are there twice, within the parts of the data and between them."""
    facts = [item for part in parts for item in part.facts]
    owners = np.repeat(np.arange(len(parts)), [len(part.facts) for part in parts])
    doubles = find_doubles(facts, owners)
    for first in range(len(parts)):
        for second in range(first, len(parts)):
            rows = (owners[doubles.first] == first) & (owners[doubles.second] == second)
            for identical in (True, False):
                some = doubles[rows & (doubles.identical == identical)]
                yield _double_finding(some, facts, parts[first].split, parts[second].split, identical)


def _double_finding(
    doubles: Doubles, facts: Sequence[PictureFacts], first: str, second: str, identical: bool
) -> Finding:
    between = first != second
    alike = "byte for byte the same" if identical else "nearly the same"
    text = f"pictures of {second} that are {alike} as one of {first}"
    advice = "take them out of one of the two: figures measured on them are too good"
    if not between:
        text = f"pictures of {first} that are {alike} as another one of {first}"
        advice = "leave one of each, unless they are frames of one camera"
    order = np.argsort(-doubles.correlation, kind="stable")[:MOST_CASES]
    cases = tuple(
        Case(
            (facts[doubles.first[row]].path, facts[doubles.second[row]].path),
            (),
            "the same bytes" if identical else f"correlation {doubles.correlation[row]:.3f}",
        )
        for row in order
    )
    return Finding(
        f"{'identical' if identical else 'similar'}-{'between' if between else 'within'}",
        "error" if between and identical else "warning",
        f"{first}, {second}" if between else first,
        len(doubles),
        text,
        advice,
        cases,
    )
