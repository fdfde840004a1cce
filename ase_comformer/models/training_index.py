"""Which formulas and crystals the shipped networks were trained on: an index that comes with the weights.

``training_index.npz`` holds, sorted, keys of the formulas and of the crystals (``crystals.fingerprint``) of the
training split of every data set, each with the data sets it is in (bits). ``training.data.index`` makes it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_comformer.crystals.fingerprint import crystal_key, formula_key, reduced_formula
from ase_comformer.crystals.interop import as_atoms
from ase_comformer.errors import WeightsError
from ase_comformer.models.foundations import foundation_path
from ase_comformer.models.registry import find_model, model_card, weights_folder

FILE = "training_index.npz"
#: Sources of frames, as training configurations name them, and the data set whose formulas they have.
_LISTED_AS = {"response": "harmonic", "rest": "harmonic"}


@dataclass(frozen=True)
class InTraining:
    """What of a crystal a model has seen in training.

    Attributes:
        formula: reduced formula, elements in alphabetical order.
        formula_datasets: by property, data sets of its networks whose training split has the formula.
        crystal_datasets: by property, those that have the crystal: formula, space group and atoms per primitive cell.
    """

    formula: str
    formula_datasets: Mapping[str, tuple[str, ...]]
    crystal_datasets: Mapping[str, tuple[str, ...]]

    @property
    def formula_known(self) -> bool:
        """Whether any network was trained on a crystal of this formula."""
        return any(self.formula_datasets.values())

    @property
    def crystal_known(self) -> bool:
        """Whether any network was trained on this crystal."""
        return any(self.crystal_datasets.values())

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {**asdict(self), "formula_known": self.formula_known, "crystal_known": self.crystal_known}

    def __str__(self) -> str:
        """One sentence."""
        for known, what in ((self.crystal_datasets, "this crystal"), (self.formula_datasets, "other crystals of it")):
            sets = sorted({name for names in known.values() for name in names})
            if sets:
                trained = ", ".join(name for name, names in known.items() if names)
                return f"{self.formula}: trained on {what} ({', '.join(sets)}) for {trained}"
        return f"{self.formula}: no network was trained on this formula"


def in_training(atoms: Atoms, model: str | Path = "default") -> InTraining:
    """Say whether a crystal, or another one of its formula, was among what a model was trained on.

    Args:
        atoms: structure; of one without three periodic directions only the formula is looked up.
        model: name or path.

    Raises:
        UnknownNameError: no such model.
        WeightsError: the index is missing.

    Example:
        >>> from ase.build import bulk
        >>> found = in_training(bulk("MgO", "rocksalt", a=4.21))
        >>> found.formula, found.formula_known  # withheld from all training
        ('MgO', False)
    """
    atoms = as_atoms(atoms)
    path = find_model(model)
    index = _read(path.parent / FILE)
    key = crystal_key(atoms) if atoms.pbc.all() and atoms.cell.rank == 3 else None
    formulas = index.datasets("formulas", formula_key(atoms.numbers))
    crystals = index.datasets("crystals", key) if key is not None else frozenset()
    stamps = tuple((card.name, card.stat().st_mtime_ns) for card in sorted(path.parent.glob("*.json")))
    trained_on = _trained_on(path, stamps)
    return InTraining(
        reduced_formula(atoms.numbers),
        {name: tuple(sorted(sets & formulas)) for name, sets in trained_on.items()},
        {name: tuple(sorted(sets & crystals)) for name, sets in trained_on.items()},
    )


def training_remark(atoms: Atoms, model: str | Path = "default") -> str:
    """Say in one sentence what ``in_training`` finds; nothing where a model has no index of its training data.

    Example:
        >>> from ase.build import bulk
        >>> training_remark(bulk("MgO", "rocksalt", a=4.21))
        'MgO: no network was trained on this formula'
    """
    try:
        return str(in_training(atoms, model))
    except WeightsError:
        return ""


@functools.lru_cache(maxsize=8)
def _trained_on(path: Path, stamps: tuple[tuple[str, int], ...]) -> dict[str, frozenset[str]]:
    """Data sets that any network behind a property was trained on, by property; read again where a card is replaced."""
    card = model_card(path)
    members = card.get("members") or {name: [card["name"]] for name in card["properties"]}
    found = {}
    for name, networks in members.items():
        cards = [model_card(path.parent / f"{network}.json") for network in networks]
        foundations = {card["foundation"]["foundation"] for card in cards if "foundation" in card}
        cards += [model_card(foundation_path(each, (path.parent, weights_folder()))) for each in foundations]
        sets = {each for card in cards for each in card.get("training", {}).get("datasets", ())}
        found[name] = frozenset(_LISTED_AS.get(each, each) for each in sets)
    return found


class _Index:
    """Sorted keys and bits of data sets, by "formulas" and "crystals"."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._names = [str(name) for name in arrays["datasets"]]
        self._keys = {kind: unpacked(arrays[kind]) for kind in ("formulas", "crystals")}
        self._bits = {kind: arrays[f"{kind}_in"] for kind in ("formulas", "crystals")}

    def datasets(self, kind: str, key: int) -> frozenset[str]:
        """Data sets that have a key."""
        keys = self._keys[kind]
        place = int(np.searchsorted(keys, key))
        if place == len(keys) or int(keys[place]) != key:
            return frozenset()
        bits = int(self._bits[kind][place])
        return frozenset(name for k, name in enumerate(self._names) if bits >> k & 1)


def packed(keys: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Differences of ascending keys, which need half the bytes (inverse of ``unpacked``)."""
    steps = np.diff(keys, prepend=np.uint64(0))
    if (steps >= 2**32).any():
        raise ValueError("keys are too far apart to be packed: the index needs more of them")
    return steps.astype(np.uint32)


def unpacked(steps: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Ascending keys from their differences.

    Example:
        >>> unpacked(packed(np.array([3, 7, 7_000_000_000 // 2], dtype=np.uint64)))[-1]
        np.uint64(3500000000)
    """
    return np.cumsum(steps.astype(np.uint64), dtype=np.uint64)


@functools.lru_cache(maxsize=4)
def _read(path: Path) -> _Index:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _Index(dict(arrays))
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"The index of training data {path} is missing or damaged ({error}). Reinstall ase-comformer, or make it: "
            "python -m ase_comformer.training.data.index"
        ) from error
