"""``predict`` and ``predict_iter``: properties of many structures in one call; ``streams`` does the work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.results import Names, Result
from ase_comformer.inference.settings import BATCH_SIZE, DEFAULTS


def predict(
    atoms: Iterable[Any],
    properties: Names | None = None,
    *,
    batch_size: int = BATCH_SIZE,
    progress: bool = False,
    model: str | Path = DEFAULTS.model,
    device: str = DEFAULTS.device,
    dtype: str = DEFAULTS.dtype,
    symprec: float = DEFAULTS.symprec,
    enforce_symmetry: bool = DEFAULTS.enforce_symmetry,
    functional: str = DEFAULTS.functional,
    route: str = DEFAULTS.route,
    on_error: str = "record",
) -> list[Result]:
    """Predict properties of many structures.

    Args:
        atoms: ``ase.Atoms`` or pymatgen structures; tensors need crystals that are periodic in three directions.
        properties: names among those of the model; all of them where None. See ``tensors.PROPERTIES`` for units.
        batch_size: largest number of structures evaluated together.
        progress: show a progress bar on standard error.
        model: name (``available_models()``) or path.
        device: ``"auto"`` or a torch device.
        dtype: ``"float32"`` or ``"float64"``.
        symprec: farthest, in Å, that idealisation may move an atom.
        enforce_symmetry: evaluate the idealised structure and return exactly symmetric tensors.
        functional: what dielectric tensors and Born charges follow, ``"PBEsol"`` (default) or ``"PBE"``.
        route: where relaxed-ion tensors come from: ``"head"`` of a network, which takes milliseconds, linear
            ``"response"`` of the crystal, or ``"combined"``; the last two take tenths of a second each.
        on_error: ``"record"`` notes what cannot be computed and goes on; ``"raise"`` raises the first error.

    Returns:
        One dictionary per structure (``inference.results.Prediction``), in the order given: property name -> float64
        array in the documented shape, or float for scalars. ``errors`` has a message for each property that could not
        be computed (an element that it does not know, a tensor of a slab); ``error`` is there only where nothing could.
        ``status`` and ``symmetry`` come with tensors.

    Raises:
        UnknownNameError: unknown property, model, device, dtype, functional or ``on_error``.
        WeightsError: damaged weights.
        InvalidStructureError, UnknownElementError: with ``on_error="raise"``.

    Example:
        >>> from ase.build import bulk
        >>> predict([bulk("MgO", "rocksalt", a=4.21)], "elastic_tensor")[0]["elastic_tensor"].shape
        (6, 6)
    """
    predictor = Predictor(
        model=model,
        device=device,
        dtype=dtype,
        symprec=symprec,
        enforce_symmetry=enforce_symmetry,
        functional=functional,
        route=route,
    )
    return predictor.predict(atoms, properties, batch_size=batch_size, progress=progress, on_error=on_error)


def predict_iter(
    atoms: Iterable[Any],
    properties: Names | None = None,
    *,
    batch_size: int = BATCH_SIZE,
    progress: bool = False,
    model: str | Path = DEFAULTS.model,
    device: str = DEFAULTS.device,
    dtype: str = DEFAULTS.dtype,
    symprec: float = DEFAULTS.symprec,
    enforce_symmetry: bool = DEFAULTS.enforce_symmetry,
    functional: str = DEFAULTS.functional,
    route: str = DEFAULTS.route,
    on_error: str = "record",
) -> Iterator[Result]:
    """Predict properties of a stream of structures: as :func:`predict`, in constant memory.

    Structures are taken from ``atoms``, which may be a generator without end, some batches at a time, and results come
    in their order.

    Example:
        >>> from ase.build import bulk
        >>> salts = (bulk("NaCl", "rocksalt", a=5.6 + 0.01 * i) for i in range(3))
        >>> [round(result["energy"] < 0) for result in predict_iter(salts, "energy")]
        [1, 1, 1]
    """
    predictor = Predictor(
        model=model,
        device=device,
        dtype=dtype,
        symprec=symprec,
        enforce_symmetry=enforce_symmetry,
        functional=functional,
        route=route,
    )
    return predictor.predict_iter(atoms, properties, batch_size=batch_size, progress=progress, on_error=on_error)
