"""Draws predicted tensors beside DFT for a dozen test crystals of all seven systems.

    python -m benchmarks.tensor_maps [--folder docs]          # about a minute on one core

Three figures: dielectric (3x3), piezoelectric (3x6) and elastic (6x6) tensors in IEEE axes; entries that the space
group forbids carry a cross, and a red frame if they are not zero. Crystals are the first of the test split in the order
of their identifiers, from all systems in turn, whatever the error; flagged records and small piezoelectric tensors
(all entries below 0.1 C/m^2) are left out, and of several admissible readings of a piezoelectric label the nearest is
shown. No test record of the elastic data is triclinic, so a val record stands there; no piezoelectric label is.
Predictions are the raw answers of the network (``enforce_symmetry=False``): what is zero there is so by construction.
Printed are the crystals with their errors, so that the figures can be checked.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from ase import Atoms
from rich.table import Table

from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group
from ase_comformer.inference.batches import predict
from ase_comformer.plotting.tensor_maps import (
    TensorComparison,
    formula_text,
    space_group_text,
    tensor_map_figure,
)
from ase_comformer.properties.registry import tensor_property
from ase_comformer.tensors.forbidden import forbidden_entries
from ase_comformer.tensors.forms import ieee_frame, rotate
from ase_comformer.testing import rotate_atoms
from ase_comformer.training.data.records import Record, load_records
from benchmarks.accuracy_figure import label_of
from benchmarks.nye import CRYSTAL_SYSTEMS
from benchmarks.surface import Clock, one_thread, prepare_console

#: Property -> data sets and splits; the second for crystal systems that the first lacks.
SOURCES = {
    "dielectric_tensor": (("dielectric_born", "test"), ("dielectric_mpdfpt", "test")),
    "piezoelectric_tensor": (("piezo_mp", "test"),),
    "elastic_tensor": (("elastic_mp", "test"), ("elastic_mp2020", "val")),
}
#: Panels per row.
COLUMNS = {"dielectric_tensor": 4, "piezoelectric_tensor": 3, "elastic_tensor": 3}
#: Smallest largest entry that is shown, in the unit of the property.
LEAST = {"piezoelectric_tensor": 0.1}
CRYSTALS = 12
Chosen = tuple[Record, SpaceGroup]


def chosen(name: str) -> list[Chosen]:
    """A dozen records of all systems, unflagged, in the order of identifiers; systems in turn."""
    by_system: dict[str, list[Chosen]] = {system: [] for system in CRYSTAL_SYSTEMS}
    for dataset, split in SOURCES[name]:
        missing = [system for system, found in by_system.items() if not found]
        for record in sorted(load_records(dataset, splits=(split,)), key=lambda record: record.id):
            label = record.labels.get(name)
            if record.flags or label is None or np.abs(np.asarray(label)).max() < LEAST.get(name, 0.0):
                continue
            group = analyse_space_group(record.atoms)
            if group.crystal_system in missing:
                by_system[group.crystal_system].append((record, group))
    picked = [group[rank] for rank in range(CRYSTALS) for group in by_system.values() if rank < len(group)]
    return sorted(picked[:CRYSTALS], key=lambda pair: (CRYSTAL_SYSTEMS.index(pair[1].crystal_system), pair[0].id))


def in_ieee_axes(tensor: np.ndarray, atoms: Atoms, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tensor in IEEE axes, entries forbidden there, and the rotation (3, 3) into them."""
    framed = ieee_frame(tensor, atoms, name)
    group = analyse_space_group(rotate_atoms(atoms, framed.rotation))
    return framed.tensor, forbidden_entries(name, group), framed.rotation


def compare(name: str, pair: Chosen, model: str) -> tuple[TensorComparison, float]:
    """Panel of a figure and the relative error of the prediction."""
    record, group = pair
    functional = record.extras["functional"] if name == "dielectric_tensor" else "PBEsol"  # others have no choice
    (result,) = predict([record.atoms], (name,), model=model, enforce_symmetry=False, functional=functional)
    raw = np.asarray(result[name], dtype=np.float64)
    label, forbidden, rotation = in_ieee_axes(label_of(record, name, raw), record.atoms, name)
    value = rotate(raw, rotation, name)
    error = float(np.linalg.norm(value - label) / max(np.linalg.norm(label), 1e-12))
    title = f"{formula_text(record.formula)}, {space_group_text(group.international)}"
    return TensorComparison(title, label, value, forbidden), error


def shrink(path: Path) -> None:
    """Give a PNG of flat colours a palette, which a repository holds in half the bytes."""
    from PIL import Image

    with Image.open(path) as image:
        reduced = image.convert("RGB").quantize(96, dither=Image.Dither.NONE)
    reduced.save(path, optimize=True)


def main() -> None:
    """Draw the figures and print what is on them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--folder", type=Path, default=Path("docs"))
    given = parser.parse_args()
    one_thread()
    warnings.simplefilter("ignore")
    console, clock = prepare_console(), Clock()
    for name in SOURCES:
        entry = tensor_property(name)
        pairs = chosen(name)
        compared = [compare(name, pair, given.model) for pair in pairs]
        sources = ", ".join(f"{split} of {dataset}" for dataset, split in SOURCES[name])
        table = Table(title=f"{entry.name.replace('_', ' ')}: {sources}", title_justify="left")
        for heading in ("crystal", "system", "split", "forbidden", "non-zero, DFT", "non-zero, predicted", "error"):
            table.add_column(heading, justify="left" if heading in ("crystal", "system", "split") else "right")
        for (panel, error), (record, group) in zip(compared, pairs, strict=True):
            of_label, of_prediction = (int(mask.sum()) for mask in panel.violations())
            table.add_row(
                f"{record.formula}, {group.international} ({record.id})",
                group.crystal_system,
                record.split,
                str(int(np.sum(panel.forbidden))),
                str(of_label),
                str(of_prediction),
                f"{100 * error:.1f} %",
            )
        console.print(table)
        unit = "" if entry.unit.startswith("relative") else f" ({entry.unit})".replace("^2", "²")
        path = given.folder / f"tensor_maps_{name.removesuffix('_tensor')}.png"
        title = f"{entry.name.replace('_', ' ').capitalize()}{unit} of held-out crystals; × forbidden by symmetry"
        tensor_map_figure([panel for panel, _ in compared], path, columns=COLUMNS[name], title=title)
        shrink(path)
        console.print(f"{path}: {path.stat().st_size / 1000:.0f} kB", markup=False)
    console.print(str(clock))


if __name__ == "__main__":
    main()
