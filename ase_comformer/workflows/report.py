"""``report``: everything the package says of a crystal on one HTML page that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ase_comformer.crystals.interop import as_atoms
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.settings import DEFAULTS
from ase_comformer.workflows.loading import predictor_for
from ase_comformer.workflows.report_page.content import gather
from ase_comformer.workflows.report_page.html_page import page


def report(
    atoms: Any,
    path: str | Path,
    *,
    name: str = "",
    with_phonons: bool = True,
    predictor: Predictor | None = None,
    model: str | Path = DEFAULTS.model,
    device: str = DEFAULTS.device,
    symprec: float = DEFAULTS.symprec,
) -> Path:
    """Write a report of a crystal: structure, symmetry, tensors, phonons, spectra, surfaces that turn, what to trust.

    Args:
        atoms: crystal, periodic in three directions (``Atoms`` or pymatgen ``Structure``); not changed.
        path: HTML file to write; folders are made.
        name: of the source, shown below the title.
        with_phonons: phonons and spectra too, which take most of the time.
        predictor: loaded model, float64; made from the arguments below where None.
        model: name or path, as ``predict``.
        device: ``"auto"`` or a torch device.
        symprec: A, the largest distance by which idealisation may move an atom.

    Returns:
        ``path``. The page loads nothing and works offline; a part that cannot be computed is a sentence that says why.

    Raises:
        InvalidStructureError: no crystal.

    Example:
        >>> from ase.build import bulk
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = report(bulk("MgO", "rocksalt", a=4.25), f"{folder}/MgO.html", with_phonons=False)
        ...     "Fm-3m" in page.read_text(encoding="utf-8")
        True
    """
    predictor = predictor_for(predictor, model=model, device=device, symprec=symprec, route="combined")
    written = Path(path)
    written.parent.mkdir(parents=True, exist_ok=True)
    content = gather(as_atoms(atoms), predictor, name=name, with_phonons=with_phonons)
    written.write_text(page(content), encoding="utf-8")
    return written
