"""Infrared and Raman spectra beside published ones: ``python -m benchmarks.spectra [--figure docs/spectra.png]``.

Crystals at their measured lattice parameters, atoms relaxed. Modes are compared in ascending order, those seen with
light polarised along z and across it apart. Infrared: transverse frequency, what the mode adds to the static
permittivity (4 pi rho), and the integrated absorption 4 pi rho f^2 relative to the strongest. Raman: frequency and
intensity of a powder relative to the strongest (514.5 nm, 300 K), beside the order of strength that is published in
words, for which there are no numbers that hold for every geometry.

Published, at room temperature if not told otherwise; ``*`` marks numbers and words that were not confirmed
(``benchmarks.published``). MgO: Jasperse et al., Phys. Rev. 146, 526 (1966). AlN: Davydov et al., Phys. Rev. B 58,
12899 (1998), permittivity Pastrnak, Roskovcova, Phys. Status Solidi 14, K5 (1966). TiO2: infrared Spitzer et al.,
Phys. Rev. 126, 1710 (1962); lines Porto et al., Phys. Rev. 154, 522 (1967), strengths Swamy, Phys. Rev. B 77, 195414
(2008) and Tompsett et al., J. Raman Spectrosc. 26, 57 (1995). Quartz: infrared Winta, Wolf, Paarmann, Phys. Rev. B
99, 144308 (2019) at 1.5 K, but for the two lowest; lines Saksena, Narain, Nature 164, 583 (1949) (128, 207, 265,
356), Asell, Nicol, J. Chem. Phys. 49, 5395 (1968) (464, 697, 795), Scott et al., http://hdl.handle.net/1811/15294
(450, 1072) and Scott, Porto, Phys. Rev. 161, 903 (1967) (the others); the strongest three Dean et al., Spectrochim.
Acta A 38, 1105 (1982). Si: Parker et al., Phys. Rev. 155, 712 (1967). Diamond: Solin, Ramdas, Phys. Rev. B 1, 1687
(1970). GaAs: Mooradian, Wright, Solid State Commun. 4, 431 (1966), transverse. Strengths of AlN and quartz are what
transverse and longitudinal modes imply.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from ase_comformer import spectra
from ase_comformer.inference.predictor import Predictor
from ase_comformer.physics.spectra import PER_CM, Infrared, peaks
from ase_comformer.plotting.spectra import spectra_figure
from ase_comformer.workflows.spectra import Spectra
from benchmarks.published import NOT_CONFIRMED, Unconfirmed
from benchmarks.surface import Clock, one_thread, prepare_console
from benchmarks.well_known_crystals import CRYSTALS


def implied_strengths(permittivity: float, modes: Sequence[tuple[float, float]]) -> list[float]:
    """4 pi rho of undamped modes, from (transverse, longitudinal) frequencies and the electronic permittivity.

    They are what each pole of eps(w) = eps_inf prod (LO^2 - w^2) / (TO^2 - w^2) adds at zero frequency, where all of
    them give the permittivity of Lyddane, Sachs, Teller, Phys. Rev. 59, 673 (1941).

    Args:
        permittivity: electronic, along the direction of the light.
        modes: (transverse, longitudinal) frequencies in any unit, in ascending order.

    Examples:
        >>> implied_strengths(2.0, [(100.0, 150.0)])
        [2.5]
    """
    transverse, longitudinal = np.array(modes).T ** 2
    strengths = []
    for k, place in enumerate(transverse):
        others = np.delete(longitudinal - place, k) / np.delete(transverse - place, k)
        strengths.append(float(permittivity * (longitudinal[k] / place - 1) * np.prod(others)))
    return strengths


#: 1/cm, transverse and longitudinal modes of quartz that light polarised across z and along z sees.
QUARTZ_X = [(391.5, 403.0), (454.0, 510.5), (695.9, 698.4), (797.2, 810.0), (1063.7, 1230.7), (1157.2, 1154.9)]
QUARTZ_Z = [(360.7, 384.8), (497.9, 553.6), (773.7, 789.9), (1073.0, 1238.7)]
#: Crystal -> polarisation -> (1/cm, 4 pi rho); NaN where no strength is published.
INFRARED: dict[str, dict[str, list[tuple[float, float]]]] = {
    "MgO": {"x": [(Unconfirmed(401), Unconfirmed(6.60))]},
    "AlN": {
        "x": [(Unconfirmed(671), Unconfirmed(implied_strengths(4.519, [(671, 912)])[0]))],
        "z": [(Unconfirmed(611), Unconfirmed(implied_strengths(4.690, [(611, 890)])[0]))],
    },
    "TiO2": {
        "x": [
            (Unconfirmed(183), Unconfirmed(81.5)), (Unconfirmed(388), Unconfirmed(1.08)),
            (Unconfirmed(500), Unconfirmed(6.50)),
        ],
        "z": [(Unconfirmed(167), Unconfirmed(165.0))],
    },
    "quartz": {
        "x": [
            (128, np.nan), (265, np.nan),
            *((mode[0], strength) for mode, strength in zip(QUARTZ_X, implied_strengths(2.296, QUARTZ_X), strict=True)),
        ],
        "z": [(mode[0], strength) for mode, strength in zip(QUARTZ_Z, implied_strengths(2.334, QUARTZ_Z), strict=True)],
    },
}  # fmt: skip
#: Crystal -> (1/cm, symmetry, strength in words).
RAMAN: dict[str, list[tuple[float, str, str]]] = {
    "Si": [(520.2, "T2g", "only line")],
    "diamond": [(1332, "T2g", "only line")],
    "GaAs": [(Unconfirmed(268.6), "T2", "only line")],
    "TiO2": [
        (Unconfirmed(143), "B1g", "weak"), (Unconfirmed(447), "Eg", "strong"), (Unconfirmed(612), "A1g", "strong"),
        (Unconfirmed(826), "B2g", "very weak*"),
    ],
    "quartz": [
        (128, "E", "strong"), (207, "A1", "strong"), (265, "E", "medium*"), (356, "A1", "medium*"),
        (Unconfirmed(394), "E", "weak*"), (450, "E", "weak*"), (464, "A1", "strong"), (697, "E", "weak*"),
        (795, "E", "medium*"), (1072, "E", "weak*"), (Unconfirmed(1085), "A1", "weak*"),
        (Unconfirmed(1162), "E", "medium*"),
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
            shares = 100 * expected_areas / np.nanmax(expected_areas)
            for k, (place, strength) in enumerate(published):
                known, kind = np.isfinite(strength), type(strength)
                table.add_row(
                    name, label, f"{wave_numbers[k]:.0f}", f"{place:.0f}", f"{strengths[k]:.3g}",
                    f"{strength:.3g}" if known else "", f"{100 * areas[k] / areas.max():.1f}",
                    f"{kind(shares[k]):.1f}" if known else "",
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
    console.print(NOT_CONFIRMED)
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
