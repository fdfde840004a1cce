"""Output files of first-principles programs in their formats, with tensors of one's choice in them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import Bohr, GPa

#: Order in which VASP prints six components.
VASP_ORDER = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0))
STANDARD_ORDER = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_TO_VASP = [STANDARD_ORDER.index(tuple(sorted(pair))) for pair in VASP_ORDER]


def triclinic() -> Atoms:
    """Four atoms of three elements without any symmetry, grouped by element as VASP has them."""
    cell = [[4.1, 0.2, 0.3], [0.5, 5.2, -0.4], [-0.3, 0.7, 6.1]]
    fractions = [(0.02, 0.03, 0.01), (0.48, 0.51, 0.55), (0.27, 0.77, 0.24), (0.71, 0.29, 0.82)]
    return Atoms("MgTiO2", scaled_positions=fractions, cell=cell, pbc=True)


def distinct_tensors(count: int) -> dict[str, np.ndarray]:
    """Tensors no two components of which are equal, in the documented forms."""
    generator = np.random.default_rng(5)

    def symmetric(size: int) -> np.ndarray:
        matrix = generator.normal(size=(size, size))
        return matrix + matrix.T

    electronic = symmetric(3) + 6 * np.eye(3)
    clamped = generator.normal(size=(3, 6))
    return {
        "dielectric_tensor": electronic,
        "static_dielectric_tensor": electronic + symmetric(3) + 10 * np.eye(3),
        "born_effective_charges": generator.normal(size=(count, 3, 3)),
        "clamped_piezoelectric_tensor": clamped,
        "piezoelectric_tensor": clamped + generator.normal(size=(3, 6)),
        "elastic_tensor": 30 * symmetric(6) + 200 * np.eye(6),
    }


def write_outcar(path: Path, atoms: Atoms, tensors: dict[str, np.ndarray]) -> None:
    symbols = list(dict.fromkeys(atoms.get_chemical_symbols()))
    counts = [atoms.get_chemical_symbols().count(symbol) for symbol in symbols]
    lines = [" vasp.6.4.2 20Jul23 (build Nov 01 2023 10:00:00) complex", " INCAR:"]
    lines += [f" POTCAR:    PAW_PBE {symbol} 08Apr2002" for symbol in symbols] * 2
    lines += ["   ISPIN  =      1    spin polarized calculation?", "   IBRION =      6    ionic relax"]
    lines += ["   ions per type =             " + "".join(f"{count:4d}" for count in counts)]
    lines += ["-" * 40 + " Iteration    1(   1)  " + "-" * 40]
    lines += ["  in kB      1.00000     1.00000     1.00000     0.00000     0.00000     0.00000"]
    lines += ["      direct lattice vectors                 reciprocal lattice vectors"]
    reciprocal = np.linalg.inv(atoms.cell.array).T
    lines += [
        "".join(f"{value:13.9f}" for value in (*a, *b)) for a, b in zip(atoms.cell.array, reciprocal, strict=True)
    ]
    lines += [" POSITION                                       TOTAL-FORCE (eV/Angst)", " " + "-" * 83]
    lines += ["".join(f"{value:13.5f}" for value in (*position, 0.0, 0.0, 0.0)) for position in atoms.positions]
    lines += [" " + "-" * 83, "", "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)", "  " + "-" * 51]
    lines += ["  free  energy   TOTEN  =       -30.00000000 eV", ""]
    lines += ["  energy  without entropy=      -30.00000000  energy(sigma->0) =      -30.00000000", ""]
    rule = " " + "-" * 54
    electronic = tensors["dielectric_tensor"]
    if "elastic_tensor" in tensors:
        names = ["XX", "YY", "ZZ", "XY", "YZ", "ZX"]
        moduli = tensors["elastic_tensor"][_TO_VASP][:, _TO_VASP] * 10
        for title, matrix in (
            ("SYMMETRIZED ELASTIC MODULI (kBar)", moduli + 17),
            ("TOTAL ELASTIC MODULI (kBar)", moduli),
        ):
            lines += [" " + title, " Direction    " + "          ".join(names), " " + "-" * 80]
            lines += [
                f" {name}  " + "".join(f"{value:12.4f}" for value in row)
                for name, row in zip(names, matrix, strict=True)
            ]
            lines += [" " + "-" * 80, ""]
    lines += [" MACROSCOPIC STATIC DIELECTRIC TENSOR (including local field effects in DFT)", rule]
    lines += ["".join(f"{value:14.6f}" for value in row) for row in electronic] + [rule, ""]
    if "clamped_piezoelectric_tensor" in tensors:
        lines += _piezo_of_vasp(
            " PIEZOELECTRIC TENSOR (including local field effects)  for field in x, y, z        (C/m^2)",
            tensors["clamped_piezoelectric_tensor"],
        )
    lines += [" BORN EFFECTIVE CHARGES (including local field effects) (in |e|, cummulative output)", " " + "-" * 82]
    for number, charge in enumerate(tensors["born_effective_charges"]):
        lines += [f" ion {number + 1:4d}"]
        lines += [f"{k + 1:5d}" + "".join(f"{value:12.5f}" for value in row) for k, row in enumerate(charge)]
    lines += [" " + "-" * 82, ""]
    if "static_dielectric_tensor" in tensors:
        lines += [" MACROSCOPIC STATIC DIELECTRIC TENSOR IONIC CONTRIBUTION", rule]
        ionic = tensors["static_dielectric_tensor"] - electronic
        lines += ["".join(f"{value:14.6f}" for value in row) for row in ionic] + [rule, ""]
    if "piezoelectric_tensor" in tensors:
        ionic = tensors["piezoelectric_tensor"] - tensors["clamped_piezoelectric_tensor"]
        lines += _piezo_of_vasp(" PIEZOELECTRIC TENSOR IONIC CONTR  for field in x, y, z        (C/m^2)", ionic)
    path.write_text("\n".join(lines) + "\n")


def _piezo_of_vasp(title: str, tensor: np.ndarray) -> list[str]:
    lines = [title, "          XX          YY          ZZ          XY          YZ          ZX", "  " + "-" * 80]
    for axis, row in zip("xyz", tensor[:, _TO_VASP], strict=True):
        lines.append(f"  {axis} " + "".join(f"{value:12.5f}" for value in row))
    return [*lines, "  " + "-" * 80, ""]


def write_vasprun(
    path: Path, atoms: Atoms, tensors: dict[str, np.ndarray], steps: Sequence[Atoms] = (), mode: int = 8
) -> None:
    """Only what readers of structures, steps and dielectric properties look for; steps bring their results along."""

    def rows(matrix: np.ndarray) -> str:
        return "".join("<v> " + " ".join(f"{value:15.8f}" for value in row) + " </v>\n" for row in matrix)

    def structure(each: Atoms) -> str:
        basis = f'<varray name="basis">\n{rows(each.cell.array)}</varray>'
        places = f'<varray name="positions">\n{rows(each.get_scaled_positions(wrap=False))}</varray>'
        return f"<crystal>{basis}</crystal>{places}"

    def step(each: Atoms, more: str) -> str:
        found = {"energy": -30.0, "forces": np.zeros((len(each), 3)), "stress": np.zeros(6)}
        found |= each.calc.results if each.calc is not None else {}
        energy = "".join(
            f'<i name="{name}"> {found["energy"]:.8f} </i>' for name in ("e_fr_energy", "e_wo_entrp", "e_0_energy")
        )
        force = f'<varray name="forces">\n{rows(found["forces"])}</varray>'
        pressure = -voigt_6_to_full_3x3_stress(found["stress"]) / (0.1 * GPa)  # VASP's sign, kBar
        stress = f'<varray name="stress">\n{rows(pressure)}</varray>'
        return f"""<calculation><scstep><energy>{energy}</energy></scstep><structure>{structure(each)}</structure>
{force}{stress}<energy>{energy}</energy>{more}</calculation>
"""

    symbols = atoms.get_chemical_symbols()
    kinds = list(dict.fromkeys(symbols))
    listed = "".join(f"<rc><c>{symbol} </c><c> {kinds.index(symbol) + 1}</c></rc>\n" for symbol in symbols)
    types = "".join(
        f"<rc><c>{symbols.count(s):4d}</c><c>{s} </c><c> 1.0</c><c> 4.0</c><c> PAW_PBE {s} </c></rc>\n" for s in kinds
    )
    more = ""
    if "dielectric_tensor" in tensors:
        more += f'<varray name="epsilon">\n{rows(tensors["dielectric_tensor"])}</varray>'
    if "born_effective_charges" in tensors:
        charges = "".join(f"<set>\n{rows(charge)}</set>" for charge in tensors["born_effective_charges"])
        more += f'<array name="born_charges"><dimension dim="1">ion</dimension>{charges}</array>'
    if "static_dielectric_tensor" in tensors:
        ionic = tensors["static_dielectric_tensor"] - tensors["dielectric_tensor"]
        more += f'<varray name="epsilon_ion">\n{rows(ionic)}</varray>'
    taken = list(steps) or [atoms]
    calculations = "".join(step(each, more if each is taken[-1] else "") for each in taken)
    path.write_text(
        f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
<generator><i name="program" type="string">vasp </i><i name="version" type="string">6.4.2 </i></generator>
<incar><i type="int" name="IBRION"> {mode}</i></incar>
<kpoints><varray name="kpointlist"><v> 0.0 0.0 0.0 </v></varray><varray name="weights"><v> 1.0 </v></varray></kpoints>
<parameters><separator name="ionic"><i type="int" name="IBRION"> {mode}</i></separator></parameters>
<atominfo><atoms> {len(atoms)} </atoms><types> {len(kinds)} </types>
<array name="atoms"><dimension dim="1">ion</dimension>
<field type="string">element</field><field type="int">atomtype</field>
<set>
{listed}</set></array>
<array name="atomtypes"><dimension dim="1">type</dimension>
<field type="int">atomspertype</field><field type="string">element</field><field>mass</field><field>valence</field>
<field type="string">pseudopotential</field>
<set>
{types}</set></array></atominfo>
<structure name="initialpos">{structure(taken[0])}</structure>
{calculations}<structure name="finalpos">{structure(taken[-1])}</structure>
</modeling>
"""
    )


