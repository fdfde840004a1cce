"""Structures and tensors from the output files of first-principles programs, in the conventions of this package.

>>> from ase_comformer.first_principles import read_tensors
"""

from ase_comformer.first_principles.files import format_of, read_tensors
from ase_comformer.first_principles.parsed import FirstPrinciplesTensors

__all__ = ["FirstPrinciplesTensors", "format_of", "read_tensors"]
