"""Whether a crystal is likely a metal, in which static electric fields are screened.

A metal has no dielectric tensor, no piezoelectric tensor and no Born charges (they diverge or depend on how the limit
of zero field is taken; R. Resta, D. Vanderbilt, Top. Appl. Phys. 105, 31 (2007)). A network trained on insulators
answers all the same. What is known of a structure is used: its band gap where one was predicted, else its elements. Of
the 41,306 crystals of the Materials Project in matbench's table of formation energies, 7,456 consist of metallic
elements alone, and 1.7 % of these have a gap above 0.1 eV (half-Heusler and Zintl compounds, CsAu); 10,878 of 17,490
crystals without a gap contain other elements too, which only a predicted gap tells.
"""

from __future__ import annotations

from ase import Atoms

#: eV, predicted band gaps below which a crystal may well be a metal.
METALLIC_GAP = 0.1
#: Elements whose compounds with metals need not be metals: H, He, B to Ne, Si to Ar, Ge to Kr, Sb to Xe, At, Rn.
NONMETALS = frozenset({1, 2, *range(5, 11), *range(14, 19), *range(32, 37), *range(51, 55), 85, 86})


def why_metallic(atoms: Atoms, gap: float | None = None) -> str:
    """Say what makes a crystal likely metallic; empty where nothing does.

    Args:
        atoms: a crystal.
        gap: predicted band gap in eV, None where none is known.

    Returns:
        The rest of a sentence that begins with the formula.

    Example:
        >>> from ase.build import bulk
        >>> why_metallic(bulk("Cu"))
        'consists of metallic elements only and is likely a metal'
        >>> why_metallic(bulk("MgO", "rocksalt", a=4.21))
        ''
        >>> why_metallic(bulk("TiN", "rocksalt", a=4.24), gap=0.02)
        'has a predicted band gap of 0.02 eV only and is likely a metal'
    """
    if gap is not None:
        narrow = f"has a predicted band gap of {max(gap, 0.0):.2f} eV only and is likely a metal"
        return narrow if gap < METALLIC_GAP else ""
    if len(atoms) and NONMETALS.isdisjoint(atoms.numbers.tolist()):
        return "consists of metallic elements only and is likely a metal"
    return ""