def write_phonon_output(path: Path, atoms: Atoms, tensors: dict[str, np.ndarray]) -> None:
    unit = float(np.linalg.norm(atoms.cell.array[0]))
    lines = ["     Program PHONON v.7.3 starts on 27Nov2026 at 12: 0: 0", ""]
    lines += [
        "     bravais-lattice index     =            0",
        f"     lattice parameter (alat)  =     {unit / Bohr:.8f}  a.u.",
    ]
    lines += [f"     number of atoms/cell      =          {len(atoms):3d}", ""]
    lines += ["     crystal axes: (cart. coord. in units of alat)"]
    for k, row in enumerate(atoms.cell.array / unit):
        lines.append(f"               a({k + 1}) = ( " + " ".join(f"{value:9.6f}" for value in row) + " )  ")
    lines += ["", "     reciprocal axes: (cart. coord. in units 2 pi/alat)"]
    lines += ["     Cartesian axes", "", "     site n.  atom      mass           positions (alat units)"]
    for k, (symbol, mass, row) in enumerate(
        zip(atoms.get_chemical_symbols(), atoms.get_masses(), atoms.positions / unit, strict=True)
    ):
        spot = " ".join(f"{value:9.5f}" for value in row)
        lines.append(f"        {k + 1}     {symbol:2s}  {mass:8.4f}   tau({k + 1:5d}) = ( {spot}  )")
    lines += ["", "     End of electric fields calculation", "", "          Dielectric constant in cartesian axis ", ""]
    lines += [
        "          ( " + " ".join(f"{value:18.9f}" for value in row) + " )" for row in tensors["dielectric_tensor"]
    ]
    for title, shift in (("without acoustic sum rule applied (asr)", 0.3), ("with asr applied: ", 0.0)):
        lines += ["", f"          Effective charges (d Force / dE) in cartesian axis {title}", ""]
        for k, charge in enumerate(tensors["born_effective_charges"]):
            lines.append(f"           atom {k + 1:6d}  {atoms[k].symbol:3s} Mean Z*: {np.trace(charge) / 3:14.5f}")
            for axis, row in zip("xyz", charge + shift, strict=True):
                lines.append(f"      E{axis}  ( " + " ".join(f"{value:14.5f}" for value in row) + " )")
    path.write_text("\n".join(lines) + "\n")


