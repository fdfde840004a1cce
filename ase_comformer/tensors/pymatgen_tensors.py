"""Tensors as objects of pymatgen, which knows elastic and piezoelectric tensors, and square ones such as dielectric.

The index order is that of full Cartesian tensors on both sides, so nothing hangs on Voigt notation; pymatgen's own
Voigt form has the order of this package. Units stay: GPa and C/m^2 are pymatgen's too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ase_comformer.errors import UnknownNameError
from ase_comformer.properties.registry import tensor_property
from ase_comformer.tensors.voigt import voigt_to_cartesian


def to_pymatgen(property_name: str, tensor: Any) -> Any:
    """Tensor in the documented form as the object that pymatgen has for it.

    Args:
        property_name: a tensor of the crystal: dielectric (3, 3), piezoelectric (3, 6) C/m^2, elastic (6, 6) GPa.
        tensor: documented form.

    Returns:
        ``ElasticTensor`` (3, 3, 3, 3), ``PiezoTensor`` (3, 3, 3) or, of rank two, ``SquareTensor`` (3, 3).

    Raises:
        UnknownNameError: pymatgen has no class for it (scalars, tensors of atoms).

    Example:
        >>> elastic = to_pymatgen("elastic_tensor", np.diag([300.0] * 3 + [100.0] * 3))
        >>> type(elastic).__name__, float(elastic[1, 2, 1, 2])
        ('ElasticTensor', 100.0)
    """
    entry = tensor_property(property_name)
    classes = {2: "square", 3: "piezoelectric", 4: "elastic"}
    if entry.per_atom or entry.rank not in classes:
        raise UnknownNameError(
            f"pymatgen has no class for {property_name!r}; it has some for dielectric, piezoelectric and elastic "
            "tensors. Take the array as it is."
        )
    array = np.asarray(tensor, dtype=np.float64)
    full = array if entry.voigt is None else np.asarray(voigt_to_cartesian(array, entry.voigt))
    if entry.rank == 2:
        from pymatgen.core.tensors import SquareTensor

        return SquareTensor(full)
    if entry.rank == 3:
        from pymatgen.analysis.piezo import PiezoTensor

        return PiezoTensor(full)
    from pymatgen.analysis.elasticity.elastic import ElasticTensor

    return ElasticTensor(full)
