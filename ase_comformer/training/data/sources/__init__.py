"""Converters of public originals to the record shape of the data package.

Every converter returns rows: JSON-able dictionaries with ``id``, ``formula`` (pymatgen reduced formula), ``split``
(the rule of ``training.data``), ``lattice`` (rows, A), ``frac``, ``numbers``, the labels of the data set in the
Cartesian frame of ``lattice``, and ``flags``.  Withheld formulas are left out unless asked for, with a log message.
``write_rows`` stores rows where ``training.data.load_records`` finds them; ``to_record`` converts a single row.
"""

from ase_comformer.training.data.sources.common import to_record, write_rows
from ase_comformer.training.data.sources.extxyz import extxyz_rows
from ase_comformer.training.data.sources.jarvis import gmtnet_split, jarvis_rows
from ase_comformer.training.data.sources.matminer import (
    matminer_dielectric_rows,
    matminer_elastic_rows,
    matminer_formation_energy_rows,
    matminer_piezoelectric_rows,
)
from ase_comformer.training.data.sources.phonondb import phonondb_row, phonondb_rows

__all__ = [
    "extxyz_rows",
    "gmtnet_split",
    "jarvis_rows",
    "matminer_dielectric_rows",
    "matminer_elastic_rows",
    "matminer_formation_energy_rows",
    "matminer_piezoelectric_rows",
    "phonondb_row",
    "phonondb_rows",
    "to_record",
    "write_rows",
]