def write_abinit_output(path: Path, atoms: Atoms, tensors: dict[str, np.ndarray]) -> None:
    lengths = np.linalg.norm(atoms.cell.array, axis=1)
    kinds = list(dict.fromkeys(atoms.numbers.tolist()))

    def echo(name: str, values: np.ndarray, width: int = 3) -> list[str]:
        flat = np.ravel(values)
        parts = [flat[k : k + width] for k in range(0, len(flat), width)]
        return [
            f"{name if not k else '':>16s}   " + "  ".join(f"{value:17.10E}" for value in part)
            for k, part in enumerate(parts)
        ]

    lines = ["", ".Version 9.10.3 of ABINIT ", ".(MPI version, prepared for a x86_64_linux_gnu13.2 computer) ", ""]
    lines += [" -outvars: echo values of preprocessed input variables --------"]
    first = echo("acell", lengths / Bohr)
    first[0] += " Bohr"
    lines += [*first, f"{'natom':>16s}       {len(atoms):5d}", f"{'ntypat':>16s}       {len(kinds):5d}"]
    lines += [f"{'getwfk1':>16s}           0", f"{'kptopt2':>16s}           2"]
    lines += echo("rprim", atoms.cell.array / lengths[:, None])
    lines += [f"{'typat':>16s}      " + "  ".join(str(kinds.index(number) + 1) for number in atoms.numbers)]
    lines += (
        echo("xangst", atoms.positions)
        + echo("xcart", atoms.positions / Bohr)
        + echo("xred", atoms.get_scaled_positions())
    )
    lines += [f"{'znucl':>16s}      " + "  ".join(f"{number:10.5f}" for number in kinds), "", "=" * 80, ""]
    head = ["    j1       j2             matrix element", " dir pert dir pert     real part    imaginary part", ""]
    field = len(atoms) + 2
    lines += [" Dielectric tensor, in cartesian coordinates,", *head]
    for i in range(3):
        lines += [_element(i, field, j, field, tensors["dielectric_tensor"][i, j]) for j in range(3)] + [""]
    charges = tensors["born_effective_charges"]
    lines += [" Effective charges, in cartesian coordinates,", " (from electric field response) "]
    lines += ["  if specified in the inputs, charge neutrality has been imposed", *head]
    for i in range(3):  # the field, outermost as ABINIT writes it
        for atom in range(len(atoms)):
            lines += [_element(j, atom + 1, i, field, charges[atom, i, j]) for j in range(3)]
        lines.append("")
    lines += [" Effective charges, in cartesian coordinates,", " (from phonon response) "]
    lines += ["  if specified in the inputs, charge neutrality has been imposed", *head]
    for atom in range(len(atoms)):
        for j in range(3):
            lines += [_element(i, field, j, atom + 1, charges[atom, i, j]) for i in range(3)] + [""]
    lines += ["  Phonon wavevector (reduced coordinates) :  0.00000  0.00000  0.00000"]
    path.write_text("\n".join(lines) + "\n")


