"""The ASE face of the package; everything is computed by ``predictor.Predictor``.

Energy, forces, stress and ``dielectric_tensor`` are kept in ``results``: names that ASE does not know break its
exporters, and Born charges there break extxyz writing. The other properties are kept on the side and reached through
``get_property``. All tensors are in the Cartesian frame and atom order of the ``Atoms`` that were passed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.outputs import Properties, all_outputs

from ase_comformer.errors import UnknownNameError
from ase_comformer.inference.potential_evaluator import POTENTIAL_PROPERTIES, UNCERTAINTIES
from ase_comformer.inference.predictor import Predictor
from ase_comformer.physics.dispersion import Dispersion
from ase_comformer.tensors.forms import FramedTensor, ieee_frame
from ase_comformer.tensors.symmetry_report import SymmetryReport

FRAMES = ("cartesian", "ieee")

_CORRECTED = ("energy", "forces", "stress")
_IN_RESULTS = frozenset({*POTENTIAL_PROPERTIES, "dielectric_tensor"})


class GMTNetCalculator(Calculator):
    """ASE calculator for the energy surface and the response tensors of crystals.

    Energy (eV), forces (eV/A) and stress (eV/A^3, any ``pbc``) through ASE's getters, of the structure as it is.
    Through ``get_property`` their expected errors, ``energy_uncertainty`` (eV) and ``forces_uncertainty`` (n,) eV/A per
    component: 68 % of the errors on validation frames are smaller.
    Other properties, through ``get_property(name, atoms)``: ``dielectric_tensor`` (3, 3) electronic,
    ``static_dielectric_tensor`` (3, 3), ``born_effective_charges`` (n, 3, 3) in e with index order
    [atom, field, displacement], ``piezoelectric_tensor`` (3, 6) C/m^2, ``elastic_tensor`` (6, 6) GPa and
    ``formation_energy`` eV/atom, as far as the model has them; Voigt order xx, yy, zz, yz, xz, xy.
    ``describe(name)`` says exactly which quantity a name is.

    Args:
        model: name (``ase_comformer.available_models()``) or path of a model.
        device: ``"auto"`` (CUDA if there is one) or a torch device such as ``"cpu"``.
        dtype: ``"float32"`` or ``"float64"``; torch's default dtype is neither read nor changed.
        symprec: tolerance in Å of the space-group search.
        enforce_symmetry: evaluate the structure idealised within ``symprec`` and return tensors that are exactly
            invariant under its space group; otherwise the raw network output for the structure as it is.
        dispersion: ``"d3bj"`` adds D3 dispersion with the parameters of PBE (needs the package ``dftd3``) to energy,
            forces and stress. Off by default: the potential is to be PBE, which it was trained and is measured on.

    Raises:
        UnknownNameError: unknown model, device or dtype.
        WeightsError: a weights file is missing, truncated or does not match its checksum.

    Example:
        >>> atoms.calc = GMTNetCalculator()
        >>> atoms.calc.get_property("dielectric_tensor", atoms)
        >>> print(atoms.calc.symmetry_report(atoms))
    """

    name = "gmtnet"
    implemented_properties: list[str] = [  # noqa: RUF012, declared so by ASE
        *POTENTIAL_PROPERTIES,
        *UNCERTAINTIES,
        "dielectric_tensor",
        "static_dielectric_tensor",
        "born_effective_charges",
        "piezoelectric_tensor",
        "elastic_tensor",
        "formation_energy",
    ]
    default_parameters: dict[str, Any] = {  # noqa: RUF012
        "model": "default",
        "device": "auto",
        "dtype": "float32",
        "symprec": 1e-2,
        "enforce_symmetry": True,
        "dispersion": "",
    }
    # Neither enters a prediction (magnetic moments cause a warning), so neither makes results stale.
    ignored_changes: set[str] = {"initial_charges", "initial_magmoms"}  # noqa: RUF012

    def __init__(
        self,
        *,
        model: str | Path = "default",
        device: str = "auto",
        dtype: str = "float32",
        symprec: float = 1e-2,
        enforce_symmetry: bool = True,
        dispersion: str = "",
    ) -> None:
        self._side_results: dict[str, Any] = {}
        super().__init__()
        self._configure(
            model=model,
            device=device,
            dtype=dtype,
            symprec=symprec,
            enforce_symmetry=enforce_symmetry,
            dispersion=dispersion,
        )

    def _configure(self, *, dispersion: str, **arguments: Any) -> None:
        correction = Dispersion(dispersion) if dispersion else None
        predictor = Predictor(**arguments)  # first, so that a wrong argument leaves the calculator as it was
        self._predictor, self._dispersion = predictor, correction
        self.parameters.update(predictor.arguments, dispersion=dispersion)
        self.implemented_properties = list(predictor.properties)
        self.reset()

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Change constructor arguments; results are discarded if anything changed. Returns the changed ones."""
        unknown = [key for key in kwargs if key not in self.default_parameters]
        if unknown:
            raise UnknownNameError(
                f"Unknown argument {', '.join(map(repr, unknown))}. Choose among {', '.join(self.default_parameters)}."
            )
        changed = {key: value for key, value in kwargs.items() if self.parameters[key] != value}
        if changed:
            self._configure(**{**self.parameters, **changed})
        return changed

    def reset(self) -> None:
        """Forget structure and results."""
        super().reset()
        self._side_results = {}

    def todict(self, skip_default: bool = False) -> dict[str, Any]:
        """Constructor arguments, JSON-able: ``GMTNetCalculator(**calc.todict())`` is the same calculator."""
        return {
            key: value
            for key, value in self.parameters.items()
            if not (skip_default and value == self.default_parameters[key])
        }

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """Value of a property, computed if necessary.

        Args:
            name: one of ``implemented_properties``.
            atoms: crystal; by default the one of the last calculation.
            allow_calculation: if False, return None where nothing is stored for ``atoms``.

        Returns:
            A copy, float64 array in the documented shape and unit, or a float.

        Raises:
            PropertyNotImplementedError: the model has no such property, or the structure has no stress.
            InvalidStructureError, UnknownElementError: ``atoms`` cannot be evaluated; the message says why.
        """
        self._require_implemented(name)
        if atoms is None:
            atoms = self._last_atoms()
        elif self.check_state(atoms):
            if not allow_calculation:
                return None
            self.reset()
        if self._stored(name) is None:
            if not allow_calculation:
                return None
            self.calculate(atoms, [name])
        value = self._stored(name)
        return value.copy() if isinstance(value, np.ndarray) else value

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute exactly ``properties`` of ``atoms`` and add them to what is stored; errors as ``get_property``."""
        for name in properties:
            self._require_implemented(name)
        if atoms is None:
            atoms = self._last_atoms()
        elif self.check_state(atoms):
            self.reset()
        values = self._predictor.evaluate(atoms, properties)
        if self._dispersion is not None and not values.keys().isdisjoint(_CORRECTED):
            for name, change in self._dispersion.evaluate(atoms).items():
                if name in values:
                    values[name] = values[name] + change
        if self.atoms is None:
            self.atoms = atoms.copy()
        for name, value in values.items():
            (self.results if name in _IN_RESULTS else self._side_results)[name] = value

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Names of what has changed since the last calculation; as ASE's, exact (``tol`` is not read) and faster."""
        last = self.atoms
        if last is None:
            return [change for change in all_changes if change not in self.ignored_changes]
        pairs = {
            "positions": (last.positions, atoms.positions),
            "numbers": (last.numbers, atoms.numbers),
            "cell": (last.cell.array, atoms.cell.array),
            "pbc": (last.pbc, atoms.pbc),
        }
        return [change for change, (old, new) in pairs.items() if not np.array_equal(old, new)]

    def calculation_required(self, atoms: Atoms, properties: Sequence[str]) -> bool:
        """Whether any of ``properties`` is not stored for ``atoms``."""
        return bool(self.check_state(atoms)) or any(self._stored(name) is None for name in properties)

    def export_properties(self) -> Properties:
        """Stored results that ASE has a name for, Born charges included."""
        side = {key: value for key, value in self._side_results.items() if key in all_outputs}
        return Properties({**self.results, **side})

    def get_tensor(self, name: str, atoms: Atoms | None = None, frame: str = "cartesian") -> FramedTensor:
        """A property with the frame it is given in.

        Args:
            name: one of ``implemented_properties``, not a scalar.
            atoms: crystal; by default the one of the last calculation.
            frame: ``"cartesian"`` (of ``atoms``) or ``"ieee"`` (IEEE 176-1987, from lattice and crystal class).

        Returns:
            ``tensor`` in the documented form, ``rotation`` (3, 3) whose rows are the axes of the frame in the
            Cartesian frame of ``atoms``, and ``note``, which says what the standard leaves open (empty if nothing).
        """
        if frame not in FRAMES:
            raise UnknownNameError(f"Unknown frame {frame!r}. Choose one of {', '.join(FRAMES)}.")
        atoms = self._last_atoms() if atoms is None else atoms
        value = self.get_property(name, atoms)
        if frame == "cartesian":
            return FramedTensor(value, np.eye(3), "")
        return ieee_frame(value, atoms, name, symprec=self.parameters["symprec"])

    def symmetry_report(self, atoms: Atoms | None = None, properties: Sequence[str] | None = None) -> SymmetryReport:
        """What the space group allows of each tensor, and what the network says of the structure as it is.

        Args:
            atoms: crystal; by default the one of the last calculation.
            properties: names; by default every tensor of the model that covers the elements of ``atoms``.
        """
        for name in properties or ():
            self._require_implemented(name)
        return self._predictor.symmetry_report(self._last_atoms() if atoms is None else atoms, properties)

    def describe(self, name: str) -> dict[str, Any]:
        """Which quantity ``name`` is (kind, functional, unit, shape), its elements and training data; JSON-able."""
        self._require_implemented(name)
        return self._predictor.describe(name)

    def _stored(self, name: str) -> Any:
        return self.results.get(name, self._side_results.get(name))

    def _last_atoms(self) -> Atoms:
        if self.atoms is None:
            raise ValueError("The calculator has seen no structure yet; pass atoms=...")
        return self.atoms

    def _require_implemented(self, name: str) -> None:
        if name in self.implemented_properties:
            return
        choices = ", ".join(self.implemented_properties)
        raise PropertyNotImplementedError(f"{name!r} is not a property of this model. It predicts: {choices}.")
