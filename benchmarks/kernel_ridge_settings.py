"""Choose the settings of the kernel ridge baselines by cross-validation; the registry holds the choice.

python benchmarks/kernel_ridge_settings.py elastic_tensor elastic_mp moduli
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Literal

import numpy as np

from ase_comformer.training.data.records import Record, formula_folds, load_records
from ase_comformer.training.evaluation.kernel_ridge import (
    Answer,
    KernelRidge,
    KernelSettings,
    labelled,
    stack_labels,
    targets_of,
)


def choose_settings(
    property_name: str,
    records: Sequence[Record],
    answer: Answer = "value",
    distances: Sequence[Literal["euclidean", "cityblock"]] = ("euclidean", "cityblock"),
    widths: Sequence[float] = (0.02, 0.05, 0.1, 0.3),
    ridges: Sequence[float] = (1e-3, 1e-2, 0.1),
    folds: int = 5,
) -> tuple[KernelSettings, float]:
    """Settings with the smallest cross-validated mean |error| of the fitted numbers, and that error.

    Args:
        property_name: which label.
        records: train and validation records, never test.
        answer: what is fitted.
        distances: kernels to try.
        widths: kernel widths to try.
        ridges: regularisations to try.
        folds: number of folds; all records of a formula share one.
    """
    chosen = labelled(records, property_name)
    targets = targets_of(stack_labels(chosen, property_name), answer)
    held_out = [fold for fold in formula_folds(chosen, folds) if len(fold)]
    start = KernelSettings()
    best: tuple[KernelSettings, float] | None = None
    for distance, width, ridge in product(distances, widths, ridges):
        settings = replace(start, distance=distance, width=width, ridge=ridge)
        total = 0.0
        for fold in held_out:
            keep = np.setdiff1d(np.arange(len(chosen)), fold)
            model = KernelRidge.fit(property_name, [chosen[index] for index in keep], settings, answer)
            predicted = model.predict_targets([chosen[index] for index in fold])
            total += float(np.abs(predicted - targets[fold]).mean(axis=1).sum())
        if best is None or total / len(chosen) < best[1]:
            best = (settings, total / len(chosen))
    assert best is not None
    return best


if __name__ == "__main__":
    name, dataset, fitted = sys.argv[1:]
    settings, error = choose_settings(name, load_records(dataset, None, ("train", "val"))[:1500], fitted)  # type: ignore[arg-type]
    print(settings, f"mean |error| of the fitted numbers {error:.4f}")
