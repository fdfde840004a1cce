"""ASE calculator for crystal response tensors with exact space-group symmetry.

>>> from ase_comformer import GMTNetCalculator, predict
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ase_comformer.calculator import GMTNetCalculator as GMTNetCalculator
    from ase_comformer.errors import InvalidStructureError as InvalidStructureError
    from ase_comformer.errors import UnknownElementError as UnknownElementError
    from ase_comformer.errors import UnknownNameError as UnknownNameError
    from ase_comformer.errors import UnreadableFileError as UnreadableFileError
    from ase_comformer.errors import WeightsError as WeightsError
    from ase_comformer.inference.batches import predict as predict
    from ase_comformer.inference.batches import predict_iter as predict_iter
    from ase_comformer.models.registry import available_models as available_models
    from ase_comformer.models.registry import load_model as load_model
    from ase_comformer.models.training_index import in_training as in_training
    from ase_comformer.workflows.dynamics import molecular_dynamics as molecular_dynamics
    from ase_comformer.workflows.elastic import elastic as elastic
    from ase_comformer.workflows.phonons import phonons as phonons
    from ase_comformer.workflows.phonons import write_born as write_born
    from ase_comformer.workflows.relax import relax as relax
    from ase_comformer.workflows.report import report as report
    from ase_comformer.workflows.response import respond as respond
    from ase_comformer.workflows.screen import screen as screen
    from ase_comformer.workflows.spectra import spectra as spectra

# Imported on first use: torch takes seconds, and ``import ase_comformer`` should not.
_EXPORTS = {
    "GMTNetCalculator": "calculator",
    "predict": "inference.batches",
    "predict_iter": "inference.batches",
    "respond": "workflows.response",
    "relax": "workflows.relax",
    "molecular_dynamics": "workflows.dynamics",
    "elastic": "workflows.elastic",
    "phonons": "workflows.phonons",
    "write_born": "workflows.phonons",
    "spectra": "workflows.spectra",
    "screen": "workflows.screen",
    "report": "workflows.report",
    "available_models": "models.registry",
    "load_model": "models.registry",
    "in_training": "models.training_index",
    "InvalidStructureError": "errors",
    "UnknownElementError": "errors",
    "UnknownNameError": "errors",
    "UnreadableFileError": "errors",
    "WeightsError": "errors",
}

__all__ = [  # noqa: RUF022, the calculator first
    "GMTNetCalculator",
    "predict",
    "predict_iter",
    "respond",
    "relax",
    "molecular_dynamics",
    "elastic",
    "phonons",
    "write_born",
    "spectra",
    "screen",
    "report",
    "available_models",
    "load_model",
    "in_training",
    "InvalidStructureError",
    "UnknownElementError",
    "UnknownNameError",
    "UnreadableFileError",
    "WeightsError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        from importlib import import_module

        return getattr(import_module(f"ase_comformer.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'ase_comformer' has no attribute {name!r}; it exports {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
