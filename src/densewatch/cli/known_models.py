"""What models there are: embedded, pulled, and published."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from densewatch.cli.console import say, stop
from densewatch.published import PUBLISHED_NETWORKS, PublishedNetwork
from densewatch.suggest import nearest

if TYPE_CHECKING:
    from densewatch.runtime.model_file import UnknownModelError

EMBEDDED, PULLED, PUBLISHED, BROKEN = "embedded", "pulled", "can be pulled", "broken"
IMPORTABLE, PRESET = "can be imported", "can be trained"


def known_models() -> list[dict[str, str]]:
    """Return `{"name", "state", "about", "file"}` of each model, the embedded ones first.

    Networks that others published come last: those with a file can be imported, the others trained.
    """
    from densewatch.hub import PUBLISHED_MODELS
    from densewatch.runtime.model_file import ModelNotFoundError, embedded_models, models_dir

    rows = []
    try:
        rows += [_row(path, EMBEDDED) for path in embedded_models()]
    except ModelNotFoundError:
        say("this installation carries no embedded model")
    pulled = sorted(models_dir().glob("*.onnx"))
    rows += [_row(path, PULLED, name=path.stem) for path in pulled]
    there = {path.stem for path in pulled}
    rows += [
        {"name": model.name, "state": PUBLISHED, "about": model.summary, "file": ""}
        for model in PUBLISHED_MODELS.values()
        if model.name not in there
    ]
    return [*rows, *(_published_row(network) for network in PUBLISHED_NETWORKS)]


def _published_row(network: PublishedNetwork) -> dict[str, str]:
    about = f"published AP {network.ap:.1f} on {network.data} ({network.source})"
    if network.file:
        return {"name": network.name, "state": IMPORTABLE, "about": f"{about}; {network.file}", "file": ""}
    about = f"preset {network.preset}; {about}"
    return {"name": network.name, "state": PRESET, "about": about, "file": ""}


def stop_for_unknown_model(error: UnknownModelError) -> NoReturn:
    """End the program with the models that there are, and the one that was probably meant."""
    rows = known_models()
    usable = (EMBEDDED, PULLED, PUBLISHED)
    published = [row["name"] for row in rows if row["state"] == PUBLISHED]
    if error.name in published:
        stop(f"the model {error.name!r} is not here yet: fetch it with `densewatch models pull {error.name}`")
    here = [f"{row['name']} ({row['state']})" for row in rows if row["state"] in (EMBEDDED, PULLED)]
    near = nearest(error.name, [row["name"] for row in rows if row["state"] in usable])
    question = f" Did you mean {near!r}?" if near is not None else ""
    stop(
        f"there is no model {error.name!r}, and no file of that name.{question} Here are: "
        f"{', '.join(here) or 'none'}. `densewatch models pull` fetches: {', '.join(published) or 'none'}"
    )


def _row(path: Path, state: str, name: str | None = None) -> dict[str, str]:
    from densewatch.runtime.model_file import ModelFileError, read_info

    try:
        description = read_info(path)
    except (ModelFileError, OSError) as error:
        return {"name": name or path.stem, "state": BROKEN, "about": str(error), "file": str(path)}
    about = f"{description.family}, {len(description.classes)} classes, {description.numeric_type}"
    return {"name": name or description.name, "state": state, "about": about, "file": str(path)}
