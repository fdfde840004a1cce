"""Adsorption on close-packed metals: ``python -m benchmarks.adsorption``.

H and O on Al(111) and CO on Pt(111), a quarter of a monolayer on four layers of 2 x 2 cells at the lattice parameter of
the potential, on the sites of high symmetry, all atoms relaxed from there. Energies (eV) are against the clean slab and
half a molecule of H2 or O2, or one of CO; negative where the molecule gains. With ``--peers``, the same by published
potentials in their environments, on the structures relaxed by ours. A minute without peers.

Published PBE values: CO on Pt(111), A. Stroppa et al., Phys. Rev. B 76, 195440 (2007), as commonly quoted; the paper's
tables were out of reach, hence the ``*``; PBE prefers the hollow site and measurements the top one. Of H and O no PBE
value of these coverages and references could be found and read: only what is known of the sites is printed (H is least
stable on top: Y. Liu et al., Metals 7, 21 (2017); O sits in threefold hollows: A. Kiejna and B. I. Lundqvist,
Phys. Rev. B 63, 085405 (2001)), and no error is given.
"""

from collections.abc import Iterable

from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from rich.table import Table

from ase_comformer.inference.predictor import Predictor
from ase_comformer.workflows.relax import relax
from benchmarks.peers.process import PEERS, PeerCalculator, installed
from benchmarks.published import NOT_CONFIRMED, Unconfirmed
from benchmarks.surface import Clock, one_thread, parser, prepare_console, verdict

SITES = ("ontop", "bridge", "hcp", "fcc")
#: Metal, what adsorbs, what it is of, and its height (A) above the surface at the start.
SYSTEMS = {
    "H on Al(111)": ("Al", "H", ("H2", 0.5), 1.0),
    "O on Al(111)": ("Al", "O", ("O2", 0.5), 1.0),
    "CO on Pt(111)": ("Pt", "CO", ("CO", 1.0), 1.6),
}
PUBLISHED = {("CO on Pt(111)", "ontop"): Unconfirmed(-1.70), ("CO on Pt(111)", "fcc"): Unconfirmed(-1.82)}
LIMIT = 0.3  # eV


def structures(predictor: Predictor) -> dict[tuple[str, str], Atoms]:
    """Slabs with and without adsorbate, and molecules, before they are relaxed."""
    found: dict[tuple[str, str], Atoms] = {}
    for system, (metal, adsorbate, (source, _), height) in SYSTEMS.items():
        lattice = relax(bulk(metal, cubic=True), predictor=predictor).atoms.cell.lengths()[0]
        clean = fcc111(metal, (2, 2, 4), a=lattice, vacuum=8.0)
        found[system, "clean"] = clean
        found[system, source] = molecule(source)
        for site in SITES:
            slab = clean.copy()
            body = molecule("CO") if adsorbate == "CO" else Atoms(adsorbate)
            if adsorbate == "CO":  # carbon first, oxygen up
                body = Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.15]])
            add_adsorbate(slab, body, height + (0.4 if site == "ontop" else 0.0), site)
            found[system, site] = slab
    return found


def adsorption_energies(system: str, energies: dict[tuple[str, str], float]) -> dict[str, float]:
    """Site -> eV."""
    source, share = SYSTEMS[system][2]
    rest = energies[system, "clean"] + share * energies[system, source]
    return {site: energies[system, site] - rest for site in SITES if (system, site) in energies}


def of_peer(name: str, relaxed: Iterable[tuple[tuple[str, str], Atoms]]) -> dict[tuple[str, str], float]:
    """Energies (eV) by a peer, of what it can evaluate; molecules in a box, which all of them take."""
    calculator, found = PeerCalculator(name), {}
    for key, atoms in relaxed:
        boxed = atoms.copy()
        if not atoms.pbc.any():
            boxed.center(vacuum=8.0)
        boxed.pbc = True
        try:
            found[key] = float(calculator.get_property("energy", boxed))
        except Exception:  # an empty cell of the table
            continue
    calculator.close()
    return found


def main() -> None:
    """Print one table."""
    made = parser(__doc__, dtype="float64")
    made.add_argument("--peers", nargs="*", choices=list(PEERS), help="those named, or all that are installed")
    given = made.parse_args()
    one_thread()
    console, clock = prepare_console(), Clock()
    predictor = Predictor(model=given.model, dtype=given.dtype)
    starts = structures(predictor)
    relaxed = relax(list(starts.values()), cell=False, fmax=0.05, steps=80, predictor=predictor)
    ends = {key: found.atoms for key, found in zip(starts, relaxed, strict=True)}
    failed = [" ".join(key) for key, found in zip(starts, relaxed, strict=True) if found.error or not found.converged]
    energies = {"ours": {key: float(atoms.get_potential_energy()) for key, atoms in ends.items() if atoms.calc}}
    names = [] if given.peers is None else [name for name in installed() if not given.peers or name in given.peers]
    for name in names:
        energies[name] = of_peer(name, ends.items())
    table = Table(title=f"adsorption energies (eV), a quarter of a monolayer, model {given.model}")
    for heading in ("", "site", *energies, "published PBE", "difference"):
        table.add_column(heading, justify="left" if heading in ("", "site") else "right")
    errors = []
    for system in SYSTEMS:
        found = {name: adsorption_energies(system, own) for name, own in energies.items()}
        for site in SITES:
            published = PUBLISHED.get((system, site))
            cells = [f"{own[site]:+.2f}" if site in own else "" for own in found.values()]
            difference = None if published is None else found["ours"][site] - published
            errors += [] if difference is None else [abs(difference)]
            last = ("", "") if published is None else (f"{published:+.2f}", f"{difference:+.2f}")
            table.add_row(system if site == SITES[0] else "", site, *cells, *last)
        table.add_section()
    console.print(table)
    console.print(NOT_CONFIRMED)
    console.print(verdict("largest difference", max(errors), LIMIT, "eV"))
    for name in failed:
        console.print(f"not at rest: {name}")
    console.print(str(clock))


if __name__ == "__main__":
    main()
