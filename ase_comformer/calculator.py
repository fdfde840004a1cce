"""The ASE face of the package; everything is computed by ``inference.predictor.Predictor``.

Energy, forces, stress and ``dielectric_tensor`` are kept in ``results``: names that ASE does not know break its
exporters, and Born charges there break extxyz writing. The other properties are kept on the side and reached through
``get_property``; ``results_also`` puts them into ``results``, from where ASE's writers take what they can store. All
tensors are in the Cartesian frame and atom order of the ``Atoms`` that were passed in.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.outputs import Properties, all_outputs

from ase_comformer.crystals.interop import as_atoms
from ase_comformer.crystals.structures import changes
from ase_comformer.errors import check_choice
from ase_comformer.inference.corrections import CORRECTED, Corrections
from ase_comformer.inference.expected_forces import ExpectedForces
from ase_comformer.inference.potential_ensemble import POTENTIAL_PROPERTIES, UNCERTAINTIES
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.results import METADATA, RESULT_ALIASES, aliases_of, message_of, not_implemented
from ase_comformer.inference.settings import DEFAULTS
from ase_comformer.physics.electric_field import ElectricField, field_parameters
from ase_comformer.physics.hessian import hessian
from ase_comformer.tensors.forms import FRAMES, FramedTensor, framed
from ase_comformer.tensors.symmetry_report import SymmetryReport

_IN_RESULTS = frozenset({*POTENTIAL_PROPERTIES, "dielectric_tensor"})


class GMTNetCalculator(Calculator):
    """ASE calculator for the energy surface and the response tensors of crystals.

    Energy (eV), forces (eV/A) and stress (eV/A^3, any ``pbc``) through ASE's getters, of the structure as it is.
    Through ``get_property(name, atoms)``: ``dielectric_tensor`` (3, 3) electronic, ``static_dielectric_tensor`` (3, 3),
    ``born_effective_charges`` (n, 3, 3) e, indices [atom, field, displacement], ``piezoelectric_tensor`` (3, 6) C/m^2,
    ``elastic_tensor`` (6, 6) GPa, ``formation_energy`` eV/atom, ``band_gap`` eV, as far as the model has them (Voigt
    order xx, yy, zz, yz, xz, xy), and error bars ``NAME_uncertainty`` in the same unit, that 68 % of errors stay below
    (of forces (n,), per component). ``describe(name)`` says exactly which quantity a name is.

    The energy alone takes a forward pass; forces and stress come with it and with each other. Structures may be
    pymatgen's. Threads that share a calculator take turns; calculators share weights and caches.

    Args:
        model: name (``ase_comformer.available_models()``) or path of a model.
        device: ``"auto"`` (CUDA if there is one) or a torch device such as ``"cpu"``.
        dtype: ``"float32"`` or ``"float64"``, which relaxations to forces below 1e-4 eV/A need.
        symprec: farthest, in Å, that idealisation may move an atom.
        enforce_symmetry: idealise within ``symprec`` and return tensors exactly invariant under the space group; False:
            raw output for the structure as it is, which derivatives of tensors (Raman, photoelastic) need.
        functional: what dielectric tensors and Born charges follow, ``"PBEsol"`` (default) or ``"PBE"``.
        route: of static dielectric, piezoelectric and elastic tensors: ``"combined"`` (default) mixes the ``"head"`` of
            the networks with the linear ``"response"`` of the crystal; ``provenance["routes"]`` says how.
        dispersion: ``"d3bj"`` adds D3 dispersion with the parameters of PBE (package ``dftd3``). Off by default: the
            potential is to be PBE, which it was trained and is measured on.
        results_also: properties that come with every energy and go to ``results``, and so to ASE's writers (extxyz
            cannot write Born charges); also ``becs`` and ``polarizability`` (eps - 1), the keys that atomate2 reads.
        electric_field: (3,) V/A: energy, forces and stress become those of the electric enthalpy of
            ``physics.electric_field``; tensors and expected errors stay those without a field.
        field_reference: crystal at rest whose charges the field acts on, in the order of the atoms; or a mapping of it
            and of tensors of one's own, see ``physics.electric_field.reference_as_dict``.

    Raises:
        UnknownNameError: unknown model, device, dtype, functional or property.
        WeightsError: a weights file is missing, truncated or does not match its checksum.
        InvalidStructureError: the field reference is a metal, a slab or a molecule.

    Example:
        >>> from ase.build import bulk
        >>> atoms = bulk("MgO", "rocksalt", a=4.21)
        >>> atoms.calc = GMTNetCalculator()
        >>> atoms.calc.get_property("dielectric_tensor", atoms).shape
        (3, 3)

    Attributes:
        provenance: of the last structure: ``status``, ``symmetry`` (the enforced group, how far idealisation moved an
            atom), ``routes`` and ``errors`` (message by property that could not be computed).
    """

    name = "gmtnet"
    implemented_properties: list[str] = [  # noqa: RUF012, declared so by ASE
        *POTENTIAL_PROPERTIES,
        *UNCERTAINTIES,
        "dielectric_tensor",
        "static_dielectric_tensor",
        "born_effective_charges",
        "piezoelectric_tensor",
        "clamped_piezoelectric_tensor",
        "elastic_tensor",
        "formation_energy",
        "band_gap",
    ]
    default_parameters: dict[str, Any] = {  # noqa: RUF012
        **asdict(DEFAULTS),
        "route": "combined",
        "dispersion": "",
        "results_also": [],
        "electric_field": None,
        "field_reference": None,
    }
    # Neither enters a prediction (both cause a warning), so neither makes results stale.
    ignored_changes: set[str] = {"initial_charges", "initial_magmoms"}  # noqa: RUF012

    def __init__(
        self,
        *,
        model: str | Path = DEFAULTS.model,
        device: str = DEFAULTS.device,
        dtype: str = DEFAULTS.dtype,
        symprec: float = DEFAULTS.symprec,
        enforce_symmetry: bool = DEFAULTS.enforce_symmetry,
        functional: str = DEFAULTS.functional,
        route: str = "combined",
        dispersion: str = "",
        results_also: Sequence[str] = (),
        electric_field: Sequence[float] | None = None,
        field_reference: Atoms | Mapping[str, Any] | None = None,
    ) -> None:
        arguments = {key: value for key, value in locals().items() if key in self.default_parameters}
        self._lock = threading.RLock()
        self._side_results: dict[str, Any] = {}
        self.provenance: dict[str, Any] = {}
        self._expected_forces = ExpectedForces()
        super().__init__()
        self._configure(**{**arguments, **field_parameters(electric_field, field_reference)})

    def _configure(self, *, results_also: Sequence[str], **arguments: Any) -> None:
        terms = {key: arguments.pop(key) for key in ("dispersion", "electric_field", "field_reference")}
        predictor = Predictor(**arguments)  # first, so that a wrong argument leaves the calculator as it was
        corrections = Corrections(predictor, **terms)
        also = list(dict.fromkeys(results_also))
        along = predictor.checked([RESULT_ALIASES.get(name, name) for name in also]) if also else ()
        self._predictor, self._corrections, self._along = predictor, corrections, along
        self._in_results = _IN_RESULTS.union(also) - RESULT_ALIASES.keys()
        self.parameters.update(asdict(predictor.settings), results_also=also, **terms)
        self.implemented_properties = list(predictor.properties)
        self.reset()

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the lock, which copies do not share."""
        return {key: value for key, value in self.__dict__.items() if key != "_lock"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Restore the attributes, with a lock of its own."""
        self.__dict__.update(state)
        self._lock = threading.RLock()

    @property
    def field(self) -> ElectricField | None:
        """The electric field, None without one; ``field.polarisation(atoms)`` is in C/m^2."""
        return self._corrections.field

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Change constructor arguments; results are discarded if anything changed. Returns the changed ones."""
        for key in kwargs:
            check_choice(key, self.default_parameters, "argument")
        with self._lock:
            wanted = {**self.parameters, **kwargs}
            wanted |= field_parameters(wanted["electric_field"], wanted["field_reference"])
            changed = {key: wanted[key] for key in kwargs if self.parameters[key] != wanted[key]}
            if changed:
                self._configure(**wanted)
        return changed

    def reset(self) -> None:
        """Forget structure and results."""
        super().reset()
        self._side_results, self.provenance = {}, {}
        self._expected_forces.end_of_structure()

    def todict(self, skip_default: bool = False) -> dict[str, Any]:
        """Constructor arguments, JSON-able: ``GMTNetCalculator(**calc.todict())`` is the same calculator."""
        return {
            key: value
            for key, value in self.parameters.items()
            if not (skip_default and value == self.default_parameters[key])
        }

    def get_property(self, name: str, atoms: Any = None, allow_calculation: bool = True) -> Any:
        """Value of a property, computed if necessary.

        Args:
            name: one of ``implemented_properties``.
            atoms: structure; by default the one of the last calculation.
            allow_calculation: if False, return None where nothing is stored for ``atoms``.

        Returns:
            A copy, float64 array in the documented shape and unit, or a float.

        Raises:
            PropertyNotImplementedError: the model has no such property, or the structure has no stress.
            InvalidStructureError, UnknownElementError: ``atoms`` cannot be evaluated; the message says why.
        """
        with self._lock:
            self._require_implemented(name)
            atoms = self._current(atoms, allow_calculation)
            if atoms is None:
                return None
            value = self._stored(name)
            if value is None:
                if not allow_calculation:
                    return None
                self._compute(atoms, (name,))
                value = self._stored(name)
            self._expected_forces.read((name,))
            return value.copy() if isinstance(value, np.ndarray) else value

    def calculate(
        self,
        atoms: Any = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute ``properties`` of ``atoms`` and add them to what is stored.

        Those that cannot be computed spare the others: ``provenance["errors"]`` says why, ``get_property`` raises.
        """
        with self._lock:
            for name in properties:
                self._require_implemented(name)
            self._compute(self._current(atoms), tuple(properties))

    def calculate_properties(self, atoms: Any, properties: Sequence[str]) -> Properties:
        """Compute properties as ASE does, but with the reason where a property cannot be computed."""
        values = {name: self.get_property(name, atoms) for name in properties}
        return Properties({**self.export_properties(), **values})

    def _current(self, atoms: Any, may_forget: bool = True) -> Any:
        """The structure in question as ``Atoms``, after forgetting another one; None instead of forgetting."""
        if atoms is None:
            return self._last_atoms()
        atoms = as_atoms(atoms)
        if self.check_state(atoms):
            if not may_forget:
                return None
            self.reset()
        return atoms

    def _compute(self, atoms: Atoms, names: tuple[str, ...]) -> None:
        """Add ``names`` to the results; the state and the names have been checked."""
        asked = names = self._expected_forces.along_with(names, has_energy="energy" in self.results)
        if self._along and not CORRECTED.keys().isdisjoint(names):
            names = tuple(dict.fromkeys((*names, *filter(lambda name: self._stored(name) is None, self._along))))
        found, errors = self._predictor.evaluate_each(atoms, names)
        if all(name in errors for name in asked):
            raise errors[asked[0]]
        found = self._corrections.added_to(found, atoms)
        self.results.update(aliases_of(found, self.parameters["results_also"]))
        if self.atoms is None:
            self.atoms = atoms.copy()
        for name, value in found.items():
            if name == "routes":
                self.provenance[name] = {**self.provenance.get(name, {}), **value}
            elif name in METADATA:
                self.provenance[name] = value
            else:
                (self.results if name in self._in_results else self._side_results)[name] = value
        if errors:
            messages = {name: message_of(error) for name, error in errors.items()}
            self.provenance["errors"] = {**self.provenance.get("errors", {}), **messages}

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Names of what has changed since the last calculation; as ASE's, exact (``tol`` is not read) and faster."""
        last = self.atoms
        if last is None:
            return [change for change in all_changes if change not in self.ignored_changes]
        return changes(last, atoms)

    def calculation_required(self, atoms: Any, properties: Sequence[str]) -> bool:
        """Whether any of ``properties`` is not stored for ``atoms``."""
        return bool(self.check_state(as_atoms(atoms))) or any(self._stored(name) is None for name in properties)

    def export_properties(self) -> Properties:
        """Stored results that ASE has a name for, Born charges included."""
        return Properties({k: v for k, v in (self.results | self._side_results).items() if k in all_outputs})

    def get_tensor(self, name: str, atoms: Any = None, frame: str = "cartesian") -> FramedTensor:
        """A property with the frame it is given in.

        Args:
            name: one of ``implemented_properties``, not a scalar.
            atoms: crystal; by default the one of the last calculation.
            frame: ``"cartesian"`` (of ``atoms``) or ``"ieee"`` (IEEE 176-1987, from lattice and crystal class).

        Returns:
            ``tensor`` in the documented form, ``rotation`` (3, 3) whose rows are the axes of the frame in the
            Cartesian frame of ``atoms``, and ``note``, which says what the standard leaves open (empty if nothing).
        """
        atoms = self._last_atoms() if atoms is None else as_atoms(atoms)
        check_choice(frame, FRAMES, "frame")
        return framed(self.get_property(name, atoms), atoms, name, frame, symprec=self.parameters["symprec"])

    def symmetry_report(self, atoms: Any = None, properties: Sequence[str] | None = None) -> SymmetryReport:
        """Report what the space group allows of each tensor, and what the network says of the structure as it is.

        Args:
            atoms: crystal; by default the one of the last calculation.
            properties: names; by default every tensor of the model that covers the elements of ``atoms``.
        """
        for name in properties or ():
            self._require_implemented(name)
        if self.field is not None:
            raise ValueError("Reports are of crystals without a field: ask a calculator without electric_field.")
        return self._predictor.symmetry_report(self._last_atoms() if atoms is None else atoms, properties)

    def get_hessian(self, atoms: Any = None) -> np.ndarray:
        """(n, 3, n, 3) eV/A^2 as ``ase.vibrations.VibrationsData`` has it, by differences of forces; use float64."""
        self._require_implemented("forces")
        atoms = self._last_atoms() if atoms is None else as_atoms(atoms)
        return hessian(atoms, lambda structures: self._corrections.forces(self._predictor, structures))

    def describe(self, name: str) -> dict[str, Any]:
        """Which quantity ``name`` is (kind, functional, unit, shape), its elements and training data; JSON-able.

        ``in_results`` says whether it is kept in ``results``, where ASE's writers find it.
        """
        self._require_implemented(name)
        return self._predictor.describe(name) | {"in_results": name in self._in_results}

    def _stored(self, name: str) -> Any:
        return self.results.get(name, self._side_results.get(name))

    def _last_atoms(self) -> Atoms:
        if self.atoms is None:
            raise ValueError("The calculator has seen no structure yet; pass atoms=...")
        return self.atoms

    def _require_implemented(self, name: str) -> None:
        if name not in self.implemented_properties:
            raise not_implemented(name, self.implemented_properties)
