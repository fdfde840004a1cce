"""Published values of 39 well-known materials beside predictions with error bars: ``python -m benchmarks.literature``.

Crystals are in measured cells, tensors by the combined route. The bar is that of the whole tensor (68 % of errors
against DFT labels have a smaller Frobenius norm), so that single components are mostly off by less; it does not hold
what DFT itself misses: PBE elastic constants are a few to 15 % too soft, PBEsol permittivities too large where the gap
is small, room temperature softens. Components that are off by more than twice the bar are listed at the end. Signs of
piezoelectric constants depend on the setting: magnitudes are compared. Values of ``literature_values.json`` were
collected as commonly quoted; ``*`` marks those that were read in the source named.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from rich.console import Console
from rich.table import Table

from ase_comformer.demo.reference_values import component_index
from ase_comformer.inference.predictor import Predictor
from ase_comformer.inference.results import Result
from ase_comformer.models.training_index import in_training
from ase_comformer.properties.entry import UNCERTAINTY
from ase_comformer.properties.registry import tensor_property
from benchmarks.surface import Clock, one_thread, parser, prepare_console

VALUES = Path(__file__).with_name("literature_values.json")
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


def show(console: Console, material: dict[str, Any], predictor: Predictor, numbers: dict[str, int]) -> list[str]:
    """Print the table of one material and return its misses."""
    atoms = Atoms(numbers=material["numbers"], positions=material["positions"], cell=material["cell"], pbc=True)
    rows = [row for row in material["values"] if row["property"] in predictor.properties]
    found = predicted(predictor, atoms, list(dict.fromkeys(row["property"] for row in rows)))
    seen = in_training(atoms)
    what = "crystal" if seen.crystal_known else "formula" if seen.formula_known else "nothing of it"
    table = Table(title=f"{material['name']}: {what} in training", title_justify="left")
    for heading in ("", "published", "ours", "bar", "off by", "route", "source"):
        table.add_column(heading, justify="left" if heading in ("", "route", "source") else "right")
    misses = []
    for row in rows:
        name, component = row["property"], row["component"]
        label = f"{tensor_property(name).symbol} {component}".strip()
        source = f"[{numbers[row['source']]}]".replace("[", "\\[")
        if name not in found:
            table.add_row(label, f"{row['value']:g}", "-", "", "", found["errors"].get(name, "")[:60], source)
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
        table.add_row(label, *cells[:3], cells[3] + (" !" if is_miss else ""), how, source)
        if is_miss:
            misses.append(f"{material['name']}: {label} {ours:.4g}, published {published:.4g}, bar {size:.2g}")
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
    misses = [miss for material in data["materials"] for miss in show(console, material, predictor, numbers)]
    compared = sum(len(material["values"]) for material in data["materials"])
    console.print(f"Off by more than {MISS:g} bars: {len(misses)} of {compared} components", markup=False)
    for miss in misses:
        console.print(f"  {miss}", markup=False, highlight=False)
    console.print("Sources (* read, others as commonly cited):", markup=False)
    for key, source in data["sources"].items():
        mark = "*" if source["checked"] else " "
        console.print(f"  [{numbers[key]}]{mark} {source['text']}", markup=False, highlight=False)
    console.print(str(clock))


if __name__ == "__main__":
    main()
