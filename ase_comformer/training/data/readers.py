"""Turns rows of the files of the data package into labels: one function per data set.

A reader takes the JSON object of a row and gives its labels by property (documented shapes and units), extras
(numbers that derived labels are made of, and what evaluation needs), and the functional that the labels follow. Numbers
that the flags of a row call wrong are left out. Functionals are tokens of training: PBEsol of the two codes is two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

Labels: TypeAlias = dict[str, "np.ndarray | float"]
Parsed: TypeAlias = tuple[Labels, dict[str, Any], str]
"""Labels, extras, functional."""
Row: TypeAlias = dict[str, Any]

ABINIT = "PBEsol ABINIT"
OPTB88 = "OptB88vdW"


def array(value: object) -> np.ndarray:
    """A nested list as float64."""
    return np.asarray(value, dtype=np.float64)


def dielectric_born(row: Row) -> Parsed:
    """PBEsol: dielectric_tensor, born_effective_charges (n,3,3), static_dielectric_tensor.

    The last where the zone centre is stable. Extras gamma_freq_thz (3n,), and when known the PBE values K_vrh, G_vrh
    (GPa), gap (eV), e_form (eV/atom).
    """
    electronic = array(row["eps_inf"])
    labels: Labels = {"dielectric_tensor": electronic, "born_effective_charges": array(row["born"])}
    if row["eps_ion"] is not None:
        labels["static_dielectric_tensor"] = electronic + array(row["eps_ion"])
    extras = {name: row[name] for name in ("K_vrh", "G_vrh", "gap", "e_form")}
    extras["gamma_freq_thz"] = array(row["gamma_freq_thz"])
    return labels, extras, "PBEsol"


def dielectric_mp(row: Row) -> Parsed:
    """PBE: dielectric_tensor, static_dielectric_tensor, band_gap (eV). Extras gap, potentially_ferroelectric."""
    labels: Labels = {
        "dielectric_tensor": array(row["e_electronic"]),
        "static_dielectric_tensor": array(row["e_total"]),
    }
    if row["gap"] is not None:
        labels["band_gap"] = float(row["gap"])
    return labels, {"gap": row["gap"], "potentially_ferroelectric": row["pot_ferroelectric"]}, "PBE"


def dielectric_mpdfpt(row: Row) -> Parsed:
    """PBE: dielectric_tensor, static_dielectric_tensor, born_effective_charges, clamped_piezoelectric_tensor.

    The last where symmetry allows one: it is zero for most crystals, which every network gets right. Extras e_ionic.
    """
    electronic, ionic = array(row["e_electronic"]), array(row["e_ionic"])
    labels: Labels = {
        "dielectric_tensor": electronic,
        "static_dielectric_tensor": electronic + ionic,
        "born_effective_charges": array(row["born"]),
    }
    if row["clamped_norm"]:
        labels["clamped_piezoelectric_tensor"] = array(row["e_clamped"])
    return labels, {"e_ionic": ionic}, "PBE"


def dielectric_petretto(row: Row) -> Parsed:
    """PBEsol of ABINIT: dielectric_tensor, born_effective_charges. Extras eps_static_mean (mean over directions)."""
    labels: Labels = {"dielectric_tensor": array(row["eps_inf"]), "born_effective_charges": array(row["born"])}
    return labels, {"eps_static_mean": row["eps_total_trace3"]}, ABINIT


def dielectric_total_mp2020(row: Row) -> Parsed:
    """PBE: static_dielectric_tensor; where its frame is unknown extras eps_static_eigenvalues (3,), ascending."""
    if row["e_total"] is not None:
        return {"static_dielectric_tensor": array(row["e_total"])}, {}, "PBE"
    return {}, {"eps_static_eigenvalues": row["e_total_eigenvalues"]}, "PBE"


def dielectric_scalars(row: Row) -> Parsed:
    """PBE, no labels: extras eps_inf_mean, eps_static_mean (means over directions)."""
    electronic, ionic, total = (row[f"eps_{part}_pbe"] for part in ("inf", "ion", "total"))
    if {"eps_inf_large", "eps_inf_sources_disagree"} & set(row["flags"]):
        return {}, {}, "PBE"
    if total is None and electronic is not None and ionic is not None and ionic > 0:
        total = electronic + ionic
    return {}, {"eps_inf_mean": electronic, "eps_static_mean": total}, "PBE"


def dfpt_jarvis(row: Row) -> Parsed:
    """OptB88vdW: dielectric_tensor, born_effective_charges."""
    labels: Labels = {"dielectric_tensor": array(row["eps_inf"]), "born_effective_charges": array(row["born"])}
    return labels, {}, OPTB88


def piezo_mp(row: Row) -> Parsed:
    """PBE: piezoelectric_tensor (3,6).

    Extras alternatives (k,3,6), ambiguous, e_norm (C/m^2), resolved_by, ionic_cos, published_frame.
    """
    names = ("ambiguous", "resolved_by", "e_norm", "ionic_cos", "published_frame")
    extras = {name: row[name] for name in names}
    extras["alternatives"] = array(row["alternatives"]).reshape(-1, 3, 6)
    return {"piezoelectric_tensor": array(row["e"])}, extras, "PBE"


def piezo_modulus_mp(row: Row) -> Parsed:
    """PBE, no labels: extras piezoelectric_modulus (C/m^2), the largest singular value of the total tensor (3,6)."""
    known = None if "very_large" in row["flags"] else row["e_max_longitudinal"]
    return {}, {"piezoelectric_modulus": known}, "PBE"


def piezo_clamped_jarvis(row: Row) -> Parsed:
    """OptB88vdW: clamped_piezoelectric_tensor. Extras ambiguous, alternatives (k,3,6)."""
    extras = {"ambiguous": row["ambiguous"], "alternatives": array(row["alternatives"]).reshape(-1, 3, 6)}
    return {"clamped_piezoelectric_tensor": array(row["e_clamped"])}, extras, OPTB88


def elastic_mp(row: Row) -> Parsed:
    """PBE: elastic_tensor (6,6). Extras K_vrh, G_vrh (GPa)."""
    return {"elastic_tensor": array(row["C"])}, {"K_vrh": row["K_vrh"], "G_vrh": row["G_vrh"]}, "PBE"


def moduli(row: Row) -> Parsed:
    """PBE, no labels: extras K_vrh, G_vrh (GPa)."""
    return {}, {"K_vrh": row["K_vrh"], "G_vrh": row["G_vrh"]}, "PBE"


def moduli_jarvis(row: Row) -> Parsed:
    """OptB88vdW, no labels: extras K_voigt, G_voigt (GPa)."""
    extras: dict[str, Any] = {}
    for name in ("K", "G"):
        known = f"{name}_sources_disagree" not in row["flags"] and f"{name}_voigt_jarvis_unphysical" not in row["flags"]
        extras[f"{name}_voigt"] = row[f"{name}_voigt_jarvis"] if known else None
    return {}, extras, OPTB88


def formation_energy(row: Row) -> Parsed:
    """PBE: formation_energy (eV/atom), band_gap (eV) where known.

    Extras e_above_hull, gap, source, structure_functional.
    """
    extras = {name: row[name] for name in ("e_above_hull", "gap", "source", "structure_functional")}
    labels: Labels = {"formation_energy": float(row["e_form"])}
    if row["gap"] is not None:
        labels["band_gap"] = float(row["gap"])
    return labels, extras, "PBE"


def with_labels(row: Row) -> Parsed:
    """A file of one's own: ``labels``, ``functional`` and perhaps ``extras`` of the row."""
    labels: Labels = {name: array(value) for name, value in row["labels"].items()}
    return labels, dict(row.get("extras", {})), row["functional"]


READERS: dict[str, Callable[[Row], Parsed]] = {
    "dielectric_born": dielectric_born,
    "dielectric_mp": dielectric_mp,
    "piezo_mp": piezo_mp,
    "elastic_mp": elastic_mp,
    "formation_energy": formation_energy,
    "dielectric_mpdfpt": dielectric_mpdfpt,
    "piezo_clamped_jarvis": piezo_clamped_jarvis,
    "elastic_mp2020": elastic_mp,
    "moduli": moduli,
    "moduli_jarvis": moduli_jarvis,
    "dielectric_petretto": dielectric_petretto,
    "dielectric_total_mp2020": dielectric_total_mp2020,
    "dielectric_scalars": dielectric_scalars,
    "piezo_modulus_mp": piezo_modulus_mp,
    "dfpt_jarvis": dfpt_jarvis,
}
"""Data set -> reader of its rows."""

FILES = {"moduli_jarvis": "moduli"}
"""Data set -> file, where the names differ."""

DATASETS: tuple[str, ...] = (*READERS, "formation_energy_mp2018")
