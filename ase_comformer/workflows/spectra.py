"""``spectra``: infrared and Raman spectra of a crystal in one call.

Modes at q = 0 come from the potential in the primitive cell; Born charges, the dielectric tensor and how it changes
with the positions of the atoms come from networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.errors import InvalidStructureError, warn_user
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.settings import DEFAULTS
from ase_comformer.physics.displacement_derivatives import displacement_derivatives
from ase_comformer.physics.force_response import DISPLACEMENT
from ase_comformer.physics.phonons import Phonons, at_wave_vectors
from ase_comformer.physics.phonopy_bridge import gamma_modes_text
from ase_comformer.physics.spectra import Infrared, Raman
from ase_comformer.physics.vibrations import mode_displacements, modes_of_dynamical_matrix
from ase_comformer.workflows.loading import predictor_for
from ase_comformer.workflows.phonons import phonons

FloatArray = NDArray[np.float64]

#: THz, above which a mode at q = 0 takes part in a spectrum.
LOWEST = 0.1


@dataclass(frozen=True)
class Spectra:
    """Spectra of a crystal at rest.

    Attributes:
        phonons: modes at q = 0; the supercell is the primitive cell, so other wave vectors mean nothing.
        frequencies: (3p,) THz at q = 0, transverse, imaginary ones negative.
        eigenvectors: (3p, p, 3) of the dynamical matrix, real and orthonormal.
        infrared: absorption and the infrared dielectric function.
        raman: scattering; experimental.
        status: "ok", or what limits the numbers, one sentence each.
    """

    phonons: Phonons
    frequencies: FloatArray
    eigenvectors: FloatArray
    infrared: Infrared
    raman: Raman | None
    status: tuple[str, ...]

    def write(self, folder: str | Path) -> list[Path]:
        """Write what Phonopy-Spectroscopy reads: ``phonopy.yaml``, ``mesh.yaml`` (modes at q = 0) and ``BORN``."""
        folder = Path(folder)
        written = self.phonons.write(folder)
        (folder / "mesh.yaml").write_text(gamma_modes_text(self.frequencies, self.eigenvectors), encoding="utf-8")
        self.phonons.phonopy.save(folder / "phonopy.yaml", settings={"force_sets": False, "displacements": False})
        return [*written, folder / "mesh.yaml", folder / "phonopy.yaml"]


def spectra(
    atoms: Any,
    *,
    relax: str | None = "atoms",
    raman: bool = True,
    displacement: float = DISPLACEMENT,
    fmax: float = 1e-3,
    predictor: Predictor | None = None,
    model: str | Path = DEFAULTS.model,
    device: str = DEFAULTS.device,
    symprec: float = DEFAULTS.symprec,
) -> Spectra:
    """Compute infrared and Raman spectra of a crystal.

    Args:
        atoms: an insulator, periodic in three directions (``Atoms`` or pymatgen ``Structure``); not changed.
        relax: as in :func:`ase_comformer.phonons`.
        raman: derive the dielectric tensor by the positions of the atoms. Experimental: the network has seen crystals
            at rest only.
        displacement: A, of single atoms.
        fmax: eV/A, largest force at rest.
        predictor: loaded model in float64; made from the arguments below where None.
        model: name or path, as ``predict``.
        device: ``"auto"`` or a torch device.
        symprec: A, the largest distance by which idealisation may move an atom.

    Returns:
        ``Spectra`` with ``.infrared`` and ``.raman``.

    Raises:
        InvalidStructureError: no crystal, or a metal, in which light is screened.
        UnknownElementError: a network does not know an element.

    Warns:
        UserWarning: as ``phonons``; imaginary modes, which take no part in the spectra.

    Example:
        >>> from ase.build import bulk
        >>> found = spectra(bulk("MgO", "rocksalt", a=4.25))
        >>> found.infrared.frequencies.shape, found.infrared.dielectric_function([0.0])[0, 0, 0].real > 5
        ((3,), np.True_)
    """
    predictor = predictor_for(predictor, model=model, device=device, symprec=symprec)
    found = phonons(atoms, relax=relax, supercell=(1, 1, 1), displacement=displacement, fmax=fmax, predictor=predictor)
    charges, dielectric = _electric(found, predictor)
    solved = at_wave_vectors(found.phonopy, np.zeros((1, 3)), with_dynamical_matrices=True)
    frequencies, vectors = modes_of_dynamical_matrix(solved["dynamical_matrices"][0].real)
    kept = frequencies > LOWEST
    moved = mode_displacements(vectors[kept], found.primitive.get_masses())
    effective = np.einsum("mpx,pix->mi", moved, charges)
    strengths = effective[:, :, None] * effective[:, None, :]
    volume = found.primitive.cell.volume
    infrared = Infrared(frequencies[kept], strengths, dielectric, volume)
    status = [text for text in found.status if text != "ok"]
    if (lost := int((frequencies < -LOWEST).sum())) > 0:
        status.append(f"{lost} imaginary modes take no part in the spectra")
        warn_user(f"{found.primitive.get_chemical_formula()}: {status[-1]}")
    scattering = None
    if raman:
        raw = Predictor(**{**predictor.arguments, "dtype": "float64", "enforce_symmetry": False})
        slopes = displacement_derivatives(found.group, _tensors_of(raw), displacement)
        scattering = Raman(frequencies[kept], volume / (4 * np.pi) * np.einsum("mpk,pkij->mij", moved, slopes))
    return Spectra(found, frequencies, vectors, infrared, scattering, tuple(status) or ("ok",))


def _electric(found: Phonons, predictor: Predictor) -> tuple[FloatArray, FloatArray]:
    if found.born_effective_charges is not None and found.dielectric_tensor is not None:
        return found.born_effective_charges, found.dielectric_tensor
    for text in found.status:
        if text.startswith("no LO-TO splitting"):
            formula = found.primitive.get_chemical_formula()
            raise InvalidStructureError(f"{formula} has no infrared or Raman spectrum of its lattice here: {text}.")
    # elements: no charges by the acoustic sum rule, and so no infrared absorption
    dielectric = predictor.evaluate(found.primitive, ["dielectric_tensor"])["dielectric_tensor"]
    return np.zeros((len(found.primitive), 3, 3)), dielectric


def _tensors_of(predictor: Predictor) -> Any:
    def evaluate(structures: Sequence[Atoms]) -> list[FloatArray]:
        results = predictor.predict(structures, ["dielectric_tensor"], on_error="raise")
        return [result["dielectric_tensor"] for result in results]

    return evaluate
