"""Time bins: checked, merged where a bin comes in parts, and written."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from sqlalchemy import Connection, delete, insert, select, tuple_

from densewatch.records import Bin, CountBin, LineBin, Observation, share_of
from densewatch.store.database import Database
from densewatch.store.schema import WHOLE_PICTURE, CountBinRow, LineBinRow, ObservationRow, WatchedRow
from densewatch.store.watched import from_text, ids_of, merge_watched, to_text

Key = tuple[str, int, int]
"""Camera, start time and length of a bin."""

_KEY = tuple_(ObservationRow.camera, ObservationRow.start_time, ObservationRow.seconds)


def merge_bins(first: Bin, second: Bin) -> Bin:
    """Join two parts of the same time bin, as a restart within the bin leaves them.

    The shares observed are added, and capped at 1; means are weighted by the time that a class was watched in
    a zone. A class that one part watched and lacks was not there in it: its minimum is 0.

    Args:
        first: one part; its camera, start and length are those of the other.
        second: the other part. The order makes no difference.
    """
    wholes = (first.observation, second.observation)
    observed = min(1.0, sum(whole.observed for whole in wholes))
    counts = {}
    parts = [{(row.zone, row.label): row for row in part.counts} for part in (first, second)]
    for key in {**parts[0], **parts[1]}:
        zone, label = key
        weights = [whole.observed * share_of(whole.watched, ("zone", zone), label) for whole in wholes]
        counts[key] = _merge_counts([part.get(key) for part in parts], weights, observed)
    lines: dict[tuple[str, str], LineBin] = {}
    for row in (*first.lines, *second.lines):
        before = lines.get((row.line, row.label))
        entered, left = (before.entered, before.left) if before else (0, 0)
        lines[row.line, row.label] = replace(
            row, entered=row.entered + entered, left=row.left + left, observed=observed
        )
    whole = Observation(*key_of(first), observed, merge_watched(wholes))
    return _of_watched(whole, counts.values(), lines.values())


def _of_watched(whole: Observation, counts: Iterable[CountBin], lines: Iterable[LineBin]) -> Bin:
    """Return the bin without the rows of what was not watched in it."""
    watched = whole.watched
    return Bin(
        whole,
        tuple(row for row in counts if share_of(watched, ("zone", row.zone), row.label) > 0),
        tuple(row for row in lines if share_of(watched, ("line", row.line), row.label) > 0),
    )


def _merge_counts(rows: Sequence[CountBin | None], weights: Sequence[float], observed: float) -> CountBin:
    there = [row for row in rows if row is not None]
    absent = any(row is None and weight > 0 for row, weight in zip(rows, weights, strict=True))
    # A weight that is next to nothing must not turn the mean into 0 / 0.
    total = sum(weights) or 1.0
    mean = sum(
        row.mean * (weight / total) for row, weight in zip(rows, weights, strict=True) if row is not None
    )
    return replace(
        there[0],
        minimum=0 if absent else min(row.minimum for row in there),
        mean=mean,
        maximum=max(row.maximum for row in there),
        observed=observed,
    )


def checked(part: Bin) -> Bin:
    """Return the bin as it is kept: nothing is claimed of what was not observed, or not watched.

    Raises:
        ValueError: the rows do not belong together, or a number makes no sense.
    """
    whole = part.observation
    if whole.seconds < 1 or not 0 <= whole.observed <= 1.001:
        raise ValueError(f"a bin of {whole.seconds} s of which {whole.observed} was observed makes no sense")
    watched = whole.watched
    if not all(0 <= share <= 1.001 for share in (watched or {}).values()):
        raise ValueError(f"a bin of {whole.camera} holds a share watched that makes no sense")
    if whole.observed == 0:
        return Bin(whole)
    rows: tuple[CountBin | LineBin, ...] = (*part.counts, *part.lines)
    for row in rows:
        if (row.camera, row.start_time, row.seconds) != key_of(part):
            raise ValueError(f"a bin of {whole.camera} holds a row of another bin")
    if any(not math.isfinite(row.mean) for row in part.counts):
        raise ValueError(f"a bin of {whole.camera} holds a mean that is not a number")
    return _of_watched(replace(whole, observed=min(1.0, whole.observed)), part.counts, part.lines)


def key_of(part: Bin) -> Key:
    """Return what makes two bins the same."""
    return part.observation.camera, part.observation.start_time, part.observation.seconds


def write_bins(database: Database, connection: Connection, bins: Iterable[Bin]) -> None:
    """Write bins; one that is there already is merged with what comes.

    Raises:
        ValueError: see `checked`.
    """
    new: dict[Key, Bin] = {}
    for part in map(checked, bins):
        key = key_of(part)
        new[key] = merge_bins(new[key], part) if key in new else part
    if not new:
        return
    found = connection.execute(
        select(ObservationRow.camera, ObservationRow.start_time, ObservationRow.seconds).where(
            _KEY.in_(list(new))
        )
    )
    for camera, start_time, seconds in found.all():
        key = (camera, start_time, seconds)
        new[key] = merge_bins(_read_bin(connection, key), new[key])
        # Its rows go with it.
        connection.execute(delete(ObservationRow).where(_KEY.in_([key])))
    _insert(database, connection, new.values())


def _read_bin(connection: Connection, key: Key) -> Bin:
    camera, start_time, seconds = key
    observed, text = connection.execute(
        select(ObservationRow.observed, WatchedRow.text)
        .outerjoin_from(ObservationRow, WatchedRow)
        .where(_KEY.in_([key]))
    ).one()
    counts = connection.execute(
        select(
            CountBinRow.zone, CountBinRow.label, CountBinRow.minimum, CountBinRow.mean, CountBinRow.maximum
        ).where(tuple_(CountBinRow.camera, CountBinRow.start_time, CountBinRow.seconds).in_([key]))
    )
    lines = connection.execute(
        select(LineBinRow.line, LineBinRow.label, LineBinRow.entered, LineBinRow.left).where(
            tuple_(LineBinRow.camera, LineBinRow.start_time, LineBinRow.seconds).in_([key])
        )
    )
    return Bin(
        Observation(camera, start_time, seconds, observed, None if text is None else from_text(text)),
        tuple(
            CountBin(camera, zone or None, label, start_time, seconds, minimum, mean, maximum, observed)
            for zone, label, minimum, mean, maximum in counts
        ),
        tuple(
            LineBin(camera, line, label, start_time, seconds, entered, left, observed)
            for line, label, entered, left in lines
        ),
    )


def _watched_ids(database: Database, connection: Connection, bins: Iterable[Bin]) -> dict[Key, int]:
    """Return under which number it is kept what each bin watched, where that is known."""
    texts = {
        key_of(part): to_text(watched) for part in bins if (watched := part.observation.watched) is not None
    }
    ids = ids_of(database, connection, set(texts.values()))
    return {key: ids[text] for key, text in texts.items()}


def _insert(database: Database, connection: Connection, bins: Collection[Bin]) -> None:
    watched_ids = _watched_ids(database, connection, bins)
    observations, counts, lines = [], [], []
    for part in bins:
        camera, start_time, seconds = key_of(part)
        key = {"camera": camera, "start_time": start_time, "seconds": seconds}
        watched = watched_ids.get(key_of(part))
        observations.append({**key, "observed": part.observation.observed, "watched": watched})
        counts += [
            {
                **key,
                "zone": WHOLE_PICTURE if row.zone is None else row.zone,
                "label": row.label,
                "minimum": row.minimum,
                "mean": row.mean,
                "maximum": row.maximum,
            }
            for row in part.counts
        ]
        lines += [
            {**key, "line": row.line, "label": row.label, "entered": row.entered, "left": row.left}
            for row in part.lines
        ]
    for table, rows in ((ObservationRow, observations), (CountBinRow, counts), (LineBinRow, lines)):
        if rows:
            connection.execute(insert(table), rows)
