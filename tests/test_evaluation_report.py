"""The page: it stands alone, it is well-formed, and its figures are those that were measured."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from densewatch.data.coco_schema import load_instances
from densewatch.evaluation.comparison import compare
from densewatch.evaluation.report.advice import advice
from densewatch.evaluation.report.page import render_page
from densewatch.evaluation.report.pictures import ShownPicture, worst_pictures
from densewatch.evaluation.study import Study, StudySettings
from evaluation_sets import comparison, random_set, truth

BOX, AWAY = (0, 0, 100, 100), (200, 0, 100, 100)
_VOID = {"meta", "br", "rect", "image", "use", "path"}


def show(image_id: int | str) -> ShownPicture:
    return ShownPicture(f"{image_id}.jpg", (400, 400), b"\xff\xd8jpeg")


def render(study: Study, title: str = "a model on its data") -> str:
    return render_page(study, title=title, facts={"model": "a model"}, show=show)


@pytest.fixture(scope="module")
def study() -> Study:
    content, results = random_set(9)
    content["categories"][0]["name"] = "<script>alert('1')</script>"
    content["categories"][1]["name"] = "$5 & more"
    case = compare(load_instances(content), results)
    return Study(case, StudySettings(resamples=20), candidates=case, against=case)


@pytest.fixture(scope="module")
def page(study: Study) -> str:
    return render(study, 'a "model" <on> its data')


class Reader(HTMLParser):
    """Collects tags, ids, addresses and text; fails where tags are not closed as they were opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += f" {data}"


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_the_page_needs_no_network_and_no_script(page: str) -> None:
    reader = read(page)
    assert not {"script", "link", "iframe", "object", "img"} & {tag for tag, _ in reader.tags}
    addresses = [
        value or ""
        for _, attributes in reader.tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href")
    ]
    assert addresses
    assert all(address.startswith(("#", "data:image/jpeg;base64,")) for address in addresses)
    assert not re.search(r"@import|url\((?!#)", page)


def test_ids_are_unique_and_references_have_a_target(page: str) -> None:
    reader = read(page)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = set(re.findall(r'(?:href="#|url\(#)([^")]+)', page))
    assert wanted <= set(ids)


def test_every_chart_and_picture_is_described(page: str) -> None:
    charts = [attributes for tag, attributes in read(page).tags if tag == "svg"]
    assert len(charts) > 10
    assert all(item.get("role") == "img" and item.get("aria-label") for item in charts)


def test_colours_are_those_of_the_page(page: str) -> None:
    assert "prefers-color-scheme: dark" in page
    assert "#0a0" not in page, "a stand-in for a colour of the page was left"
    style = page[page.index("<style>") : page.index("</style>")]
    variables = set(re.findall(r"var\((--[a-z0-9-]+)\)", page))
    assert all(f"{name}:" in style for name in variables)


def test_names_of_classes_are_text(page: str) -> None:
    assert "<script" not in page
    words = read(page).words
    assert "<script>alert('1')</script>" in words
    assert "$5 & more" in words
    assert 'a "model" <on> its data' in words


def test_figures_are_those_that_were_measured(page: str, study: Study) -> None:
    words = read(page).words
    assert study.intervals is not None
    interval = study.intervals.ap
    assert interval is not None
    for text in (
        f"{study.coco['AP']:.3f}",
        f"{interval.low:.3f} to {interval.high:.3f}",
        f"{study.mean_lrp()['oLRP']:.3f}",
        f"{study.total_counting.mean_absolute:.2f}",
    ):
        assert text in words


def test_the_same_figures_give_the_same_page(page: str, study: Study) -> None:
    assert render(study, 'a "model" <on> its data') == page


def test_pictures_show_what_is_right_missed_and_false() -> None:
    content = truth([(1, 1, BOX), (1, 2, AWAY), (2, 1, BOX)], pictures=3)
    case = comparison(
        content, (1, 1, BOX, 0.9), (1, 1, (0, 200, 50, 50), 0.8), (2, 1, BOX, 0.9), (3, 1, BOX, 0.1)
    )
    measured = Study(case, StudySettings(resamples=0))
    assert worst_pictures(measured, 5) == [0], "pictures without a mistake are not shown"
    page = render(measured)
    figures = re.findall(r'<figure class="picture">.*?</figure>', page, flags=re.S)
    assert len(figures) == 1
    for kind, box in (
        ("right", (0, 0, 100, 100)),
        ("missed", (200, 0, 100, 100)),
        ("false", (0, 200, 50, 50)),
    ):
        x, y, width, height = box
        assert f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}">' in figures[0]
    assert "1 of 2 objects missed, 1 false" in figures[0]


@pytest.mark.parametrize("labels", [[], [(1, 1, BOX)]])
def test_a_page_of_nothing(labels: list[Any]) -> None:
    page = render(Study(comparison(truth(labels)), StudySettings(resamples=5)))
    assert "nan" not in read(page).words


def test_names_in_the_page_say_how_many_detections_count(study: Study) -> None:
    wanted = StudySettings(max_detections=(1, 10, 500), resamples=0)
    words = read(render(Study(study.comparison, wanted))).words
    assert {"AP@500", "AP50@500", "AR500"} <= set(words.split())


def test_advice_is_given_where_it_helps() -> None:
    content = truth([(1, 1, BOX), (1, 1, AWAY)], pictures=1)
    case = comparison(content, (1, 1, BOX, 0.9), (1, 1, AWAY, 0.4))
    assert advice(Study(case, StudySettings(resamples=0))) == [
        "One threshold for all classes: 0.40 is best (mean LRP 0.000; at 0.5 it is 0.500). "
        "The table of classes has the best one of each.",
        "Counts at 0.5 are off by 1.00 objects a picture, 1.00 too few on average; "
        "at 0.40 they would be off by 0.00.",
    ]
    good = advice(Study(case, StudySettings(operating_threshold=0.4, resamples=0)))
    assert good == [
        "One threshold for all classes: 0.4 is as good as any (mean LRP 0.000).",
        "Counts at 0.4 are off by 0.00 objects a picture.",
    ]


def test_advice_speaks_of_nms_and_of_limits() -> None:
    near = (20, 0, 100, 100)
    labels = [(1, 1, BOX), (1, 1, near)] + [(1, 2, (x, 200, 10, 10)) for x in range(0, 120, 20)]
    content = truth(labels, pictures=1)
    kept = [(1, 1, BOX, 0.9), *((*label, 0.9) for label in labels[2:])]
    case, candidates = comparison(content, *kept), comparison(content, *kept, (1, 1, near, 0.8))
    wanted = StudySettings(resamples=0, max_detections=(1, 10))
    sentences = advice(Study(case, wanted, candidates=candidates))
    assert sentences[-2:] == [
        "NMS deletes 1 of 8 objects, although the network sees them: try a higher --iou, or detect with "
        "--nms soft.",
        "1 picture has so many objects of a class that 10 detections of it may be too few: "
        "measure with --max-detections 50.",
    ]
