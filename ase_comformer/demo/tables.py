"""``ase-comformer demo``: tensors of six well-known crystals beside published values, as tables and a figure.

The structures are experimental ones, built with ASE: a along x, c along z. Published values and their sources are in
``reference_values``. A sign that depends on the setting of the crystal (sense of a polar or two-fold axis, handedness)
is not compared; the tables say where.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal
from rich.console import Console
from rich.table import Table

from ase_comformer.crystals.space_group import SpaceGroup, analyse_space_group
from ase_comformer.demo.reference_values import Reference, ReferenceCrystal, Source, component_index, reference_crystals
from ase_comformer.errors import InvalidStructureError, UnknownElementError
from ase_comformer.inference.predictor import Predictor
from ase_comformer.plotting.parity import ParityPanel, panel_figure
from ase_comformer.plotting.style import MISSING
from ase_comformer.properties.entry import UNCERTAINTY
from ase_comformer.properties.registry import base_of, tensor_property
from ase_comformer.tensors.symmetry_report import symmetry_report

SHOWN: dict[str, tuple[str, bool]] = {
    "dielectric_tensor": ("electronic dielectric tensor", True),
    "static_dielectric_tensor": ("static dielectric tensor", True),
    "born_effective_charges": ("Born effective charges", False),
    "piezoelectric_tensor": ("piezoelectric tensor", True),
    "elastic_tensor": ("elastic tensor", True),
    "formation_energy": ("formation energy", False),
}
"""Properties in the order shown: title of the panel, logarithmic axes."""

_SPLITS = {
    "train": "formula of the train split",
    "val": "formula of the val split: chose the epoch, not trained on",
    "test": "formula of the test split: not trained on",
    "withheld": "withheld formula: not in the data at all",
}


@dataclass
class Row:
    """One line of the tables; ``published`` and ``source`` are None where no value is cited."""

    crystal: str
    property_name: str
    label: str
    predicted: float
    published: float | None = None
    source: Source | None = None
    note: str = ""


@dataclass
class Demo:
    """Everything the demo found.

    Attributes:
        rows: all lines, by crystal and property.
        structures: name -> crystal.
        bars: crystal -> property -> error bar of the whole tensor (68 % of errors against DFT are smaller).
        problems: messages about properties that could not be predicted.
        figure: file that was written, None if none was.
        seconds: wall-clock time.
    """

    rows: list[Row] = field(default_factory=list)
    structures: dict[str, Atoms] = field(default_factory=dict)
    bars: dict[str, dict[str, float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    figure: Path | None = None
    seconds: float = 0.0


def demo_structures() -> dict[str, Atoms]:
    """The crystals of the demo: experimental structures at room temperature.

    Rutile: S. C. Abrahams, J. L. Bernstein, J. Chem. Phys. 55, 3206 (1971). Quartz: L. Levien, C. T. Prewitt,
    D. J. Weidner, Am. Mineral. 65, 920 (1980). BaTiO3: displacements of J. Harada, T. Pedersen, Z. Barnea, Acta
    Cryst. A 26, 336 (1970). Others: textbook lattice constants.
    """
    return {
        "MgO": bulk("MgO", "rocksalt", a=4.212),
        "GaAs": bulk("GaAs", "zincblende", a=5.653),
        "AlN": bulk("AlN", "wurtzite", a=3.111, c=4.980, u=0.382),
        "TiO2": crystal(
            ["Ti", "O"], [(0, 0, 0), (0.3048, 0.3048, 0)], spacegroup=136, cellpar=[4.5937, 4.5937, 2.9587, 90, 90, 90]
        ),
        "SiO2": crystal(
            ["Si", "O"],
            [(0.4697, 0, 2 / 3), (0.4135, 0.2669, 0.1191 + 2 / 3)],
            spacegroup=154,
            cellpar=[4.916, 4.916, 5.4054, 90, 90, 120],
        ),
        "BaTiO3": Atoms(
            "BaTiO3",
            scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5135), (0.5, 0.5, -0.025), (0.5, 0, 0.485), (0, 0.5, 0.485)],
            cell=[3.994, 3.994, 4.036],
            pbc=True,
        ),
    }


def run(
    figure: str | Path | None = "demo.png", console: Console | None = None, *, model: str | Path = "default"
) -> Demo:
    """Predict, show tables beside published values, and write a figure.

    Args:
        figure: file to write; None for none. Without matplotlib a line says what is missing.
        console: where tables go; None shows nothing.
        model: name or path of the model.

    Raises:
        UnknownNameError: no such model.
        WeightsError: damaged weights.
    """
    started = time.perf_counter()
    predictor = Predictor(model=model, route="combined")
    result = Demo(structures=demo_structures())
    for entry in reference_crystals():
        atoms = result.structures[entry.name]
        result.rows += _rows(predictor, entry, atoms, result.problems)
        result.bars[entry.name] = _bars(predictor, atoms)
    absent = [name for name in SHOWN if name not in predictor.properties]
    if absent:
        result.problems.append(f"model {predictor.model.name!r} has no {', '.join(absent)}")
    missing = False
    if figure is not None:
        try:
            title = "full symbols: published DFT, hollow: experiment"
            panel_figure(_panels(result.rows), figure, reference_label="published", title=title)
            result.figure = Path(figure)
        except ImportError:
            missing = True
    result.seconds = time.perf_counter() - started
    if console is not None:
        _show(result, predictor, console)
        if result.figure is not None:
            console.print(f"Figure: {result.figure}", markup=False, highlight=False)
        if missing:
            console.print(f"No figure: {MISSING}", style="yellow", markup=False, highlight=False)
    return result


def _rows(predictor: Predictor, entry: ReferenceCrystal, atoms: Atoms, problems: list[str]) -> list[Row]:
    values: dict[str, Any] = {}
    for name in SHOWN:
        if name in predictor.properties:
            try:
                values.update(predictor.evaluate(atoms, [name]))
            except (InvalidStructureError, UnknownElementError) as error:
                problems.append(f"{entry.name}, {name}: {error}")
    rows: list[Row] = []
    group = analyse_space_group(atoms, predictor.symprec)
    for name, value in values.items():
        cited = [reference for reference in entry.references if reference.property_name == name]
        for reference in cited:
            rows += _compared(reference, atoms, value)
        if not cited:
            rows += _independent(entry.name, name, value, group)
    return rows


def _bars(predictor: Predictor, atoms: Atoms) -> dict[str, float]:
    """Error bars by property, the largest of all atoms; what has none, or was not predicted, is left out."""
    names = [name + UNCERTAINTY for name in SHOWN if name + UNCERTAINTY in predictor.properties]
    if not names:
        return {}
    found, _ = predictor.evaluate_each(atoms, names)
    return {base_of(name): float(np.max(found[name])) for name in names if name in found}


def _compared(reference: Reference, atoms: Atoms, value: Any) -> Iterator[Row]:
    """Rows of the components of one reference, signs treated as it says."""
    array = np.asarray(value, dtype=np.float64)
    label = tensor_property(reference.property_name).symbol
    if reference.site:
        array = array[atoms.symbols.indices()[reference.site][0]]
        label = f"{label}({reference.site})"
    predicted = {key: float(array[component_index(key)]) for key in reference.components}
    flip, note = 1.0, reference.note
    if reference.sign == "overall":
        overlap = sum(predicted[key] * published for key, published in reference.components.items())
        flip = 1.0 if overlap >= 0 else -1.0
        note = "; ".join(filter(None, ["signs are compared up to the sense of the polar axis", note]))
    for key, published in reference.components.items():
        row = Row(
            reference.crystal,
            reference.property_name,
            _component_label(label, key),
            flip * predicted[key],
            published,
            reference.source,
            note,
        )
        if reference.sign == "free":
            row.label, row.predicted, row.published = f"|{row.label}|", abs(row.predicted), abs(published)
        yield row


def _independent(crystal_name: str, name: str, value: Any, group: SpaceGroup) -> Iterator[Row]:
    """The free components of a tensor without published values; none of tensors that symmetry forbids."""
    if tensor_property(name).rank == 0:
        yield Row(crystal_name, name, tensor_property(name).symbol, float(value))
        return
    for component in symmetry_report(group, {name: value}).properties[name].components:
        if component.status == "free":
            yield Row(crystal_name, name, component.label, component.projected)


def _component_label(symbol: str, key: str) -> str:
    return f"{symbol}{key}" if key.isdigit() or not key else f"{symbol}_{key}"


def _show(result: Demo, predictor: Predictor, console: Console) -> None:
    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, highlight=False, markup=False)

    sources = list(dict.fromkeys(row.source for row in result.rows if row.source is not None))
    numbers = {source: number for number, source in enumerate(sources, start=1)}
    for entry in reference_crystals():
        rows = [row for row in result.rows if row.crystal == entry.name]
        say(f"\n{entry.name}, {entry.structure}, space group {entry.spacegroup}; {_SPLITS[entry.split]}", "bold")
        console.print(_table(rows, numbers))
        if result.bars.get(entry.name):
            bars = (f"{tensor_property(name).symbol} {value:.2g}" for name, value in result.bars[entry.name].items())
            say(f"  error bars of whole tensors, 68 %: {', '.join(bars)}")
        for symbol, note in dict.fromkeys(
            (tensor_property(row.property_name).symbol, row.note) for row in rows if row.note
        ):
            say(f"  {symbol}: {note}")
    say(f"\nModel {predictor.model.name}. What is predicted:")
    for name in filter(predictor.properties.__contains__, SHOWN):
        described = predictor.describe(name)
        say(f"  {tensor_property(name).symbol}: {described['kind']}, {described['functional']}, {described['unit']}")
    say("Static, piezoelectric and elastic tensors combine a network with the linear response of the crystal.")
    say("|x|: the sign depends on the setting of the crystal, magnitudes are compared.")
    say("Experiments are at room temperature; predictions follow DFT at 0 K for the structure given.")
    for number, source in enumerate(sources, start=1):
        tail = "; ".join(filter(None, [source.doi and f"doi:{source.doi}", source.method]))
        say(f"  [{number}] {source.kind}: {source.text}" + (f"; {tail}" if tail else ""))
    for problem in result.problems:
        say(f"Not predicted: {problem}", "yellow")
    say(f"{len(result.structures)} crystals in {result.seconds:.1f} s.")


def _table(rows: Sequence[Row], numbers: Mapping[Source, int]) -> Table:
    table = Table()
    for heading in ("", "predicted", "published", "deviation"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    table.add_column("source", no_wrap=True)
    shown = ""
    for row in rows:
        if row.property_name != shown and shown:
            table.add_section()
        shown = row.property_name
        if row.published is None or row.source is None:
            table.add_row(row.label, f"{row.predicted:.3f}", "", "", "no cited value")
            continue
        deviation = f"{100 * (row.predicted - row.published) / abs(row.published):+.0f} %"
        source = f"{row.source.kind} \\[{numbers[row.source]}]"
        table.add_row(row.label, f"{row.predicted:.3f}", f"{row.published:.3f}", deviation, source)
    return table


def _panels(rows: Sequence[Row]) -> list[ParityPanel]:
    panels = []
    for name, (title, logarithmic) in SHOWN.items():
        chosen = [row for row in rows if row.property_name == name and row.published is not None]
        if not chosen:
            continue
        values = np.array([(row.published, row.predicted) for row in chosen], dtype=np.float64)
        unit = tensor_property(name).unit
        if name == "piezoelectric_tensor":
            title, values = f"{title}, magnitudes", np.abs(values)
        panels.append(
            ParityPanel(
                title,
                "" if unit == "relative permittivity" else unit,
                values[:, 0],
                values[:, 1],
                groups=[row.crystal for row in chosen],
                hollow=[row.source is not None and row.source.kind == "experiment" for row in chosen],
                labels=[f"{row.crystal} {row.label}" for row in chosen],
                logarithmic=logarithmic,
            )
        )
    return panels