def _element(i: int, first: int, j: int, second: int, value: float) -> str:
    return f"{i + 1:4d}{first:5d}{j + 1:4d}{second:5d} {value:20.10f} {0.0:20.10f}"


def write_anaddb(path: Path, tensors: dict[str, np.ndarray]) -> None:
    lines = [
        "",
        ".Version 9.10.3 of ANADDB ",
        "",
        " Effective charge tensors after ",
        " imposition of the charge neutrality,",
    ]
    lines += [" and eventual restriction to some part :", "   atom    displacement  "]
    for atom, charge in enumerate(tensors["born_effective_charges"]):
        for j in range(3):
            lines.append(f"{atom + 1:10d}{j + 1:10d}" + "".join(f"{charge[i, j]:16.6E}" for i in range(3)))
    lines += [" Now, the imaginary part of the dynamical matrix is zeroed ", ""]
    for title, name in (("Electronic", "dielectric_tensor"), ("Relaxed ion", "static_dielectric_tensor")):
        lines += [f" {title} dielectric tensor", ""]
        lines += ["".join(f"{value:16.8f}" for value in row) for row in tensors[name]] + [""]
    for kind, shift in (("clamped", 31.0), ("relaxed", 0.0)):
        lines += [f" Elastic Tensor ({kind} ion) (unit:10^2GP):", ""]
        lines += ["".join(f"{value:12.7f}" for value in row) for row in (tensors["elastic_tensor"] + shift) / 100] + [
            ""
        ]
    for kind, name in (("clamped", "clamped_piezoelectric_tensor"), ("relaxed", "piezoelectric_tensor")):
        lines += [f" Proper piezoelectric constants ({kind} ion) (unit:c/m^2)", ""]
        lines += ["".join(f"{value:16.8f}" for value in row) for row in tensors[name].T] + [""]
    path.write_text("\n".join(lines) + "\n")


#: Name of a file that holds structure and tensors -> what writes it.
WRITERS = {
    "OUTCAR": write_outcar,
    "vasprun.xml": write_vasprun,
    "ph.out": write_phonon_output,
    "run.abo": write_abinit_output,
}
