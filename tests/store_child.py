"""A process that writes until it is killed, and says what the store has acknowledged: `URL MEDIA ROUND`."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

from densewatch.store.retention import Retention
from densewatch.store.store import Store
from densewatch.store.writer import Writer, WriterSettings
from store_samples import JPEG, NOON, make_bin, make_event


def main(url: str, media: str, round_number: int) -> None:
    store = Store.open(url, Path(media))
    settings = WriterSettings(reserve_bytes=0, interval_s=0.01, clean_every_s=0.05)
    writer = Writer(store, settings=settings, retention=Retention(None, None, None, None, None))
    writer.start()
    counts = {"person": (1, 2.0, 3), "dog": (0, 0.5, 1)}
    for number in count():
        begun = NOON + (round_number * 10_000 + number) * 60
        event = make_event(f"r{round_number}-{number}", start_time=float(begun), snapshot=JPEG)
        writer.add_event(event)
        writer.add_event(replace(event, end_time=begun + 5.0))
        writer.add_bin(make_bin(begun, 1.0, counts, lines={"person": (1, 1)}))
        if writer.flush(60.0):
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
