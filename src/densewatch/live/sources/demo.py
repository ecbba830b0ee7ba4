"""A moving scene that needs no camera: people who walk by, cut out of a photo that everybody may use."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from densewatch.imaging.read import read_image
from densewatch.live.frames import Frame

Image = npt.NDArray[np.uint8]

FPS = 25
WIDTH, HEIGHT = 640, 480
CYCLE_S = 30.0
"""After so many seconds the scene is where it began: empty."""
FIRST_S = 7.0
"""Where in the scene the source begins: somebody is already there."""

_PHOTO = Path(__file__).parents[2] / "assets" / "astronaut.jpg"
_OUTLINE = (
    "155,85 160,55 185,30 210,18 240,14 275,27 297,55 301,85 294,115 281,130 271,136 267,152 282,170 301,205 "
    "306,230 340,258 353,290 361,340 370,352 400,344 440,350 475,374 495,415 500,465 500,512 30,512 22,470 "
    "25,420 30,340 40,290 60,262 110,232 112,195 125,170 150,155 182,152 185,136 170,116"
)
_RAIL = 424
"""From this row on, a parapet hides people: the photo ends at the hip."""


@dataclass(frozen=True)
class _Walk:
    """Somebody walks through the picture; from right to left where `seconds` is negative.

    Attributes:
        start: when in the cycle, in seconds.
        seconds: from border to border.
        height: of the person in pixels.
        foot: lower end of the person in pixels from the top.
        mirrored: looks the other way.
    """

    start: float
    seconds: float
    height: int
    foot: int
    mirrored: bool


_WALKS = (  # the far ones first, since the near ones hide them
    _Walk(9.0, -14.0, 230, 445, True),
    _Walk(2.0, 14.0, 290, 470, False),
    _Walk(15.5, 12.5, 270, 460, False),
    _Walk(12.5, -12.0, 330, 490, True),
)


class DemoScene:
    """Draws the scene at any moment; the same moment always looks the same."""

    def __init__(self) -> None:
        self._background = _background()
        photo, outline = read_image(_PHOTO), _outline()
        self._people = [(walk, *_scaled(photo, outline, walk)) for walk in _WALKS]

    def at(self, seconds: float) -> Image:
        """Return the scene as uint8 [480, 640, 3] RGB.

        Args:
            seconds: since the scene began; it repeats after `CYCLE_S`.
        """
        image = self._background.copy()
        for walk, person, beside in self._people:
            share = (seconds % CYCLE_S - walk.start) / abs(walk.seconds)
            if 0 <= share <= 1:
                way = share if walk.seconds > 0 else 1 - share
                width = person.shape[1]
                step = round(3 * abs(np.sin(np.pi * 1.5 * (seconds % CYCLE_S))))
                _paste(
                    image,
                    person,
                    beside,
                    round(-width + way * (WIDTH + width)),
                    walk.foot - walk.height - step,
                )
        image[_RAIL:] = self._background[_RAIL:]
        return image


class DemoSource:
    """The scene at 25 frames a second.

    Attributes:
        live: time goes on by itself.
        broken: always 0.
    """

    live = True

    def __init__(self) -> None:
        self.broken = 0
        self._closed = threading.Event()

    def frames(self) -> Generator[Frame]:
        """Give the frames; see `FrameSource`."""
        scene = DemoScene()
        began = time.monotonic()
        number = 0
        while not self._closed.wait(began + number / FPS - time.monotonic()):
            moment = number / FPS
            wall = time.time() - time.monotonic() + began + moment
            yield Frame(wall, "pts", time.monotonic(), (HEIGHT, WIDTH), partial(scene.at, FIRST_S + moment))
            number = max(
                number + 1, int((time.monotonic() - began) * FPS)
            )  # what nobody waited for is left out

    def close(self) -> None:
        """End `frames`; see `FrameSource`."""
        self._closed.set()


def _background() -> Image:
    """Return the gallery of a space station without people, uint8 [480, 640, 3] RGB."""
    import cv2

    random = np.random.default_rng(4)
    light = np.linspace(0.8, 1.05, HEIGHT)[:, None, None]
    image = np.clip(light * np.full((HEIGHT, WIDTH, 3), (188, 194, 202)), 0, 255).astype(np.uint8)
    for left in range(28, WIDTH, 208):
        cv2.rectangle(image, (left - 8, 32), (left + 176, 288), (150, 156, 166), cv2.FILLED, cv2.LINE_AA)
        cv2.rectangle(image, (left, 40), (left + 168, 280), (14, 18, 40), cv2.FILLED)
        for x, y in random.integers((left + 4, 44), (left + 164, 276), (40, 2)):
            cv2.circle(image, (int(x), int(y)), 0, (200, 205, 230), cv2.FILLED)
    image[_RAIL:] = np.linspace((92, 98, 110), (58, 62, 72), HEIGHT - _RAIL)[:, None]
    image[_RAIL : _RAIL + 7] = (214, 218, 224)
    return np.asarray(image, np.uint8)


def _outline() -> Image:
    """Return what of the photo is the person, uint8 [512, 512], 255 inside, with a soft border."""
    import cv2

    corners = np.array([[int(number) for number in point.split(",")] for point in _OUTLINE.split()], np.int32)
    mask = np.zeros((512, 512), np.uint8)
    cv2.fillPoly(mask, [corners], (255,), lineType=cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(mask, (5, 5), 0), np.uint8)


def _scaled(photo: Image, outline: Image, walk: _Walk) -> tuple[Image, Image]:
    """Return the person at a walk's size: colours times opacity, and how much is left of what is behind."""
    import cv2

    columns = np.flatnonzero(outline.any(axis=0))
    rows = np.flatnonzero(outline.any(axis=1))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    photo, outline = photo[part], outline[part]
    if walk.mirrored:
        photo, outline = photo[:, ::-1], outline[:, ::-1]
    size = (round(walk.height * photo.shape[1] / photo.shape[0]), walk.height)
    person = cv2.resize(np.ascontiguousarray(photo), size, interpolation=cv2.INTER_AREA)
    opacity = cv2.resize(np.ascontiguousarray(outline), size, interpolation=cv2.INTER_AREA)
    three = cv2.merge([opacity] * 3)
    return np.asarray(cv2.multiply(person, three, scale=1 / 255), np.uint8), np.asarray(255 - three, np.uint8)


def _paste(image: Image, person: Image, beside: Image, left: int, top: int) -> None:
    """Lay a person over the picture, in place; what lies outside is cut off."""
    import cv2

    height, width = person.shape[:2]
    rows = slice(max(0, top), min(HEIGHT, top + height))
    columns = slice(max(0, left), min(WIDTH, left + width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    part = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    behind = cv2.multiply(image[rows, columns], beside[part], scale=1 / 255)
    image[rows, columns] = cv2.add(behind, person[part])
