"""`evaluate --report`: what the page needs from outside, and where it goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from densewatch.cli.console import SOME_FAILED, say, stop
from densewatch.cli.needs import need
from densewatch.cli.reports import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from densewatch.data.dataset import Sample
    from densewatch.evaluation.report import ShownPicture
    from densewatch.evaluation.study import Study

_PAGE = "index.html"
_LONGEST_SIDE, _QUALITY = 960, 78  # of the pictures in the page

_WORDS = {
    "model": "model",
    "results": "results",
    "data": "data",
    "split": "split",
    "images": "pictures",
    "engine": "engine",
    "threshold": "lowest score",
    "iou": "IoU of NMS",
    "tiles": "tiles",
    "saturated_images": "pictures in which the model file's limit cut candidates",
    "code": "code",
}


def check_report(folder: Path) -> None:
    """Stop now for what would otherwise fail only after every picture was done."""
    from densewatch.evaluation.report.page import MARK

    need(("matplotlib", "jinja2"), "--report", "eval")
    page = folder / _PAGE
    if page.exists() and MARK not in page.read_text(encoding="utf-8", errors="replace")[:1000]:
        stop(f"--report {folder}: {page} is there, and is no report; choose another folder")


def write_report(
    folder: Path, study: Study, samples: Sequence[Sample], document: Mapping[str, Any], title: str
) -> None:
    """Write the page, and say where it is."""
    from densewatch.evaluation.report import write_page

    facts = {words: str(document[key]) for key, words in _WORDS.items() if document.get(key) is not None}
    limit = study.settings.max_detections[-1]
    cut = study.coco.cut_detections
    facts["limits"] = (
        f"the best {limit} detections of a class in a picture count; "
        f"{counted(cut, 'detection')} beyond {'is' if cut == 1 else 'are'} left out"
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_page(folder / _PAGE, study, title=title, facts=facts, show=_show_from(samples))
    except OSError as error:
        stop(f"--report {folder}: {error.strerror or error}", SOME_FAILED)
    say(f"the report is {folder / _PAGE}")


def _show_from(samples: Sequence[Sample]) -> Callable[[int | str], ShownPicture]:
    """Return what gives the page its pictures; one that is not there is shown as an empty one."""
    from densewatch.evaluation.report import ShownPicture
    from densewatch.imaging.read import ImageError, read_image

    by_id = {sample.image_id: sample for sample in samples}

    def show(image_id: int | str) -> ShownPicture:
        sample = by_id[image_id]
        try:
            jpeg = _small_jpeg(read_image(sample.path))
        except ImageError:
            jpeg = None
        return ShownPicture(sample.path.name, sample.size, jpeg)

    return show


def _small_jpeg(image: Any) -> bytes:
    from densewatch.imaging.encode import encode_jpeg
    from densewatch.imaging.resize import prepare
    from densewatch.metadata import ResizePolicy

    side = min(_LONGEST_SIDE, max(image.shape[:2]))
    if side >= 32:
        policy = ResizePolicy(mode="longer", size=side, max_size=None, multiple=1)
        image = prepare(image, policy).pixels
    return encode_jpeg(image, quality=_QUALITY)
