"""A report as one HTML page without anything from elsewhere; every text goes through ``text``, which escapes it.

The page forbids itself to load anything (content security policy), and runs one script, known by its hash: a script
that came with the text of a file would not run even if it were not escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from ase.data import atomic_names

from ase_comformer import __version__
from ase_comformer.physics.directional import along, longitudinal_piezoelectric, youngs_modulus
from ase_comformer.workflows.report_page.content import ReportContent
from ase_comformer.workflows.report_page.scenes import crystal_scene, surface_scene
from ase_comformer.workflows.report_page.tables import cell, tensor_table, text, title

_VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")
_SECTIONS = {
    "structure": "Structure", "tensors": "Tensors", "mechanics": "Elasticity", "response": "Second route",
    "phonons": "Phonons", "spectra": "Spectra", "trust": "What to trust",
}  # fmt: skip


def page(content: ReportContent) -> str:
    """The page of a report.

    Args:
        content: of ``content.gather``.

    Returns:
        A complete HTML document.
    """
    scenes: dict[str, Any] = {}
    bodies = {
        "structure": _structure(content, scenes),
        "tensors": _tensors(content, scenes),
        "mechanics": _mechanics(content, scenes),
        "response": _response(content),
        "phonons": _drawing(content, "phonons", _phonon_svg),
        "spectra": _drawing(content, "spectra", _spectra_svg),
        "trust": _trust(content),
    }
    script = files(__package__).joinpath("page.js").read_text(encoding="utf-8")
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    formula = content.atoms.get_chemical_formula(mode="metal", empirical=True)
    links = "".join(f'<a href="#{key}">{title}</a>' for key, title in _SECTIONS.items())
    sections = "".join(
        f'<section id="{key}"><h2>{title}</h2>{bodies[key]}</section>' for key, title in _SECTIONS.items()
    )
    # "<" in JSON could end the element, whatever the strings are
    data = json.dumps(scenes, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{text(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(formula)}, {text(content.group.international)}</title><style>{style}</style></head><body><main>"
        f"<header><h1>{_formula(formula)}</h1><p>{text(content.group.international)} (No. {content.group.number}), "
        f"point group {text(content.group.point_group)}, {text(content.group.crystal_system)}</p>"
        f"<p>{text(content.name)}</p></header><nav>{links}</nav>{sections}"
        f"<footer>ase-comformer {text(__version__)}, model {text(content.model.get('name', ''))}, fingerprint "
        f"{text(content.model.get('fingerprint', ''))}</footer></main>"
        f'<script type="application/json" id="scenes">{data}</script><script>{script}</script></body></html>\n'
    )


def _formula(formula: str) -> str:
    """A formula with its numbers as subscripts."""
    return "".join(f"<sub>{character}</sub>" if character.isdigit() else text(character) for character in formula)


def _facts(pairs: Sequence[tuple[str, str]]) -> str:
    cells = (
        f'<div><div class="name">{text(name)}</div><div class="value">{value}</div></div>' for name, value in pairs
    )
    return f'<div class="facts">{"".join(cells)}</div>'


def _canvas(key: str, caption: str, scene: dict[str, Any], scenes: dict[str, Any]) -> str:
    scenes[key] = scene
    if scene["kind"] == "surface":
        caption = f"{caption} From {scene['low']:.3g} to {scene['high']:.3g}."
    return (
        f'<figure><canvas data-scene="{key}" tabindex="0" role="img" aria-label="{text(caption)}"></canvas>'
        f"<figcaption>{text(caption)} Drag or use the arrow keys to turn, double-click to let it turn by itself."
        "</figcaption></figure>"
    )


def _structure(content: ReportContent, scenes: dict[str, Any]) -> str:
    atoms, group = content.atoms, content.group
    lengths = atoms.cell.cellpar()
    density = content.mechanics.density if content.mechanics is not None else None
    facts = [
        ("a, b, c (Å)", ", ".join(f"{value:.4f}" for value in lengths[:3])),
        ("angles (°)", ", ".join(f"{value:.2f}" for value in lengths[3:])),
        ("volume (Å³)", f"{atoms.get_volume():.3f}"),
        ("atoms", f"{len(atoms)} ({len(group.primitive)} in the primitive cell)"),
        ("density (kg/m³)", f"{density:.0f}" if density else "-"),
        ("largest move to the ideal place (Å)", f"{group.idealisation_displacement:.2g}"),
    ]
    elements = ", ".join(f"{symbol} ({atomic_names[number]})" for symbol, number in _elements(content))
    operations = ", ".join(text(symbol) for symbol in content.operations)
    caption = f"The cell as it was read. Elements: {elements}."
    rows = "".join(
        f"<tr><td>{number}</td><td>{text(symbol)}</td>"
        + "".join(f"<td>{value:.5f}</td>" for value in fraction)
        + "</tr>"
        for number, (symbol, fraction) in enumerate(
            zip(atoms.symbols[:200], atoms.get_scaled_positions()[:200], strict=True)
        )
    )
    table = (
        '<details><summary>fractional coordinates</summary><div class="scroll"><table class="rows"><tr><th>#</th>'
        f"<th>element</th><th>x</th><th>y</th><th>z</th></tr>{rows}</table></div></details>"
    )
    return (
        f'<div class="pair">{_canvas("crystal", caption, crystal_scene(atoms), scenes)}<div>{_facts(facts)}'
        f'<p class="what">Operations of the point group: {operations}.</p>{table}</div></div>'
    )


def _elements(content: ReportContent) -> list[tuple[str, int]]:
    pairs = zip(content.atoms.symbols, content.atoms.numbers, strict=True)
    return sorted({(str(symbol), int(number)) for symbol, number in pairs})


def _tensors(content: ReportContent, scenes: dict[str, Any]) -> str:
    parts = [tensor_table(part) for part in content.tensors if part.name not in ("forces", "stress", "energy")]
    for message in dict.fromkeys(content.errors.values()):
        names = ", ".join(title(name) for name, other in content.errors.items() if other == message)
        parts.append(f'<h3>{text(names)}</h3><p class="missing">Not predicted: {text(message)}</p>')
    dielectric, piezo = content.value("dielectric_tensor"), content.value("piezoelectric_tensor")
    views = []
    if dielectric is not None:
        caption = "Electronic permittivity along each direction."
        views.append(_canvas("dielectric", caption, surface_scene(lambda n: along(dielectric, n)), scenes))
    if piezo is not None and np.abs(piezo).max() > 1e-6:
        caption = "Longitudinal piezoelectric response e (C/m²) along each direction; red positive, blue negative."
        views.append(_canvas("piezo", caption, surface_scene(lambda n: longitudinal_piezoelectric(piezo, n)), scenes))
    elif piezo is not None:
        views.append("<p>All piezoelectric components are zero by symmetry, so there is no surface to show.</p>")
    legend = (
        '<p class="what">Grey components are zero by symmetry, blue ones are tied to others; the table below each '
        "tensor says which operation, and which relation.</p>"
    )
    return legend + "".join(parts) + f'<div class="pair">{"".join(views)}</div>'


def _mechanics(content: ReportContent, scenes: dict[str, Any]) -> str:
    summary, tensor = content.mechanics, content.value("elastic_tensor")
    if summary is None or tensor is None:
        return '<p class="missing">There is no elastic tensor for this crystal, so this part is left out.</p>'
    moduli = summary.moduli

    def averages(voigt: Any, reuss: Any, hill: Any) -> str:
        return f"{float(hill):.1f} <small>(Voigt {float(voigt):.1f}, Reuss {float(reuss):.1f})</small>"

    smallest = float(summary.stiffness_eigenvalues[0])
    facts = [
        ("bulk modulus (GPa)", averages(moduli.bulk_voigt, moduli.bulk_reuss, moduli.bulk)),
        ("shear modulus (GPa)", averages(moduli.shear_voigt, moduli.shear_reuss, moduli.shear)),
        ("Young's modulus of a polycrystal (GPa)", f"{summary.youngs_modulus:.1f}"),
        ("Poisson ratio", f"{summary.poisson_ratio:.3f}"),
        ("universal anisotropy", f"{summary.universal_anisotropy:.3f}"),
        (
            "mechanical stability",
            f"{'stable' if summary.is_stable else 'UNSTABLE'}, least stiffness {smallest:.1f} GPa",
        ),
    ]
    if summary.debye_temperature is not None:
        facts.append(
            (
                "sound, longitudinal and transverse (m/s)",
                f"{summary.longitudinal_velocity:.0f}, {summary.transverse_velocity:.0f}",
            )
        )
        facts.append(("Debye temperature (K)", f"{summary.debye_temperature:.0f}"))
    surface = ""
    if summary.is_stable:
        caption = "Young's modulus (GPa) along each direction; yellow is stiffest."
        surface = _canvas("young", caption, surface_scene(lambda n: youngs_modulus(tensor, n)), scenes)
    return f'<div class="pair">{surface}<div>{_facts(facts)}</div></div>'


def _response(content: ReportContent) -> str:
    response = content.response
    if response is None:
        return _left_out(content, "response")
    shown = {
        "elastic_tensor": "GPa", "piezoelectric_tensor": "e, C/m²", "piezoelectric_strain_tensor": "d, pC/N",
        "static_dielectric_tensor": "relative, fixed strain", "free_dielectric_tensor": "relative, fixed stress",
    }  # fmt: skip
    intro = (
        "<p>The same quantities from second derivatives of the energy with the atoms following field and strain "
        "(Wu, Vanderbilt, Hamann 2005), independent of the networks above where energies decide. "
        "Where both agree, trust is better founded.</p>"
    )
    parts = []
    for name, unit in shown.items():
        value = getattr(response, name, None)
        if value is not None:
            rows = "".join("<tr>" + "".join(cell(float(x)) for x in row) + "</tr>" for row in value)
            parts.append(
                f'<div><h3>{text(title(name))} <small>({text(unit)})</small></h3><div class="scroll">'
                f'<table class="matrix">{rows}</table></div></div>'
            )
    return intro + f'<div class="pair wide">{"".join(parts)}</div>'


def _left_out(content: ReportContent, name: str) -> str:
    reason = content.missing.get(name, "it could not be computed")
    return f'<p class="missing">This part is left out: {text(reason)}</p>'


def _drawing(content: ReportContent, name: str, draw: Callable[[ReportContent], str]) -> str:
    if getattr(content, name) is None:
        return _left_out(content, name)
    try:
        return f'<div class="drawing">{draw(content)}</div>'
    except ImportError as error:
        return f'<p class="missing">This figure is left out: {text(error)}</p>'


def _phonon_svg(content: ReportContent) -> str:
    from ase_comformer.plotting.phonons import phonon_figure
    from ase_comformer.plotting.style import as_svg

    found = content.phonons
    split = (
        "Longitudinal and transverse optical modes are split at Γ by the predicted Born charges."
        if found.has_non_analytic_term
        else "There is no splitting of longitudinal and transverse modes."
    )
    unstable = f" {len(found.imaginary_modes)} imaginary modes are drawn as negative." if found.imaginary_modes else ""
    return f"{as_svg(phonon_figure(found))}<p>{text(split + unstable)}</p>"


def _spectra_svg(content: ReportContent) -> str:
    from ase_comformer.plotting.spectra import spectra_figure
    from ase_comformer.plotting.style import as_svg

    found = content.spectra
    note = "Raman intensities are experimental: the network has seen crystals at rest only."
    return f"{as_svg(spectra_figure(found.infrared, found.raman))}<p>{text(note)}</p>"


def _trust(content: ReportContent) -> str:
    notes = [f'<li class="warning">{text(note)}</li>' for note in content.notes]
    notes += [f"<li><b>{text(title(name))}</b>: {text(sentence)}</li>" for name, sentence in content.accuracy.items()]
    functionals = {part.facts["functional"].partition(" (")[0] for part in content.tensors}
    notes.append(
        f"<li>Values follow {text(', '.join(sorted(functionals)))}; density functionals themselves differ from "
        "measurements, gaps of semiconductors and therefore dielectric tensors most.</li>"
    )
    return f'<ul class="notes">{"".join(notes)}</ul>'
