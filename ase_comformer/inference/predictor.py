"""A loaded model with its settings: structure -> graph -> network -> tensors -> projection.

``Predictor`` is what ``predict`` and the calculator share. With ``enforce_symmetry`` the network sees the
symmetry-reduced graph of the idealised primitive cell and its output is projected onto what the space group allows;
without it the network sees the structure as it is, and its output is returned untouched. All tensors are in the
Cartesian frame and atom order of the ``Atoms`` passed in.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from numpy.typing import NDArray
from torch import nn

from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group
from ase_comformer.crystals.structures import bare, structure_key
from ase_comformer.crystals.validation import (
    validate_elements,
    validate_potential_structure,
    validate_structure,
    warn_about_ignored,
)
from ase_comformer.devices import resolve_device, resolve_dtype, shielded_device
from ase_comformer.errors import UnknownNameError, WeightsError
from ase_comformer.graphs.crystal_graph import CrystalGraph, collate
from ase_comformer.inference.potential_evaluator import POTENTIAL_PROPERTIES, UNCERTAINTIES, PotentialEvaluator
from ase_comformer.inference.prepared import PreparedCrystal
from ase_comformer.models.cards import describe_prediction
from ase_comformer.models.registry import Model, load_model
from ase_comformer.nn.architectures.potential import Potential
from ase_comformer.nn.ensemble import Ensemble
from ase_comformer.properties.registry import tensor_property
from ase_comformer.tensors.symmetry_report import SymmetryReport, project, symmetry_report, symmetry_residual

logger = logging.getLogger(__name__)

Result = dict[str, Any]
"""Property name -> float64 array in the documented shape (scalars: float), or ``{"error": message}``."""

#: Results of the energy surface on which symmetry has nothing to say.
_SCALARS = frozenset({"energy", "free_energy", "energies", *UNCERTAINTIES})

RESIDUAL_WARNING = 1e-3
"""Relative symmetry residual of a network output above which a warning is logged; float32 rounding stays far below."""


class Predictor:
    """Evaluates properties of crystals with one model.

    Args:
        model: name (``weights.available_models()``) or path.
        device: ``"auto"`` or a torch device.
        dtype: ``"float32"`` or ``"float64"``.
        symprec: tolerance in Å of the space-group search.
        enforce_symmetry: evaluate the idealised structure and return exactly symmetric tensors.

    Raises:
        UnknownNameError: unknown model, device or dtype.
        WeightsError: damaged weights.
        ValueError: ``symprec`` is not a positive number.
    """

    def __init__(
        self,
        *,
        model: str | Path = "default",
        device: str = "auto",
        dtype: str = "float32",
        symprec: float = 1e-2,
        enforce_symmetry: bool = True,
    ) -> None:
        self.arguments: dict[str, Any] = {
            "model": str(model),
            "device": str(device),
            "dtype": dtype,
            "symprec": _positive(symprec),
            "enforce_symmetry": bool(enforce_symmetry),
        }
        self._load()

    def _load(self) -> None:
        self.device = resolve_device(self.arguments["device"])
        self.dtype = resolve_dtype(self.arguments["dtype"])
        self.symprec: float = self.arguments["symprec"]
        self.enforce_symmetry: bool = self.arguments["enforce_symmetry"]
        self.model: Model = load_model(self.arguments["model"], str(self.device), self.arguments["dtype"])
        self.potential: PotentialEvaluator | None = None
        if "energy" in self.model.properties:
            self.potential = PotentialEvaluator(cast(Sequence[Potential], self.model.entries("energy")))
        self._ensemble = Ensemble()
        # One assignment of a pair, never changed in place: safe to read from several threads.
        self._last: tuple[bytes, PreparedCrystal] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Arguments, place and fingerprint of the model: small, and checked when unpickled elsewhere."""
        return {"arguments": self.arguments, "path": str(self.model.path), "fingerprint": self.model.fingerprint}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Load the model again, by name or else from its absolute path."""
        self.arguments = dict(state["arguments"])
        try:
            self._load()
        except UnknownNameError:  # a relative path, and the working directory has changed
            self.arguments["model"] = state["path"]
            self._load()
        if self.model.fingerprint != state["fingerprint"]:
            raise WeightsError(
                f"Model {self.arguments['model']!r} has other weights here than where this object was pickled. "
                "Install the same version of ase-comformer, or make a new calculator."
            )

    @property
    def properties(self) -> tuple[str, ...]:
        """Names of the properties that the model predicts."""
        derived: tuple[str, ...] = ()
        if self.potential is not None:
            derived = (*POTENTIAL_PROPERTIES, *(UNCERTAINTIES if self.potential.has_uncertainties else ()))
        return (*derived, *(name for name in self.model.properties if name not in derived))

    def checked(self, properties: Sequence[str] | None) -> tuple[str, ...]:
        """The names as a tuple, all where None; :class:`UnknownNameError` lists the choices for names it lacks."""
        if not properties and not isinstance(properties, str):
            return self.properties
        names = (properties,) if isinstance(properties, str) else tuple(dict.fromkeys(properties))
        unknown = [name for name in names if name not in self.properties]
        if unknown:
            raise UnknownNameError(
                f"Model {self.model.name!r} has no property {', '.join(map(repr, unknown))}. "
                f"It predicts: {', '.join(self.properties)}."
            )
        return names

    def predict(
        self,
        atoms: Sequence[Atoms],
        properties: Sequence[str],
        *,
        batch_size: int = 64,
        progress: bool = False,
        on_error: str = "record",
    ) -> list[Result]:
        """Properties of many crystals; arguments and errors as in :func:`ase_comformer.inference.batches.predict`."""
        from ase_comformer.inference.batches import predict_with

        return predict_with(self, atoms, properties, batch_size=batch_size, progress=progress, on_error=on_error)

    def evaluate(self, atoms: Atoms, properties: Sequence[str]) -> Result:
        """Properties of one crystal; raises :class:`InvalidStructureError` or :class:`UnknownElementError`.

        Symmetry and graphs of the last structure are kept, so asking for one property after the other is cheap.
        """
        names, from_potential = _divided(self.checked(properties))
        result = self._evaluate_potential(atoms, from_potential) if from_potential else {}
        if not names:
            return result
        key = structure_key(atoms)
        last = self._last
        if last is not None and last[0] == key:
            prepared = last[1]
            warn_about_ignored(atoms)  # the key has neither magnetic moments nor occupancies
            self._validate_elements(atoms, names)
        else:
            prepared = self.prepare(atoms, names)
            self._last = (key, prepared)
        return result | self.evaluate_batch([prepared], names)[0]

    def prepare(self, atoms: Atoms, names: Sequence[str]) -> PreparedCrystal:
        """Validate a crystal, find its space group if symmetry is enforced, and build its graphs for ``names``."""
        tensors, from_potential = _divided(names)
        if from_potential:
            self._validate_potential(atoms)
        if tensors:
            validate_structure(atoms)
        self._validate_elements(atoms, tensors)
        group = analyse_space_group(atoms, self.symprec) if tensors and self.enforce_symmetry else None
        prepared = PreparedCrystal(bare(atoms), group)
        for network in self.networks(names):
            prepared.graph(network)
        if from_potential and self.potential is not None:
            with shielded_device("cpu"):
                prepared.potential = self.potential.prepare(prepared.atoms)
        return prepared

    def _validate_potential(self, atoms: Atoms) -> None:
        validate_potential_structure(atoms)
        validate_elements(atoms, self.model.elements("energy"), "energy")

    def _evaluate_potential(self, atoms: Atoms, names: Sequence[str]) -> Result:
        """All results of the energy surface: they cost no more than one of them."""
        self._validate_potential(atoms)
        assert self.potential is not None
        with shielded_device("cpu"):
            found = self.potential.evaluate(bare(atoms))
        _require_finite(found, atoms)
        _require_stress(found, names, atoms)
        return found

    def networks(self, names: Sequence[str]) -> dict[nn.Module, list[str]]:
        """Networks behind ``names`` -> the properties that each is asked for, so that shared trunks run once."""
        networks: dict[nn.Module, list[str]] = {}
        for name in _divided(names)[0]:
            for network in self.model.entries(name):
                networks.setdefault(network, []).append(name)
        return networks

    def evaluate_batch(self, crystals: Sequence[PreparedCrystal], names: Sequence[str]) -> list[Result]:
        """Properties of prepared crystals, projected where symmetry is enforced."""
        tensors, from_potential = _divided(names)
        results = self._outputs(crystals, tensors)
        for crystal, result in zip(crystals, results, strict=True):
            for name in tensors:
                if tensor_property(name).rank == 0:
                    result[name] = float(result[name])
                elif crystal.group is not None:
                    result[name] = _projected(name, result[name], crystal.atoms, crystal.group)
        if from_potential and self.potential is not None:
            with shielded_device("cpu"):
                potentials = self.potential.evaluate_batch(
                    [crystal.potential for crystal in crystals if crystal.potential]
                )
            for crystal, result, found in zip(crystals, results, potentials, strict=True):
                _require_finite(found, crystal.atoms)
                _require_stress(found, names, crystal.atoms)
                result |= {name: found[name] for name in from_potential}
        return results

    def symmetry_report(self, atoms: Atoms, properties: Sequence[str] | None = None) -> SymmetryReport:
        """What the space group allows, and what the network says of the structure as it is (not idealised).

        Args:
            atoms: crystal.
            properties: names; by default every tensor of the model that covers the elements of ``atoms``, forces and
                stress included. Scalars have nothing to report.
        """
        validate_structure(atoms)
        if properties is None:
            tensors = [name for name in self.properties if name not in _SCALARS and tensor_property(name).rank > 0]
            symbols = set(map(str, atoms.symbols))
            covered = [name for name in tensors if symbols <= self.model.elements(name)]
            names = tuple(covered or tensors)
        else:
            names = tuple(name for name in self.checked(properties) if name not in _SCALARS)
        own, from_potential = _divided(names)
        self._validate_elements(atoms, own)
        raw = self._outputs([PreparedCrystal(bare(atoms), None)], own)[0]
        if from_potential and self.potential is not None:
            self._validate_potential(atoms)
            with shielded_device("cpu"):
                found = self.potential.evaluate_batch([self.potential.prepare(bare(atoms), use_symmetry=False)])[0]
            raw |= {name: found[name] for name in from_potential}
        return symmetry_report(analyse_space_group(atoms, self.symprec), raw)

    def describe(self, name: str) -> dict[str, Any]:
        """Which physical quantity ``name`` is and where the prediction comes from; JSON-able.

        Returns:
            ``property``, ``description``, ``unit``, ``shape``, ``kind`` (e.g. clamped-ion), ``functional``,
            ``elements``, ``model``, and ``networks`` with their ``training`` data and ``metrics``.
        """
        (name,) = self.checked([name])
        return describe_prediction(self.model, name) | {"enforce_symmetry": self.enforce_symmetry}

    def _validate_elements(self, atoms: Atoms, names: Sequence[str]) -> None:
        for name in names:
            validate_elements(atoms, self.model.elements(name), name)

    def _outputs(self, crystals: Sequence[PreparedCrystal], names: Sequence[str]) -> list[Result]:
        """Mean network outputs on the input atoms, not projected."""
        batches: dict[Hashable, CrystalGraph] = {}

        def batch_of(network: nn.Module) -> tuple[Hashable, CrystalGraph]:
            graphs = [crystal.graph(network) for crystal in crystals]
            key = (network.graph_settings, any(graph.is_reduced for graph in graphs))
            if key not in batches:
                with shielded_device("cpu"):
                    joined = collate(graphs)
                batches[key] = joined.to(dtype=self.dtype, device=self.device)
            return key, batches[key]

        networks = self.networks(names)
        means: list[Result] = [{} for _ in crystals]
        with torch.inference_mode(), shielded_device(str(self.device)):
            means_of = self._ensemble.means(networks, batch_of)
        for name, mean_of in means_of.items():
            values = mean_of.to("cpu", torch.float64).numpy()
            parts: Any = values
            if tensor_property(name).per_atom:
                counts = [len(crystal.evaluated) for crystal in crystals]
                parts = np.split(values, np.cumsum(counts)[:-1])
            for crystal, mean, part in zip(crystals, means, parts, strict=True):
                mean[name] = crystal.to_input(name, np.asarray(part))
        for crystal, mean in zip(crystals, means, strict=True):
            _require_finite(mean, crystal.atoms)
        return means


def _divided(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of crystal properties, and of what the energy surface gives."""
    potential = {*POTENTIAL_PROPERTIES, *UNCERTAINTIES}
    return tuple(n for n in names if n not in potential), tuple(n for n in names if n in potential)


