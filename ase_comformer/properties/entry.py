"""``TensorProperty``: the one declaration of a physical quantity, read by everything else in the package."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ase_comformer.errors import check_choice
from ase_comformer.properties.formula import index_permutations, irreps_of, rank_of
from ase_comformer.properties.lazy import Lazy
from ase_comformer.properties.voigt_kinds import VOIGT_KINDS

Route = Literal["head", "potential", "calibration"]
ROUTES: tuple[Route, ...] = ("head", "potential", "calibration")
#: Ending of the names of error bars.
UNCERTAINTY = "_uncertainty"
#: Structures of which a property may be undefined; a tensor per volume means nothing for a slab in a vacuum box.
STRUCTURES = ("metals", "slabs", "molecules")

# What a declaration that leaves them out gets: they serve any tensor.
_HEAD = Lazy("ase_comformer.nn.heads.generic:GenericHead")
_METRICS = (Lazy("ase_comformer.training.evaluation.measures:tensor_errors"),)
_BASELINES = (
    Lazy("ase_comformer.training.evaluation.baselines:zero"),
    Lazy("ase_comformer.training.evaluation.baselines:constant_median"),
)


@dataclass(frozen=True)
class DerivedLabel:
    """A label that is compared with something computed from the prediction of a property, such as a modulus.

    Attributes:
        name: under which a training configuration asks for it.
        loss: ``(predictions (r, ...), labels (r, ...)) -> (r,)``.
        extras: numbers among the extras of a record that make the label; empty: the label of the property itself.
        above: records with a number that is not above it lack the label.
        numbers: ``(tensors (N, ...)) -> (N, k)``, what evaluation compares with the extras; None: it does not.
        names: of these numbers in tables.
    """

    name: str
    loss: Lazy
    extras: tuple[str, ...] = ()
    above: float = 1.0
    numbers: Lazy | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelledSet:
    """A part of a data set on which a property is evaluated.

    Attributes:
        dataset: name of the data set.
        title: what the table calls the part.
        without_flags: records with a flag that starts so are left out.
        cells: functional of the structures; all where empty.
        label: name of a derived label, whose numbers are compared; the tensor itself where empty.
    """

    dataset: str
    title: str = "all records"
    without_flags: tuple[str, ...] = ()
    cells: str = ""
    label: str = ""


@dataclass(frozen=True)
class TensorProperty:
    """One physical quantity: a tensor of any rank, a scalar being a tensor of rank 0.

    Only the first five fields have no default; what they leave open is chosen for a crystal tensor that a network
    predicts with a generic head. ``docs/add_a_tensor.md`` walks through an example.

    Attributes:
        name: public name.
        symbol: short name, prefix of component labels ("C" gives "C11").
        formula: index symmetry, see ``properties.formula``.
        unit: of the documented form.
        description: what it is, in a few words.
        voigt: documented form, a key of ``VOIGT_KINDS``; the full Cartesian tensor where None.
        is_axial: whether the tensor changes sign under improper rotations beyond what its indices say.
        per_atom: whether every atom has one.
        kind: which of several quantities of that name, e.g. "clamped-ion" or "relaxed-ion, fixed field".
        functional: of the labels that predictions follow.
        functionals: the choices of ``predict(functional=...)``, ``functional`` among them; no choice where empty.
        has_one_functional: whether all labels follow ``functional``, whatever a record says.
        sum_rule: whether the tensors of all atoms sum to zero.
        sign_is_open: whether labels fix the tensor only up to its sign.
        has_readings: whether records may list alternatives of a label, of which any one may be right.
        spans_decades: whether components are positive and figures show them on logarithmic axes.
        undefined_for: among ``STRUCTURES``.
        uncertainty: how its expected error is known; empty where it is not.
        route: "head" of a network on crystals, "potential" where the energy surface gives it, or "calibration" for
            the error bar of another property.
        responds_to: what the atoms follow where the linear response of the crystal (``physics.response``) gives it
            too, "field", "strain" or "both"; empty where only a head does.
        is_auxiliary: whether it only teaches networks and is offered by no model.
        built_on: properties that the head reads, predicted before it.
        head: ``(widths, ...) -> nn.Module``, see ``nn.heads``; for "potential" None.
        scale: typical size of the tensor (Frobenius norm) in ``unit``; heads start there and losses are relative to it.
        loss: ``(predictions (r, ...), labels (r, ...)) -> (r,)``; error relative to label and ``scale`` where None.
        derived_labels: further labels.
        extra: name of the extra of a record that holds the label where it is not among the labels.
        unfit_flags: beginnings of flags that make a label unfit for training.
        evaluated_on: parts of data sets; empty: all records of every data set that has the label.
        metrics: ``(entry, records, predictions) -> Metrics``, one table each.
        baselines: ``(entry, records) -> baseline``, with a name and ``predict(records)``.
    """

    name: str
    symbol: str
    formula: str
    unit: str
    description: str
    voigt: str | None = None
    is_axial: bool = False
    per_atom: bool = False
    kind: str = ""
    functional: str = "PBE"
    functionals: tuple[str, ...] = ()
    has_one_functional: bool = False
    sum_rule: bool = False
    sign_is_open: bool = False
    has_readings: bool = False
    spans_decades: bool = False
    undefined_for: tuple[str, ...] = ()
    uncertainty: str = ""
    route: Route = "head"
    responds_to: Literal["", "field", "strain", "both"] = ""
    is_auxiliary: bool = False
    built_on: tuple[str, ...] = ()
    head: Lazy | None = _HEAD
    scale: float = 1.0
    loss: Lazy | None = None
    derived_labels: tuple[DerivedLabel, ...] = ()
    extra: str = ""
    unfit_flags: tuple[str, ...] = ()
    evaluated_on: tuple[LabelledSet, ...] = ()
    metrics: tuple[Lazy, ...] = _METRICS
    baselines: tuple[Lazy, ...] = _BASELINES

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"property name {self.name!r}: use letters, digits and underscores")
        check_choice(self.route, ROUTES, f"route of {self.name}")
        for structure in self.undefined_for:
            check_choice(structure, STRUCTURES, f"structure of which {self.name} is undefined")
        permutations = {order for sign, order in index_permutations(self.formula) if sign > 0}
        if self.voigt is not None:
            vectors, axes, _ = VOIGT_KINDS[check_choice(self.voigt, VOIGT_KINDS, f"Voigt form of {self.name}")]
            if vectors + 2 * axes != self.rank:
                count = vectors + 2 * axes
                raise ValueError(
                    f"{self.name}: the form {self.voigt!r} has {count} indices, {self.formula!r} {self.rank}"
                )
            for first in range(vectors, self.rank, 2):
                order = list(range(self.rank))
                order[first], order[first + 1] = first + 1, first
                if tuple(order) not in permutations:
                    letters = self.formula.split("=")[0]
                    raise ValueError(
                        f"{self.name}: the form {self.voigt!r} needs {letters} = {''.join(letters[k] for k in order)}, "
                        f"which {self.formula!r} does not say; leave voigt out for the full tensor"
                    )

    def functional_of(self, asked: str) -> str:
        """The functional that a prediction follows where ``asked`` (empty: the usual one) is asked for."""
        return asked if asked in self.functionals else self.functional

    @property
    def has_response(self) -> bool:
        """Whether the linear response of the crystal gives it too."""
        return bool(self.responds_to)

    @cached_property
    def error_bar(self) -> TensorProperty:
        """The property that says how far a prediction is expected to be off, ``NAME_uncertainty``."""
        whose = "of each atom's tensor" if self.per_atom else "of the documented array" if self.rank else "of the value"
        norm = "error" if self.rank == 0 else f"Frobenius norm of the error {whose}"
        return TensorProperty(
            name=self.name + UNCERTAINTY,
            symbol=f"d{self.symbol}",
            formula="",
            per_atom=self.per_atom,
            unit=self.unit,
            description=f"{norm} that 68 % of errors against DFT labels ({self.functional}) stay below: {self.name}",
            kind="calibrated error bar",
            functional=self.functional,
            route="calibration",
            head=None,
            metrics=(),
            baselines=(),
        )

    @cached_property
    def rank(self) -> int:
        """Number of Cartesian indices."""
        return rank_of(self.formula)

    @cached_property
    def irreps(self) -> str:
        """O(3) content in e3nn's notation, e.g. "2x1o+2o+3o"."""
        return irreps_of(self.formula, self.is_axial)

    @cached_property
    def cartesian_shape(self) -> tuple[int, ...]:
        """Shape of the full Cartesian tensor."""
        return (3,) * self.rank

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of one tensor in the documented form, without the axis of atoms."""
        if self.voigt is None:
            return self.cartesian_shape
        vectors, axes, _ = VOIGT_KINDS[self.voigt]
        return (3,) * vectors + (6,) * axes

    @cached_property
    def parity(self) -> int:
        """Sign under inversion: (-1)**rank for polar tensors, the opposite for axial ones."""
        return (-1 if self.rank % 2 else 1) * (-1 if self.is_axial else 1)

    @cached_property
    def training_loss(self) -> Lazy:
        """The loss, also where the declaration leaves it out."""
        if self.loss is not None:
            return self.loss
        return Lazy("ase_comformer.training.tasks.losses:scaled_tensor_loss", {"scale": self.scale})
