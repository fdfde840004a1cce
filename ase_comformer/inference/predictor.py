"""The one door: a loaded model with its settings, which ``predict``, the calculator and the command line share.

A query goes: structure -> checks (``crystals``) -> space group -> graphs -> networks (``tensor_evaluator``,
``potential_ensemble``) -> projection -> result. With ``enforce_symmetry`` networks of crystal properties see the
symmetry-reduced graph of the idealised primitive cell and their output is projected onto what the space group allows;
without it they see the structure as it is. Energy, forces and stress are always those of the structure as it is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ase import Atoms

from ase_comformer.crystals.interop import as_atoms
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.crystals.structures import bare, structure_key
from ase_comformer.crystals.validation import validate_structure
from ase_comformer.devices import resolve_device, resolve_dtype, shielded_device
from ase_comformer.errors import UnknownNameError, WeightsError
from ase_comformer.inference.elements import of_element
from ase_comformer.inference.loaded_model import LoadedModel, loaded_model
from ase_comformer.inference.notices import Notices
from ase_comformer.inference.plausibility import plausible_part, require_plausible
from ase_comformer.inference.potential_evaluator import PotentialEvaluator
from ase_comformer.inference.preparation import Errors, Preparation, Preparer, absent, divided
from ase_comformer.inference.prepared import PreparedCrystal
from ase_comformer.inference.results import Names, Result, symmetry_record
from ase_comformer.inference.routes import Routes, without_calibration
from ase_comformer.inference.settings import BATCH_SIZE, DEFAULTS, Settings
from ase_comformer.inference.streams import stream
from ase_comformer.inference.tensor_evaluator import TensorEvaluator
from ase_comformer.inference.undefined import reasons, undefined_for
from ase_comformer.models.cards import describe_prediction
from ase_comformer.models.registry import Model
from ase_comformer.properties.registry import PropertyName, tensor_property
from ase_comformer.tensors.symmetry_report import SymmetryReport, symmetry_report


class Predictor:
    """Evaluates properties of structures with one model.

    It remembers the last structure of ``evaluate``; weights are shared by all predictors of the process. Threads may
    share a predictor: ``evaluate`` lets one after the other in.

    Args:
        model, device, dtype, symprec, enforce_symmetry, functional, route: see ``inference.settings.Settings``.

    Raises:
        UnknownNameError: unknown model, device, dtype, functional or route.
        WeightsError: damaged weights.
        ValueError: ``symprec`` is not a positive number.

    Example:
        >>> from ase.build import bulk
        >>> Predictor().evaluate(bulk("MgO", "rocksalt", a=4.21), ["dielectric_tensor"])["dielectric_tensor"].shape
        (3, 3)
    """

    def __init__(
        self,
        *,
        model: str | Path = DEFAULTS.model,
        device: str = DEFAULTS.device,
        dtype: str = DEFAULTS.dtype,
        symprec: float = DEFAULTS.symprec,
        enforce_symmetry: bool = DEFAULTS.enforce_symmetry,
        functional: str = DEFAULTS.functional,
        route: str = DEFAULTS.route,
    ) -> None:
        self.settings = Settings.of(
            model=model,
            device=device,
            dtype=dtype,
            symprec=symprec,
            enforce_symmetry=enforce_symmetry,
            functional=functional,
            route=route,
        )
        self._load()

    def _load(self) -> None:
        settings = self.settings
        self.device, self.dtype = resolve_device(settings.device), resolve_dtype(settings.dtype)
        self.loaded: LoadedModel = loaded_model(settings.model, str(self.device), settings.dtype)
        self.loaded.check_functional(settings.functional)
        self.notices = Notices()
        self.potential: PotentialEvaluator | None = None
        if self.loaded.potentials is not None:
            self.potential = PotentialEvaluator(self.loaded.potentials, recent=self.loaded.moving)
        self.preparer = Preparer(self.loaded, settings, self.potential, self.notices)
        self.tensors = TensorEvaluator(self.loaded, self.device, self.dtype, settings.functional)
        self.routes = Routes(settings.route, self.loaded, self._surface)
        self._lock = threading.RLock()
        self._token = object()

    def __getstate__(self) -> dict[str, Any]:
        """Settings, place and fingerprint of the model: small, and checked when unpickled elsewhere."""
        return {"settings": self.settings, "path": str(self.model.path), "fingerprint": self.model.fingerprint}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Load the model again, by name or else from its absolute path."""
        self.settings = state["settings"]
        try:
            self._load()
        except UnknownNameError:  # a relative path, and the working directory has changed
            self.settings = Settings(**{**asdict(self.settings), "model": state["path"]})
            self._load()
        if self.model.fingerprint != state["fingerprint"]:
            raise WeightsError(
                f"Model {self.settings.model!r} has other weights here than where this object was pickled. "
                "Install the same version of ase-comformer, or make a new calculator."
            )

    def _surface(self) -> Predictor:
        """The same model in float64, which differences of forces need."""
        return Predictor(**{**self.arguments, "dtype": "float64", "enforce_symmetry": True, "route": "head"})

    @property
    def model(self) -> Model:
        """The networks by property, and their cards."""
        return self.loaded.model

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments that make the same predictor; JSON-able."""
        return asdict(self.settings)

    @property
    def properties(self) -> tuple[str, ...]:
        """Names of the properties that the model predicts."""
        return self.loaded.properties

    @property
    def symprec(self) -> float:
        """A, see ``Settings``."""
        return self.settings.symprec

    @property
    def enforce_symmetry(self) -> bool:
        """Whether tensors are those of the idealised structure."""
        return self.settings.enforce_symmetry

    @property
    def functional(self) -> str:
        """Name the functional that dielectric tensors and Born charges follow."""
        return tensor_property("dielectric_tensor").functional_of(self.settings.functional)

    def checked(self, properties: Names | None) -> tuple[str, ...]:
        """The names as a tuple, all of the model where None; :class:`UnknownNameError` lists the choices."""
        if properties is None:
            return self.properties
        names = (properties,) if isinstance(properties, str) else tuple(dict.fromkeys(properties))
        unknown = [name for name in names if name not in self.properties]
        if unknown or not names:
            problem = f"has no property {', '.join(map(repr, unknown))}" if unknown else "was asked for no property"
            problem += "".join({without_calibration(name, self.properties) for name in unknown})
            raise UnknownNameError(f"Model {self.model.name!r} {problem}. It predicts: {', '.join(self.properties)}.")
        return names

    def predict(
        self,
        atoms: Iterable[Any],
        properties: Names | None = None,
        *,
        batch_size: int = BATCH_SIZE,
        progress: bool = False,
        on_error: str = "record",
    ) -> list[Result]:
        """Properties of many structures; arguments and errors as in :func:`ase_comformer.predict`."""
        return list(self.predict_iter(atoms, properties, batch_size=batch_size, progress=progress, on_error=on_error))

    def predict_iter(
        self,
        atoms: Iterable[Any],
        properties: Names | None = None,
        *,
        batch_size: int = BATCH_SIZE,
        progress: bool = False,
        on_error: str = "record",
    ) -> Iterator[Result]:
        """Properties one by one; arguments and errors as in :func:`ase_comformer.predict_iter`."""
        return stream(self, atoms, properties, batch_size=batch_size, progress=progress, on_error=on_error)

    def evaluate(self, atoms: Any, properties: Names) -> Result:
        """Properties of one structure, without metadata.

        Symmetry and graphs of the last structure are kept, so asking for one property after the other is cheap.

        Raises:
            InvalidStructureError, UnknownElementError, PropertyNotImplementedError: the first property that cannot be
                computed.
        """
        result, errors = self.evaluate_each(as_atoms(atoms), self.checked(properties))
        for error in errors.values():
            raise error
        return {name: value for name, value in result.items() if name in self.properties}

    def evaluate_each(self, atoms: Atoms, names: Sequence[str]) -> tuple[Result, Errors]:
        """Values and metadata of what can be computed of one structure, and errors by the names of what cannot.

        The names are taken as they are: whoever calls has checked them.
        """
        with self._lock:
            self.notices.of_ignored_information(atoms)
            own, of_potential = divided(tuple(names))
            result: Result = {}
            errors: Errors = {}
            if of_potential:
                try:
                    result, implausible = self._evaluate_potential(atoms, of_potential)
                    errors = {name: error for name, error in implausible.items() if name in of_potential}
                except Exception as error:
                    errors = dict.fromkeys(of_potential, error)
                for name in of_potential:
                    if name not in result and name not in errors:
                        errors[name] = absent(name, atoms)
            if own:
                try:
                    crystal = self._prepared(atoms)
                except Exception as error:
                    return result, errors | dict.fromkeys(own, error)
                missing = self.preparer.uncovered(atoms, own)
                values, failed = self.evaluate_one(crystal, [name for name in own if name not in missing])
                result, errors = result | values, errors | missing | failed
            return result, errors

    def _evaluate_potential(self, atoms: Atoms, names: Sequence[str]) -> tuple[Result, Errors]:
        assert self.potential is not None
        self.preparer.validate_potential(atoms, names)
        with shielded_device("cpu"):
            found = self.potential.evaluate(bare(atoms), names, warn=self.notices.warn)
        return plausible_part(found, atoms)

    def _prepared(self, atoms: Atoms) -> PreparedCrystal:
        """The crystal with its space group, remembered while the structure stays the same."""
        key = structure_key(atoms)
        last = self.loaded.prepared.get(self._token)
        if last is None or last[0] != key:
            last = key, self.preparer.crystal(atoms)
            self.loaded.prepared.put(self._token, last)
        crystal: PreparedCrystal = last[1]
        return crystal

    def prepare(self, atoms: Any, names: Sequence[str]) -> Preparation:
        """Check a structure and build its graphs, see ``Preparer.prepare``."""
        return self.preparer.prepare(atoms, names)

    def evaluate_one(self, crystal: PreparedCrystal, names: Sequence[str]) -> tuple[Result, Errors]:
        """Evaluate one prepared crystal; where all names together fail, each is tried."""
        if not names:
            return {}, {}
        try:
            return self.evaluate_batch([crystal], names)[0], {}
        except Exception as error:
            if len(names) == 1:
                return {}, {names[0]: error}
        result: Result = {}
        errors: Errors = {}
        for name in names:
            values, failed = self.evaluate_one(crystal, [name])
            result, errors = result | values, errors | failed
        return result, errors

    def networks(self, names: Sequence[str]) -> dict[Any, list[str]]:
        """Networks behind crystal properties -> the names that each is asked for."""
        return self.loaded.networks(divided(tuple(names))[0])

    def evaluate_batch(self, crystals: Sequence[PreparedCrystal], names: Sequence[str]) -> list[Result]:
        """Properties of prepared crystals, all of which have them, with metadata."""
        own, of_potential = divided(tuple(names))
        results: list[Result] = [{} for _ in crystals]
        if of_potential and self.potential is not None:
            structures = [crystal.potential for crystal in crystals if crystal.potential]
            with shielded_device("cpu"):
                found = self.potential.evaluate_batch(structures, of_potential, warn=self.notices.warn)
            for crystal, result, values in zip(crystals, results, found, strict=True):
                require_plausible(values, crystal.atoms)
                result.update((name, values[name]) for name in of_potential)
        if own:
            answers = self.tensors.answers(crystals, own)
            for crystal, result, answer in zip(crystals, results, answers, strict=True):
                referred: Result = {}
                if "formation_energy" in answer.values:
                    with self._lock:
                        referred = of_element(crystal.atoms, own, self.loaded, self.potential, self.notices)
                    require_plausible(referred, crystal.atoms)
                left = [name for name in own if name not in referred]
                result.update(self.routes.complete(crystal, left, answer, self.notices.warn) | referred)
                if undefined_for(own):
                    why = reasons(crystal.atoms, own, bulk_status=crystal.status, gap=answer.gap)
                    result["status"] = " ".join(why.values()) or "ok"
                    self.notices.of_undefined(why)
                if any(tensor_property(name).functionals for name in own):
                    result["functional"] = self.functional
                if crystal.group is not None:
                    result["symmetry"] = symmetry_record(crystal.group)
                    self.notices.of_idealisation(crystal.atoms, crystal.group)
        return results

    def symmetry_report(self, atoms: Any, properties: Names | None = None) -> SymmetryReport:
        """Report what the space group allows, and what the network says of the structure as it is (not idealised).

        Args:
            atoms: crystal.
            properties: names; by default every tensor of the model that covers the elements of ``atoms``, forces and
                stress included. Scalars have nothing to report.
        """
        atoms = as_atoms(atoms)
        validate_structure(atoms)
        if properties is None:
            tensors = [name for name in self.properties if tensor_property(name).rank > 0]
            numbers = set(atoms.numbers.tolist())
            names = tuple(name for name in tensors if numbers <= self.loaded.covered(name)) or tuple(tensors)
        else:
            names = tuple(name for name in self.checked(properties) if tensor_property(name).rank > 0)
        own, of_potential = divided(tuple(names))
        for error in self.preparer.uncovered(atoms, own).values():
            raise error
        raw = self.tensors.outputs([PreparedCrystal(bare(atoms), None)], own)[0] if own else {}
        if of_potential and self.potential is not None:
            self.preparer.validate_potential(atoms, of_potential)
            with shielded_device("cpu"), self._lock:
                prepared = self.potential.prepare(bare(atoms), use_symmetry=False, warn=self.notices.warn)
                (found,) = self.potential.evaluate_batch([prepared], of_potential)
            raw |= {name: found[name] for name in of_potential}
        return symmetry_report(analyse_space_group(atoms, self.symprec), raw)

    def describe(self, name: PropertyName) -> dict[str, Any]:
        """Which physical quantity ``name`` is and where the prediction comes from; JSON-able.

        Returns:
            ``property``, ``description``, ``unit``, ``shape``, ``kind`` (e.g. clamped-ion), ``functional``,
            ``elements``, ``model``, and ``networks`` with their ``training`` data and ``metrics``.
        """
        (name,) = self.checked([name])
        described = describe_prediction(self.model, name, self.loaded.source(name))
        choices = self.loaded.functionals(name)
        if choices:
            described |= {"functional": tensor_property(name).functional_of(self.settings.functional)}
            described |= {"functionals": list(choices)}
        described |= self.routes.describe(name)
        return described | {"enforce_symmetry": self.enforce_symmetry}
