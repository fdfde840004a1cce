"""The protocol of GMTNet's tables on JARVIS-DFT, run on your own download: filters, split, errors, published beside.

    python -m benchmarks.jarvis_protocol FILE --property elastic_tensor --voigt-order vasp --unit GPa
    python -m benchmarks.jarvis_protocol FILE --property dielectric_tensor --tensor epsilon --seeds 0 1 2

FILE is a JSON list of records (an export of JARVIS, or a curated file saved as JSON): identifier (``jid``), structure
(``atoms``, JARVIS's or pymatgen's dictionary) and tensor. Names of fields, order of Voigt columns and unit differ
between exports and are asked for, not guessed. Filters, with how many records pass each: the tensor is there, finite
and of the right shape; identifiers are unique; no entry is beyond ``--max-component``; the tensor has the symmetry of
its structure within ``--symmetry`` of its norm. The paper says that labels are consistent with structures and gives
counts, no thresholds, so compare the counts. (A reader found 14,222 elastic tensors with the authors' own filters,
11,377/1,422/1,422 after the split, where the paper has 14,220: github.com/divelab/AIRS, issue 26.) Split: 80/10/10 at
random by record; the authors' indices are unknown, so ``--seeds`` says how much they matter.

Errors: Fnorm and EwT 25/10/5 % of a constant (median of the training labels) and of ``--models`` on the test records,
once for all and once for formulas that the model was not trained on. Labels of JARVIS are OptB88vdW, those of the
models PBE and PBEsol: part of the error is the functional. About 10 ms a crystal.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.inference.batches import predict
from ase_comformer.models.training_index import in_training
from ase_comformer.training.data.records import Record
from ase_comformer.training.data.sources import gmtnet_split, jarvis_rows, to_record
from ase_comformer.training.data.sources.common import open_text, symmetry_residual
from ase_comformer.training.data.sources.jarvis import PROPERTIES
from ase_comformer.training.evaluation.metrics import TensorMetrics, tensor_metrics
from benchmarks.published import GMTNET_COUNTS, GMTNET_SOURCE, GMTNET_TABLE, NOT_CONFIRMED
from benchmarks.surface import Clock, one_thread, prepare_console

#: Property -> largest component and symmetry tolerance (share of the norm) of the filters, unless given.
LIMITS = {
    "dielectric_tensor": (100.0, 0.05),
    "piezoelectric_tensor": (100.0, 0.05),
    "elastic_tensor": (5000.0, 0.05),
}
Steps = list[tuple[str, int]]


def curated(given: argparse.Namespace) -> tuple[list[Record], Steps]:
    """Records that pass the filters, withheld formulas included, and how many pass each."""
    with open_text(given.file) as file:
        steps: Steps = [("records of the file", len(json.load(file)))]
    largest, tolerance = LIMITS[given.property]
    largest = given.max_component or largest
    tolerance = given.symmetry or tolerance
    rows = jarvis_rows(
        given.file,
        given.property,
        tensor=given.tensor or given.property,
        structure=given.structure,
        identifier=given.identifier,
        max_component=None,
        voigt_order=given.voigt_order,
        unit=given.unit,
        keep_withheld=True,
    )
    records = [to_record(row) for row in rows]
    steps.append(("with a tensor that can be read", len(records)))
    records = [r for r in records if np.abs(r.labels[given.property]).max() < largest]
    steps.append((f"no entry of {largest:g} or more", len(records)))
    records = [r for r in records if has_its_symmetry(r, given.property, tolerance)]
    steps.append((f"tensor symmetric as its structure within {100 * tolerance:g} %", len(records)))
    return records, steps


def has_its_symmetry(record: Record, name: str, tolerance: float) -> bool:
    """Whether the label is invariant under the point group of its structure; a norm below 1e-3 counts as zero."""
    label = np.asarray(record.labels[name])
    if np.linalg.norm(label) < 1e-3:
        return True
    return symmetry_residual(label, analyse_space_group(record.atoms).rotations, name) < tolerance


def errors_of(
    records: Sequence[Record], name: str, seeds: Sequence[int], models: Sequence[str]
) -> dict[str, list[TensorMetrics]]:
    """What is compared -> errors for each seed: a constant, and each model on all and on unseen formulas."""
    found: dict[str, list[TensorMetrics]] = {}
    labels = np.stack([np.asarray(record.labels[name]) for record in records])
    values, seen = {}, {}
    for model in models:
        results = predict([record.atoms for record in records], (name,), model=model)
        values[model] = [result.get(name) for result in results]
        seen[model] = np.array([bool(in_training(r.atoms, model).formula_datasets.get(name)) for r in records])
    for seed in seeds:
        side = gmtnet_split([record.id for record in records], seed)
        test = np.array([side[record.id] == "test" for record in records])
        train = np.array([side[record.id] == "train" for record in records])
        constant = np.median(labels[train], axis=0)
        found.setdefault("constant", []).append(tensor_metrics([constant] * int(test.sum()), labels[test]))
        for model in models:
            known = np.array([value is not None for value in values[model]])
            for what, chosen in (("", test & known), (", unseen formulas", test & known & ~seen[model])):
                if chosen.any():
                    picked = [values[model][index] for index in np.flatnonzero(chosen)]
                    found.setdefault(model + what, []).append(tensor_metrics(picked, labels[chosen]))
    return found


def spread_text(values: Sequence[float], form: str) -> str:
    """Mean over seeds, with the deviation where there are several."""
    mean = format(float(np.mean(values)), form)
    return mean if len(values) < 2 else f"{mean} ± {format(float(np.std(values, ddof=1)), form)}"


def table_of(found: dict[str, list[TensorMetrics]], name: str) -> Table:
    """Errors of what was evaluated, then the published ones."""
    table = Table(title=f"{name.replace('_', ' ')}, test records", title_justify="left")
    for heading in ("", "test crystals", "Fnorm", "EwT 25 %", "EwT 10 %", "EwT 5 %"):
        table.add_column(heading, justify="right" if heading else "left")
    for what, metrics in found.items():
        within = [spread_text([100 * m.within[k] for m in metrics], ".1f") for k in range(3)]
        count = spread_text([m.count for m in metrics], ".0f")
        table.add_row(what, count, spread_text([m.frobenius for m in metrics], ".3g"), *within)
    table.add_section()
    for network, (norm, shares) in GMTNET_TABLE[name].items():
        table.add_row(f"{network}, published", "", f"{norm:.3g}", *(f"{share:.1f}" for share in shares))
    return table


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="JSON list of records, also .gz")
    parser.add_argument("--property", required=True, choices=PROPERTIES)
    parser.add_argument("--tensor", help="field with the tensor (default: the name of the property)")
    parser.add_argument("--structure", default="atoms", help="field with the structure")
    parser.add_argument("--identifier", default="jid", help="field with the identifier")
    parser.add_argument("--voigt-order", choices=("vasp", "standard"), help="of piezoelectric and elastic tensors")
    parser.add_argument("--unit", choices=("GPa", "kbar"), help="of elastic tensors")
    parser.add_argument("--max-component", type=float, help="largest entry (unit of the property)")
    parser.add_argument("--symmetry", type=float, help="largest deviation from the point group, share of the norm")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--models", nargs="*", default=["default"], help="names or paths; none: filters and split only")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print filters, splits and errors."""
    given = parsed(arguments)
    one_thread()
    warnings.simplefilter("ignore")
    console, clock = prepare_console(), Clock()
    records, steps = curated(given)
    filters = Table(title=f"{given.property.replace('_', ' ')}: records that pass", title_justify="left")
    filters.add_column("filter")
    filters.add_column("records", justify="right")
    for what, count in steps:
        filters.add_row(what, str(count))
    filters.add_row("published", f"{GMTNET_COUNTS[given.property]:.0f}")
    console.print(filters)
    for seed in given.seeds:
        sides = list(gmtnet_split([record.id for record in records], seed).values())
        sizes = "/".join(str(sides.count(side)) for side in ("train", "val", "test"))
        console.print(f"seed {seed}: train/val/test {sizes}")
    console.print(table_of(errors_of(records, given.property, given.seeds, given.models), given.property))
    console.print(f"Published: {GMTNET_SOURCE}. {NOT_CONFIRMED}", markup=False)
    console.print(str(clock))


if __name__ == "__main__":
    main()
