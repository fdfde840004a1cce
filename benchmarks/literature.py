"""Published values of 39 well-known materials beside predictions with error bars: ``python -m benchmarks.literature``.

Crystals are in measured cells, tensors by the combined route. The bar is that of the whole tensor (68 % of errors
against DFT labels have a smaller Frobenius norm), so that single components are mostly off by less; it does not hold
what DFT itself misses: PBE elastic constants are a few to 15 % too soft, PBEsol permittivities too large where the
gap is small, room temperature softens. Components that are off by more than twice the bar are listed at the end.
Signs of piezoelectric constants depend on the setting: magnitudes are compared. Where the data have the crystal, its
DFT label stands beside (IEEE axes), so that the error of the functional can be told from ours. Values of
``literature_values.json`` were collected as commonly quoted; ``*`` marks sources that were not read
(``benchmarks.published``).
"""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from rich.console import Console
from rich.table import Table

from ase_comformer.crystals.fingerprint import crystal_key, formula_key
from ase_comformer.demo.reference_values import component_index
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.results import Result
from ase_comformer.models.training_index import in_training
from ase_comformer.properties.entry import UNCERTAINTY
from ase_comformer.properties.registry import tensor_property
from ase_comformer.tensors.forms import ieee_frame
from ase_comformer.training.data.records import load_records
from benchmarks.published import NOT_CONFIRMED
from benchmarks.surface import Clock, one_thread, parser, prepare_console

VALUES = Path(__file__).with_name("literature_values.json")
#: First space group whose axes nothing but symmetry chooses; labels of others are in axes of their own.
ORTHORHOMBIC = 16
#: Keys of the formulas of the materials.
_FORMULAS: set[int] = set()
#: Bars beyond which a component is a miss.
MISS = 2.0


def component_of(value: Any, name: str, component: str) -> float:
    """One number of a tensor: "11", "zz", "xx second" (second atom), or all of it; magnitudes where signs vary."""
    array = np.asarray(value, dtype=float)
    where, _, atom = component.partition(" ")
    if tensor_property(name).per_atom:
        array = array[1 if atom else 0]
    found = float(array[component_index(where)])
    return abs(found) if name in ("piezoelectric_tensor", "born_effective_charges") else found


def predicted(predictor: Predictor, atoms: Atoms, names: list[str]) -> Result:
    """Values, bars and errors of one crystal."""
    wanted = [*names, *(name + UNCERTAINTY for name in names if name + UNCERTAINTY in predictor.properties)]
    found, errors = predictor.evaluate_each(atoms, wanted)
    return {**found, "errors": {name: str(error) for name, error in errors.items()}}


def labels(wanted: set[int | None]) -> dict[tuple[int, str], Any]:
    """DFT labels of the data, in IEEE axes, by crystal key and property; PBEsol before PBE, none without the data."""
    found: dict[tuple[int, str], Any] = {}
    for dataset in ("dielectric_born", "dielectric_mp", "elastic_mp", "piezo_mp", "formation_energy"):
        try:
            records = load_records(dataset, splits=["train", "val", "test"])
        except FileNotFoundError:
            continue
        for record in records:
            key = crystal_key(record.atoms) if formula_key(record.atoms.numbers) in _FORMULAS else None
            if key is None or key not in wanted:
                continue
            for name, label in record.labels.items():
                if tensor_property(name).rank == 0:
                    found.setdefault((key, name), label)
                elif name != "born_effective_charges" and not record.extras.get("spg", 0) < ORTHORHOMBIC:
                    found.setdefault((key, name), ieee_frame(np.asarray(label), record.atoms, name).tensor)
    return found


def show(
    console: Console,
    material: dict[str, Any],
    predictor: Predictor,
    numbers: dict[str, int],
    known: dict[tuple[int, str], Any],
) -> list[str]:
    """Print the table of one material and return its misses."""
    atoms = Atoms(numbers=material["numbers"], positions=material["positions"], cell=material["cell"], pbc=True)
    rows = [row for row in material["values"] if row["property"] in predictor.properties]
    found = predicted(predictor, atoms, list(dict.fromkeys(row["property"] for row in rows)))
    seen = in_training(atoms)
    what = "crystal" if seen.crystal_known else "formula" if seen.formula_known else "nothing of it"
    table = Table(title=f"{material['name']}: {what} in training", title_justify="left")
    for heading in ("", "published", "DFT", "ours", "bar", "off by", "route", "source"):
        table.add_column(heading, justify="left" if heading in ("", "route", "source") else "right")
    misses = []
    for row in rows:
        name, component = row["property"], row["component"]
        label = f"{tensor_property(name).symbol} {component}".strip()
        label_of = known.get((crystal_key(atoms) or 0, name))
        dft = "" if label_of is None else f"{component_of(label_of, name, component):.4g}"
        source = f"[{numbers[row['source']]}]".replace("[", "\\[")
        if name not in found:
            table.add_row(label, f"{row['value']:g}", dft, "-", "", "", found["errors"].get(name, "")[:60], source)
            continue
        ours = component_of(found[name], name, component)
        published = abs(row["value"]) if name in ("piezoelectric_tensor", "born_effective_charges") else row["value"]
        bar = found.get(name + UNCERTAINTY)
        size = None if bar is None else float(np.max(bar))
        off = abs(ours - published)
        route = found.get("routes", {}).get(name, {"route": "head", "response_weight": 0.0})
        how = f"{100 * route['response_weight']:.0f} % response" if route["route"] == "combined" else route["route"]
        is_miss = size is not None and off > MISS * size
        cells = (f"{published:.4g}", f"{ours:.4g}", "" if size is None else f"{size:.2g}", f"{off:.2g}")
        table.add_row(label, cells[0], dft, *cells[1:3], cells[3] + (" !" if is_miss else ""), how, source)
        if is_miss:
            told = f", DFT {dft}" if dft else ""
            misses.append(f"{material['name']}: {label} {ours:.4g}, published {published:.4g}{told}, bar {size:.2g}")
    console.print(table)
    return misses


def main() -> None:
    """Print one table per material, the misses and the sources."""
    given = parser(__doc__).parse_args()
    one_thread()
    warnings.simplefilter("ignore", UserWarning)
    console, clock = prepare_console(130), Clock()
    data = json.loads(VALUES.read_text(encoding="utf-8"))
    numbers = {key: number for number, key in enumerate(data["sources"], start=1)}
    predictor = Predictor(model=given.model, dtype=given.dtype, route="combined")
    crystals = [
        Atoms(numbers=each["numbers"], positions=each["positions"], cell=each["cell"], pbc=True)
        for each in data["materials"]
    ]
    _FORMULAS.update(formula_key(atoms.numbers) for atoms in crystals)
    known = labels({crystal_key(atoms) for atoms in crystals})
    misses = [miss for material in data["materials"] for miss in show(console, material, predictor, numbers, known)]
    compared = sum(len(material["values"]) for material in data["materials"])
    console.print(f"Off by more than {MISS:g} bars: {len(misses)} of {compared} components", markup=False)
    for miss in misses:
        console.print(f"  {miss}", markup=False, highlight=False)
    console.print(f"Sources ({NOT_CONFIRMED}):", markup=False)
    for key, source in data["sources"].items():
        mark = " " if source["checked"] else "*"
        console.print(f"  [{numbers[key]}]{mark} {source['text']}", markup=False, highlight=False)
    console.print(str(clock))


if __name__ == "__main__":
    main()
