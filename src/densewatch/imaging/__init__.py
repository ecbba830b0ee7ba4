"""Pictures: reading them upright and whole, scaling them for a network, drawing what was found."""

from densewatch.imaging.read import DEFAULT_MAX_PIXELS, ImageError, read_image
from densewatch.imaging.resize import Prepared, batch, clip_boxes, prepare, resized_size, restore_boxes
from densewatch.imaging.sources import Source, SourceError, expand_sources

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "ImageError",
    "Prepared",
    "Source",
    "SourceError",
    "batch",
    "clip_boxes",
    "expand_sources",
    "prepare",
    "read_image",
    "resized_size",
    "restore_boxes",
]
