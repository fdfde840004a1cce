"""The README's figure, predicted against DFT on the test split: ``python -m benchmarks.accuracy_figure``.

Predictions of the heads. Piezoelectric readings are the admissible one nearest to the prediction, as in the tables;
records with a flag on their dielectric tensors are left out.
"""

import argparse
from pathlib import Path

import numpy as np

from ase_comformer import predict
from ase_comformer.plotting.parity import parity_figure
from ase_comformer.training.data.records import Record, load_records

DATASETS = {
    "dielectric_tensor": "dielectric_born",
    "static_dielectric_tensor": "dielectric_born",
    "born_effective_charges": "dielectric_born",
    "piezoelectric_tensor": "piezo_mp",
    "elastic_tensor": "elastic_mp",
    "formation_energy": "formation_energy",
}


def label_of(record: Record, name: str, predicted: np.ndarray) -> np.ndarray:
    """The label, or of several admissible readings the nearest."""
    label = np.asarray(record.labels[name])
    if name != "piezoelectric_tensor" or not record.extras["ambiguous"]:
        return label
    readings = np.concatenate([label[None], record.extras["alternatives"]])
    return readings[np.argmin(np.linalg.norm((readings - predicted).reshape(len(readings), -1), axis=1))]


def entries(record: Record, name: str, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label and prediction as flat arrays: diagonals of 3x3 tensors, everything else whole."""
    known = label_of(record, name, predicted)
    if name.endswith("dielectric_tensor"):
        return np.diag(known), np.diag(predicted)
    return known.ravel(), np.asarray(predicted).ravel()


def main() -> None:
    """Evaluate the default model on test and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    parser.add_argument("--output", type=Path, default=Path("docs/accuracy.png"))
    given = parser.parse_args()
    points = {}
    for dataset in dict.fromkeys(DATASETS.values()):
        names = [name for name, of in DATASETS.items() if of == dataset]
        records = [
            record
            for record in load_records(dataset, splits=("test",))
            if not any(flag.startswith("eps_") for flag in record.flags)
        ]
        results = predict([record.atoms for record in records], names, model=given.model)
        for name in names:
            pairs = [
                entries(record, name, np.asarray(result[name]))
                for record, result in zip(records, results, strict=True)
                if name in result and name in record.labels
            ]
            points[name] = tuple(np.concatenate(side) for side in zip(*pairs, strict=True))
    points = {name: points[name] for name in DATASETS}
    parity_figure(points, given.output)


if __name__ == "__main__":
    main()
