"""Infrared and Raman spectra beside published ones: ``python -m benchmarks.spectra [--figure docs/spectra.png]``.

Crystals at their measured lattice parameters, atoms relaxed. Modes are compared in ascending order, those seen with
light polarised along z and across it apart. Infrared: transverse frequency, what the mode adds to the static
permittivity (4 pi rho), and the integrated absorption 4 pi rho f^2 relative to the strongest. Raman: frequency and
intensity of a powder relative to the strongest (514.5 nm, 300 K), beside the order of strength that is published in
words, for which there are no numbers that hold for every geometry.

Published, room temperature. MgO: Jasperse et al., Phys. Rev. 146, 526 (1966). AlN: Davydov et al., Phys. Rev. B 58,
12899 (1998); its 4 pi rho is what TO, LO and the electronic permittivity (4.3) imply for one mode. TiO2 infrared:
Spitzer et al., Phys. Rev. 126, 1710 (1962); Raman: Porto et al., Phys. Rev. 154, 522 (1967). Quartz infrared: Spitzer,
Kleinman, Phys. Rev. 121, 1324 (1961), the two lowest E modes Scott, Porto, Phys. Rev. 161, 903 (1967), which is also
the source of the Raman lines. Si: Parker et al., Phys. Rev. 155, 712 (1967). Diamond: Solin, Ramdas, Phys. Rev. B 1,
1687 (1970). GaAs: Mooradian, Wright, Solid State Commun. 4, 431 (1966), transverse.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from rich.table import Table

from ase_comformer import spectra
from ase_comformer.inference.predictor import Predictor
from ase_comformer.physics.spectra import PER_CM, Infrared, peaks
from ase_comformer.plotting.spectra import spectra_figure
from ase_comformer.workflows.spectra import Spectra
from benchmarks.surface import Clock, one_thread, prepare_console
from benchmarks.well_known_crystals import CRYSTALS

#: Crystal -> polarisation -> (1/cm, 4 pi rho); NaN where no strength is published.
INFRARED: dict[str, dict[str, list[tuple[float, float]]]] = {
    "MgO": {"x": [(401, 6.60)]},
    "AlN": {
        "x": [(671, 4.3 * ((912 / 671) ** 2 - 1))],
        "z": [(611, 4.3 * ((890 / 611) ** 2 - 1))],
    },
    "TiO2": {"x": [(183, 81.5), (388, 1.08), (500, 6.50)], "z": [(167, 165.0)]},
    "quartz": {
        "x": [
            (128, np.nan), (265, np.nan), (394, 0.33), (450, 0.82),
            (697, 0.018), (797, 0.11), (1072, 0.67), (1163, 0.010),
        ],
        "z": [(364, 0.68), (495, 0.66), (778, 0.10), (1080, 0.67)],
    },
}  # fmt: skip
#: Crystal -> (1/cm, symmetry, strength in words).
RAMAN: dict[str, list[tuple[float, str, str]]] = {
    "Si": [(520.5, "T2g", "only line")],
    "diamond": [(1332.5, "T2g", "only line")],
    "GaAs": [(268.6, "T2", "only line")],
    "TiO2": [(143, "B1g", "weak"), (447, "Eg", "strong"), (612, "A1g", "strong"), (826, "B2g", "very weak")],
    "quartz": [
        (128, "E", "strong"), (207, "A1", "strong"), (265, "E", "medium"), (356, "A1", "medium"), (394, "E", "weak"),
        (450, "E", "weak"), (464, "A1", "strongest"), (697, "E", "weak"), (795, "E", "medium"), (1072, "E", "weak"),
        (1085, "A1", "weak"), (1162, "E", "medium"),
    ],
}  # fmt: skip


def infrared_rows(found: Infrared, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """1/cm and 4 pi rho of the modes that light polarised along x or z sees; degenerate ones together."""
    wave_numbers, strengths = peaks(found.frequencies * PER_CM, found.dielectric_contributions()[:, axis, axis])
    seen = strengths > 1e-5
    return wave_numbers[seen], strengths[seen]


def raman_rows(found: Spectra) -> tuple[np.ndarray, np.ndarray]:
    """1/cm and relative intensities of Raman lines."""
    assert found.raman is not None
    wave_numbers, heights = peaks(found.raman.frequencies * PER_CM, found.raman.intensities())
    seen = heights > 1e-6 * heights.max()
    return wave_numbers[seen], heights[seen] / heights.max()


def main() -> None:
    """Print both tables and draw the figure of quartz."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path, help="spectra of quartz")
    given = parser.parse_args()
    one_thread()
    console, clock = prepare_console(130), Clock()
    warnings.simplefilter("ignore")
    predictor = Predictor(dtype="float64")
    found = {name: spectra(CRYSTALS[name], predictor=predictor) for name in {**INFRARED, **RAMAN}}

    table = Table(title="infrared: transverse modes")
    for heading in ("crystal", "light", "1/cm", "published", "4πρ", "published", "4πρ f², %", "published"):
        table.add_column(heading, justify="right")
    deviations, ratios = [], []
    for name, directions in INFRARED.items():
        for label, published in directions.items():
            wave_numbers, strengths = infrared_rows(found[name].infrared, "xyz".index(label))
            if len(wave_numbers) != len(published):
                console.print(f"[red]{name}, {label}: {len(wave_numbers)} modes, {len(published)} published[/]")
                continue
            places, expected = np.array(published).T
            areas, expected_areas = strengths * wave_numbers**2, expected * places**2
            for k, place in enumerate(places):
                known = np.isfinite(expected[k])
                table.add_row(
                    name, label, f"{wave_numbers[k]:.0f}", f"{place:.0f}", f"{strengths[k]:.3g}",
                    f"{expected[k]:.3g}" if known else "", f"{100 * areas[k] / areas.max():.1f}",
                    f"{100 * expected_areas[k] / np.nanmax(expected_areas):.1f}" if known else "",
                )  # fmt: skip
            deviations += list(wave_numbers / places - 1)
            ratios += [float(np.log(one / other)) for one, other in zip(strengths, expected, strict=True) if other > 0]
    console.print(table)
    console.print(
        f"{len(deviations)} modes: mean deviation {100 * np.mean(deviations):+.1f} %, mean absolute "
        f"{100 * np.mean(np.abs(deviations)):.1f} %; strengths within a factor of "
        f"{np.exp(np.mean(np.abs(ratios))):.2f} on (geometric) average, {len(ratios)} published"
    )

    table = Table(title="Raman (experimental): lines of a powder, 514.5 nm, 300 K")
    for heading in ("crystal", "symmetry", "1/cm", "published", "intensity, %", "published"):
        table.add_column(heading, justify="right")
    deviations = []
    for name, lines in RAMAN.items():
        wave_numbers, heights = raman_rows(found[name])
        if len(wave_numbers) != len(lines):
            console.print(f"[red]{name}: {len(wave_numbers)} lines, {len(lines)} published[/]")
            continue
        for (place, symmetry, words), wave_number, height in zip(lines, wave_numbers, heights, strict=True):
            table.add_row(name, symmetry, f"{wave_number:.0f}", f"{place:g}", f"{100 * height:.1f}", words)
            deviations.append(wave_number / place - 1)
    console.print(table)
    console.print(
        f"{len(deviations)} lines: mean deviation {100 * np.mean(deviations):+.1f} %, mean absolute "
        f"{100 * np.mean(np.abs(deviations)):.1f} %"
    )
    if given.figure:
        quartz = found["quartz"]
        marks = {
            "infrared": [place for rows in INFRARED["quartz"].values() for place, strength in rows if strength > 0],
            "raman": [place for place, _, _ in RAMAN["quartz"]],
        }
        title = "quartz; triangles: published transverse modes"
        spectra_figure(quartz.infrared, quartz.raman, given.figure, title=title, published=marks)
    console.print(str(clock))


if __name__ == "__main__":
    main()