def _projected(name: str, raw: NDArray[np.float64], atoms: Atoms, group: SpaceGroup) -> NDArray[np.float64]:
    projected = project(name, raw, group)
    residual = symmetry_residual(name, raw, projected)
    if residual > RESIDUAL_WARNING:
        logger.warning(
            "%s of %s: the network output violates %s by %.2g of its norm; the projected tensor is returned",
            *(name, atoms.get_chemical_formula(), group.international, residual),
        )
    # What rounding leaves of forbidden components is shown as the zero that it is.
    projected[np.abs(projected) < 1e-14 * np.abs(projected).max(initial=0.0)] = 0.0
    return projected


def _require_finite(values: Mapping[str, Any], atoms: Atoms) -> None:
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise FloatingPointError(
                f"The network returned NaN or infinity for {name} of {atoms.get_chemical_formula()}. "
                "Check that the structure is reasonable (distances, density), or try dtype='float64'."
            )


def _require_stress(found: Mapping[str, Any], names: Sequence[str], atoms: Atoms) -> None:
    if "stress" in names and "stress" not in found:
        raise PropertyNotImplementedError(
            f"{atoms.get_chemical_formula()} has no stress: it needs a periodic direction and a cell with volume "
            f"(pbc={atoms.pbc.tolist()}, rank of the cell {atoms.cell.rank}). Ask for energy and forces only."
        )


def _positive(symprec: Any) -> float:
    try:
        value = float(symprec)
    except (TypeError, ValueError):
        value = float("nan")
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"symprec must be a positive length in Å, got {symprec!r}. The default is 0.01.")
    return value
