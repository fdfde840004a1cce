"""Accuracy of models as tables: sections, published anchors, JSON, console output, model cards.

One ``Section`` is one property on one subset of crystals with one kind of metrics; its rows are predictors.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rich.console import Console
from rich.table import Table

from ase_comformer.errors import UnknownNameError
from ase_comformer.training.data.records import Record
from ase_comformer.training.evaluation.metrics import Metrics, as_dict, metrics_table


@dataclass(frozen=True)
class Anchor:
    """A published or earlier figure to read the tables against; not computed here."""

    task: str
    source: str
    figure: str


ANCHORS: tuple[Anchor, ...] = (
    Anchor("dielectric, JARVIS 4713", "GMTNet (ICML 2024)", "Fnorm 3.50, EwT 84.5/57.1/27.8 %"),
    Anchor("dielectric, JARVIS", "CEITNet (2025)", "Fnorm 2.87, EwT 86.1/63.8/39.3 %"),
    Anchor("dielectric, MP, 300 crystals", "GMTNet, authors' checkpoint", "Fnorm 3.23, EwT 78.5/48.1/28.3 %"),
    Anchor("dielectric, MP, 300 crystals", "constant median", "Fnorm 5.92, EwT 24.9/7.4/4.4 %"),
    Anchor("dielectric_born test", "half-hour sketch, Cartesian l <= 2", "EwT 93.6/80.5/61.0 %, Born 0.100 e"),
    Anchor("elastic, JARVIS 14220", "GMTNet", "Fnorm 67.4 GPa, EwT 66.1/21.8/7.7 %"),
    Anchor("piezo, non-zero, JARVIS", "GMTNet (re-run by others)", "Fnorm 0.752 C/m^2, EwT 6.3/1.5/1.1 %"),
    Anchor("formation energy, Matbench 132 k", "ComFormer", "MAE 0.0165 eV/atom"),
)


@dataclass(frozen=True)
class Section:
    """One table: a property on a subset of one data set, all rows with the same kind of metrics.

    ``is_common``: restricted to the crystals that every compared model covers.
    """

    property_name: str
    dataset: str
    subset: str
    rows: tuple[tuple[str, Metrics], ...]
    is_common: bool = False

    @property
    def title(self) -> str:
        """Heading of the table."""
        return f"{self.property_name} - {self.dataset}, {self.subset}"

    def table(self) -> Table:
        """The section as a rich table."""
        return metrics_table(self.rows, self.title)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able figures."""
        return {
            "property": self.property_name,
            "dataset": self.dataset,
            "subset": self.subset,
            "rows": [{"predictor": name, **as_dict(metrics)} for name, metrics in self.rows],
        }


@dataclass
class Evaluation:
    """Everything ``run`` found.

    Attributes:
        model: name of the evaluated model.
        split: 'val' or 'test' (or 'train').
        settings: arguments of the evaluation.
        comparisons: names of the models shown beside it.
        fingerprint: ``weights.Model.fingerprint`` of the evaluated model.
        sections: the tables.
        failures: model name -> data set -> record id -> message, for crystals without a prediction.
        seconds: model name -> wall-clock seconds spent predicting.
        predictions: data set -> property -> list of (record, prediction) of the evaluated model, for figures.
    """

    model: str
    split: str
    settings: dict[str, Any]
    comparisons: tuple[str, ...] = ()
    fingerprint: str = ""
    sections: list[Section] = field(default_factory=list)
    failures: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    predictions: dict[str, dict[str, list[tuple[Record, Any]]]] = field(default_factory=dict)

    def find(self, property_name: str, subset: str | None = None, kind: str | None = None) -> Section:
        """First section of a property, optionally of a subset and a kind of metrics ('TensorMetrics', ...)."""
        for section in self.sections:
            kinds = {type(metrics).__name__ for _, metrics in section.rows}
            if (
                section.property_name == property_name
                and subset in (None, section.subset)
                and (kind is None or kind in kinds)
            ):
                return section
        raise UnknownNameError(f"no section for {property_name!r}, {subset!r}, {kind!r} in this evaluation")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able summary, without the predictions."""
        return {
            "model": self.model,
            "split": self.split,
            "fingerprint": self.fingerprint,
            "settings": self.settings,
            "sections": [section.to_dict() for section in self.sections],
            "failures": self.failures,
            "seconds": self.seconds,
            "anchors": [asdict(anchor) for anchor in ANCHORS],
        }

    def card_metrics(self) -> dict[str, Any]:
        """Return what a model card keeps: the figures of the model and the baselines, not of compared models."""
        failed = {dataset: len(messages) for dataset, messages in self.failures.get(self.model, {}).items()}
        return {
            "split": self.split,
            "fingerprint": self.fingerprint,
            "settings": self.settings,
            "without_prediction": failed,
            "sections": [section.to_dict() for section in self._own_sections()],
        }

    def card_table(self) -> str:
        """``card_metrics`` as a Markdown table, one row per predictor and set of crystals."""
        lines = ["| property | data | crystals | predictor | figures |", "|---|---|---|---|---|"]
        for section in self._own_sections():
            for name, metrics in section.rows:
                cells = metrics.cells()
                count = cells.pop("n")
                figures = "; ".join(f"{heading} {value}" for heading, value in cells.items())
                figures = figures.replace("|", "\\|")
                data = f"`{section.dataset}`, {section.subset}"
                lines.append(f"| {section.property_name} | {data} | {count} | {name} | {figures} |")
        for dataset, messages in self.failures.get(self.model, {}).items():
            lines += ["", f"`{dataset}`: {len(messages)} crystals without a prediction (elements not covered)."]
        return "\n".join(lines)

    def _own_sections(self) -> list[Section]:
        return [
            replace(section, rows=tuple(row for row in section.rows if row[0] not in self.comparisons))
            for section in self.sections
            if not section.is_common
        ]

    def tables(self) -> list[Table]:
        """All sections and the anchors as rich tables."""
        anchors = Table(title="anchors (other data or other splits: for orientation)", title_justify="left")
        for heading in ("task", "source", "figure"):
            anchors.add_column(heading)
        for anchor in ANCHORS:
            anchors.add_row(anchor.task, anchor.source, anchor.figure)
        return [*(section.table() for section in self.sections), anchors]


def show(result: Evaluation, console: Console) -> None:
    """Write the tables and what could not be predicted to a console."""
    console.print(f"model {result.model}, split {result.split}, {result.settings}", highlight=False)
    for table in result.tables():
        console.print(table)
    for name, datasets in result.failures.items():
        for dataset, messages in datasets.items():
            first, message = next(iter(messages.items()))
            console.print(f"{name}, {dataset}: {len(messages)} crystals without a prediction, e.g. {first}: {message}")
