"""Irreducible bases of Cartesian tensors by index formula: pinned ones for what is shipped, coupled ones else."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ase_comformer.tensors.coupled_basis import coupled_basis
from ase_comformer.tensors.irreps import harmonic_basis


@lru_cache(maxsize=16)
def cartesian_basis(formula: str) -> np.ndarray:
    """Orthonormal basis (dim_irreps, 3, ..., 3), float64, read-only, of tensors with these index symmetries.

    Order within each formula, with 1 the unit matrix, t[m] the l = 2 basis, P = sum_m t[m] t[m]:

    - "ij=ji" (0e+2e): 1 / sqrt(3); t[m].
    - "ij" (0e+1e+2e): 1 / sqrt(3); epsilon_kij / sqrt(2), the axial vector; t[m].
    - "ijk=ikj" (2x1o+2o+3o): delta_ki delta_ab / sqrt(3), vector times trace; sqrt(3/5) P_kiab, vector in the
      traceless part, positive longitudinal component; the 2o part, eps_iac t[m]_cb + eps_ibc t[m]_ca;
      symmetric traceless.
    - "ijkl=jikl=klij" (2x0e+2x2e+4e): 1 1 / 3 (bulk); P / sqrt(5) (shear); (1 t[m] + t[m] 1) / sqrt(6) (trace
      coupled to shape); sum_np tr(t[m] t[n] t[p]) t[n] t[p], normalised (shape coupled to shape); symmetric
      traceless.
    - any other: ``coupled_basis``.
    """
    unit, shape = np.eye(3), harmonic_basis(2).numpy()
    epsilon = np.zeros((3, 3, 3))
    epsilon[[0, 1, 2], [1, 2, 0], [2, 0, 1]], epsilon[[0, 1, 2], [2, 0, 1], [1, 2, 0]] = 1.0, -1.0
    projector = np.einsum("mij,mkl->ijkl", shape, shape)
    parts: dict[str, list[np.ndarray]] = {
        "": [np.ones((1,))],
        "i": [unit],
        "ij=ji": [unit[None], shape],
        "ij": [unit[None], epsilon, shape],
        "ijk=ikj": [
            np.einsum("ki,ab->kiab", unit, unit),
            projector,
            np.einsum("iac,mcb->miab", epsilon, shape) + np.einsum("ibc,mca->miab", epsilon, shape),
            harmonic_basis(3).numpy(),
        ],
        "ijkl=jikl=klij": [
            np.einsum("ij,kl->ijkl", unit, unit)[None],
            projector[None],
            np.einsum("ij,mkl->mijkl", unit, shape) + np.einsum("mij,kl->mijkl", shape, unit),
            np.einsum("mab,nbc,pca,nij,pkl->mijkl", *[shape] * 5, optimize=True),
            harmonic_basis(4).numpy(),
        ],
    }
    if formula in parts:
        basis = np.concatenate([part / np.linalg.norm(part[0]) for part in parts[formula]])
    else:
        basis = coupled_basis(formula)
    basis.setflags(write=False)
    return basis
