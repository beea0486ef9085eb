"""semdepth: depth, ego-motion and semantics from unlabelled driving video.

Public names are imported when first asked for: ``import semdepth`` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semdepth.apps.push import push_to_hub
    from semdepth.inference.predictor import Predictor, load
    from semdepth.runtime import InputError
    from semdepth.structures import Prediction

__version__ = "0.1.0"

_HOMES = {
    "load": "semdepth.inference.predictor",
    "Predictor": "semdepth.inference.predictor",
    "Prediction": "semdepth.structures",
    "InputError": "semdepth.runtime",
    "push_to_hub": "semdepth.apps.push",
}

__all__ = ["InputError", "Prediction", "Predictor", "__version__", "load", "push_to_hub"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    try:
        return import_module(f"semdepth.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"semdepth.{name}":
            raise
        raise AttributeError(f"module 'semdepth' has no attribute {name!r}") from None
