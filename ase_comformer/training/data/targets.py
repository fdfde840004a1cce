"""The labels of a batch, as losses read them."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Targets:
    """Labels of a batch: for each label the crystals (or atoms) that have it, and the values.

    Attributes:
        rows: label -> (r,) index of crystal (of atom for per-atom properties) in the batch.
        values: label -> (r, ...) documented form; with readings (r, K, ...), the first repeated as filler.
        crystal_of_row: per-atom label -> (r,) crystal of each row.
    """

    rows: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, Tensor] = field(default_factory=dict)
    crystal_of_row: dict[str, Tensor] = field(default_factory=dict)
