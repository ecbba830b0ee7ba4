"""How many threads work at one picture."""

from __future__ import annotations


def one_thread_a_picture() -> None:
    """Let OpenCV scale and convert each picture in one thread, in this whole process.

    Where several pictures are done at the same time the cores are busy already, and threads that share one
    picture would wait for each other. A program of its own may do this; a library may not.
    """
    import cv2

    cv2.setNumThreads(1)
