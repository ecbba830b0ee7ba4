"""densewatch finds and counts every object in a dense scene.

```python
import densewatch as dw

detections = dw.load().detect("photo.jpg")
detections.only("person").above(0.5)
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from densewatch.detections import Detections, UnknownNameError
    from densewatch.loading import load
    from densewatch.runtime.detector import Detector

__version__ = "0.1.0"
__all__ = ["Detections", "Detector", "UnknownNameError", "__version__", "load"]

_HOMES = {
    "Detections": "densewatch.detections",
    "Detector": "densewatch.runtime.detector",
    "UnknownNameError": "densewatch.detections",
    "load": "densewatch.loading",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import densewatch` itself costs next to nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
