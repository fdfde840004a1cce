"""Tables of a report: a tensor with its error bars and what symmetry says of every component."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from ase_comformer.properties.registry import tensor_property
from ase_comformer.tensors.reynolds import distinct_indices
from ase_comformer.tensors.symmetry_report import ComponentSymmetry
from ase_comformer.workflows.report_page.content import TensorPart

#: Atoms whose tensors are listed.
MOST_ATOMS = 24


def text(value: Any) -> str:
    """Escape anything for HTML, and drop control characters."""
    characters = (character if character.isprintable() or character == "\n" else " " for character in str(value))
    return html.escape("".join(characters), quote=True)


def title(name: str) -> str:
    """A property as people write it."""
    return name.replace("_", " ")


def tensor_table(part: TensorPart) -> str:
    """Heading, components and reasons of a property."""
    facts, entry = part.facts, tensor_property(part.name)
    route = f"; {text(part.route)}" if part.route else ""
    head = (
        f"<h3>{text(title(part.name))} <small>({text(facts['unit'])})</small></h3>"
        f'<p class="what">{text(facts["kind"])}; {text(facts["functional"])}{route}</p>'
    )
    value, error = np.asarray(part.value, dtype=float), part.error
    if value.ndim == 0:
        spread = f" ± {float(error):.2g}" if error is not None else ""
        return f"{head}<p>{float(value):.4f}{spread}</p>"
    if error is not None and np.ndim(error) == 0:
        head += f'<p class="what">expected error of the whole tensor (norm) ± {float(error):.2g}</p>'
        error = None
    if entry.per_atom:
        return head + _of_atoms(value, error)
    statuses = dict(zip(distinct_indices(entry), part.components, strict=False)) if part.components else {}
    rows = value[None] if value.ndim == 1 else value
    errors = None if error is None else np.asarray(error, dtype=float).reshape(rows.shape)
    cells = "".join(
        "<tr>"
        + "".join(
            cell(float(rows[index]), None if errors is None else float(errors[index]), _status(statuses, index))
            for index in np.ndindex(*rows.shape)
            if index[0] == line
        )
        + "</tr>"
        for line in range(len(rows))
    )
    return f'{head}<div class="scroll"><table class="matrix">{cells}</table></div>{_reasons(part)}'


def _status(statuses: dict[tuple[int, ...], ComponentSymmetry], index: tuple[int, ...]) -> str:
    component = statuses.get(index) or statuses.get(tuple(reversed(index)))
    return component.status if component is not None else ""


def cell(value: float, error: float | None = None, status: str = "") -> str:
    """A component, of class ``status``."""
    digits = 1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 3
    spread = f'<span class="error">± {error:.2g}</span>' if error is not None else ""
    return f'<td class="{text(status)}">{round(value, digits) + 0.0:.{digits}f}{spread}</td>'


def _reasons(part: TensorPart) -> str:
    if not part.components:
        return ""
    rows = "".join(
        f"<tr><td>{text(component.label)}</td><td>{component.projected + 0.0:.4f}</td>"
        f"<td>{text(_because(component, why))}</td></tr>"
        for component, why in zip(part.components, part.why_zero, strict=True)
    )
    free = sum(component.status == "free" for component in part.components)
    return (
        f"<details><summary>{free} independent of {len(part.components)} components: what symmetry says</summary>"
        f'<div class="scroll"><table class="rows"><tr><th>component</th><th>value</th><th>symmetry</th></tr>{rows}'
        "</table></div></details>"
    )


def _because(component: ComponentSymmetry, why: str) -> str:
    if component.status == "forbidden":
        return f"zero: forbidden by {why}" if why else "zero by symmetry"
    return "independent" if component.status == "free" else f"equals {component.status_text.removeprefix('= ')}"


def _of_atoms(value: Any, error: Any = None) -> str:
    shown = value[:MOST_ATOMS]
    spread = None if error is None or np.ndim(error) != 1 else np.asarray(error, dtype=float)
    lines = [[f"{entry + 0.0:.3f}" for entry in np.round(np.ravel(tensor), 3)] for tensor in shown]
    columns = [a + b for a in "xyz" for b in "xyz"] if value[0].size == 9 else [str(k) for k in range(value[0].size)]
    if spread is not None:
        columns.append("± (norm)")
        lines = [[*line, f"{size:.2g}"] for line, size in zip(lines, spread, strict=False)]
    rows = "".join(
        f"<tr><td>{number}</td>" + "".join(f"<td>{entry}</td>" for entry in line) + "</tr>"
        for number, line in enumerate(lines)
    )
    heads = "".join(f"<th>{name}</th>" for name in ("atom", *columns))
    left = len(value) - len(shown)
    more = f'<p class="what">{left} more atoms are not listed.</p>' if left else ""
    return f'<div class="scroll"><table class="rows"><tr>{heads}</tr>{rows}</table></div>{more}'
