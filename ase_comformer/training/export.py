"""A finished run -> ``weights/NAME``: parameters, JSON and model card, with what the licence of the data asks for.

A run may be exported several times with fewer properties each, because heads overfit at different epochs: the
best averaged weights by the run's criterion (``best``) or the averaged weights of the last epoch (``last``).
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from safetensors.torch import load_file
from torch import Tensor, nn

from ase_comformer.errors import UnknownNameError
from ase_comformer.models.registry import save_weights
from ase_comformer.nn import ARCHITECTURES
from ase_comformer.nn.architectures.potential import Potential
from ase_comformer.properties.registry import tensor_property
from ase_comformer.training.config import TrainingConfig
from ase_comformer.training.data.frames import join, load_frames
from ase_comformer.training.data.records import Record
from ase_comformer.training.data.samples import is_labelled, select_records
from ase_comformer.training.engines.trainer import initial_network
from ase_comformer.training.evaluation.calibration import fit_uncertainty

logger = logging.getLogger(__name__)

CHECKPOINTS = ("best", "last")
#: What a card says of a data set of one's own.
_UNSTATED = {"source": "not stated", "licence": "not stated", "citation": "not stated"}

#: Source, licence and citation of every data set (the data package's README, table "Provenance").
PROVENANCE: dict[str, dict[str, str]] = {
    "dielectric_born": {
        "source": "Kyoto phonon database, release 2018-04-17 (PBEsol DFPT); bulk and shear moduli joined from matbench",
        "licence": "CC BY 4.0; matbench MIT, Materials Project data CC BY 4.0",
        "citation": "A. Togo, I. Tanaka, Scr. Mater. 108, 1 (2015), doi:10.1016/j.scriptamat.2015.07.021; "
        "A. Jain et al., APL Mater. 1, 011002 (2013), doi:10.1063/1.4812323; "
        "A. Dunn et al., npj Comput. Mater. 6, 138 (2020), "
        "doi:10.1038/s41524-020-00406-3",
    },
    "dielectric_mp": {
        "source": "matminer 0.3.9 dielectric_constant.csv (PBE DFPT)",
        "licence": "matminer BSD-style (LBNL); article CC BY 4.0",
        "citation": "I. Petousis et al., Sci. Data 4, 160134 (2017), doi:10.1038/sdata.2016.134",
    },
    "piezo_mp": {
        "source": "matminer 0.3.9 piezoelectric_tensor.csv (PBE DFPT)",
        "licence": "matminer BSD-style (LBNL); article CC BY 4.0",
        "citation": "M. de Jong et al., Sci. Data 2, 150053 (2015), doi:10.1038/sdata.2015.53",
    },
    "dielectric_mpdfpt": {
        "source": "Materials Project DFPT (PBE): dielectric tensors, Born charges, clamped-ion piezoelectric tensors",
        "licence": "Materials Project data CC BY 4.0, as collected beside arXiv:2508.17870",
        "citation": "I. Petousis et al., Sci. Data 4, 160134 (2017), doi:10.1038/sdata.2016.134; arXiv:2508.17870",
    },
    "piezo_clamped_jarvis": {
        "source": "JARVIS-DFT clamped-ion piezoelectric tensors (OptB88vdW DFPT)",
        "licence": "NIST terms of JARVIS-DFT",
        "citation": "K. Choudhary et al., npj Comput. Mater. 6, 64 (2020), doi:10.1038/s41524-020-0337-2",
    },
    "elastic_mp": {
        "source": "matminer 0.3.9 elastic_tensor.csv (PBE stress-strain)",
        "licence": "matminer BSD-style (LBNL); article CC BY 4.0",
        "citation": "M. de Jong et al., Sci. Data 2, 150009 (2015), doi:10.1038/sdata.2015.9",
    },
    "labelled": {
        "source": "labels of the universal potential Nequix nequix-oam-1 (PBE with Hubbard U as in the Materials "
        "Project; trained on OMat24, sAlex, MPtrj) for distorted crystals of the phonon database and of matminer",
        "licence": "labelling code and weights MIT; structures CC BY 4.0 and BSD-style (matminer)",
        "citation": "Nequix, arXiv:2508.16067; A. Togo, I. Tanaka, Scr. Mater. 108, 1 (2015)",
    },
    "dft": {
        "source": "github microsoft/mattersim data/benchmarks: subsets of MPtrj, Alexandria and of sampling at high "
        "temperature and pressure (PBE, PBE+U)",
        "licence": "MIT",
        "citation": "H. Yang et al., arXiv:2405.04967; B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), "
        "doi:10.1038/s42256-023-00716-3; J. Schmidt et al., Adv. Mater. 35, 2210788 (2023), "
        "doi:10.1002/adma.202210788",
    },
    "harmonic": {
        "source": "harmonic forces derived from the Kyoto phonon database, release 2018-04-17 (PBEsol)",
        "licence": "CC BY 4.0",
        "citation": "A. Togo, I. Tanaka, Scr. Mater. 108, 1 (2015), doi:10.1016/j.scriptamat.2015.07.021",
    },
    "response": {
        "source": "harmonic forces of small opposite displacements from the Kyoto phonon database, release 2018-04-17 "
        "(PBEsol); from potential-8 on the crystals at rest too, where PBE has forces that are taken for zero; from "
        "potential-9 on the polarisation of the displacements, from the Born charges of the same database",
        "licence": "CC BY 4.0",
        "citation": "A. Togo, I. Tanaka, Scr. Mater. 108, 1 (2015), doi:10.1016/j.scriptamat.2015.07.021",
    },
    "substituted": {
        "source": "labels of the same universal potential for hypothetical crystals, made by chemical substitution in "
        "those (training_data/make_frames.py)",
        "licence": "labelling code and weights MIT; prototypes CC BY 4.0 and BSD-style (matminer)",
        "citation": "Nequix, arXiv:2508.16067",
    },
    "strained": {
        "source": "labels of the same universal potential for training crystals of all of these sets, and for "
        "hypothetical metals, alloys, molecules in boxes and substituted crystals, under small strains "
        "(training_data/make_frames.py)",
        "licence": "labelling code and weights MIT; structures CC BY 4.0 and BSD-style (matminer)",
        "citation": "Nequix, arXiv:2508.16067",
    },
    "varied": {
        "source": "labels of the same universal potential for slabs, defects, clusters, hot and expanded crystals made "
        "of the labelled ones, and for molecules of the G2 set (training_data/varied.py)",
        "licence": "labelling code and weights MIT; structures CC BY 4.0 and BSD-style (matminer), G2 set from ASE",
        "citation": "Nequix, arXiv:2508.16067; L. A. Curtiss et al., J. Chem. Phys. 106, 1063 (1997), "
        "doi:10.1063/1.473182",
    },
    "weak": {
        "source": "labels of the same universal potential for elements and their defects, surfaces, adsorbates, "
        "liquids, covalent, layered, compressed and hot crystals, molecules, hops (training_data/weak.py)",
        "licence": "labelling code and weights MIT; structures from ASE, CC BY 4.0 and BSD-style (matminer, matcalc)",
        "citation": "Nequix, arXiv:2508.16067",
    },
    "dimers": {
        "source": "spin-polarised PBE curves of dimers of one element (matbench-discovery), above isolated atoms of "
        "MatPES; energies of isolated atoms from cohesive energies of MatPES (training/data/isolated.py)",
        "licence": "matbench-discovery MIT; MatPES BSD-3",
        "citation": "J. Riebesell et al., Nat. Mach. Intell. 7, 836 (2025), doi:10.1038/s42256-025-01055-1; "
        "MatPES, arXiv:2503.04070",
    },
    "apart": {
        "source": "pairs of large atoms (alkali, alkaline-earth metals, Eu, Yb) more than 6.4 A apart, made here: the "
        "energy is that of isolated atoms (training/data/isolated.py)",
        "licence": "none needed; energies of isolated atoms from MatPES, BSD-3",
        "citation": "MatPES, arXiv:2503.04070",
    },
    "polymorphs": {
        "source": "PBE energies of relaxed polymorphs of the elements (Materials Project, through matcalc)",
        "licence": "matcalc BSD-3; Materials Project CC BY 4.0",
        "citation": "A. Jain et al., APL Mater. 1, 011002 (2013), doi:10.1063/1.4812323",
    },
    "elastic": {
        "source": "stresses of small strains from the elastic constants of matminer 0.3.9 elastic_tensor.csv (PBE "
        "stress-strain), atoms relaxed with the previous potential (training_data/make_elastic.py)",
        "licence": "matminer BSD-style (LBNL); article CC BY 4.0",
        "citation": "M. de Jong et al., Sci. Data 2, 150009 (2015), doi:10.1038/sdata.2015.9",
    },
    "rest": {
        "source": "crystals of the Kyoto phonon database, release 2018-04-17 (PBEsol), at rest: their forces are zero",
        "licence": "CC BY 4.0",
        "citation": "A. Togo, I. Tanaka, Scr. Mater. 108, 1 (2015), doi:10.1016/j.scriptamat.2015.07.021",
    },
    "formation_energy": {
        "source": "matminer 0.3.9 flla_2015.csv; Kyoto phonon database structures with Materials Project energies",
        "licence": "matminer BSD-style (LBNL); Materials Project data and phonon database CC BY 4.0; matbench MIT",
        "citation": "F. Faber et al., Int. J. Quantum Chem. 115, 1094 (2015), doi:10.1002/qua.24917; "
        "A. Togo, I. Tanaka, Scr. Mater. 108, 1 (2015); "
        "A. Dunn et al., npj Comput. Mater. 6, 138 (2020); A. Jain et al., APL Mater. 1, "
        "011002 (2013)",
    },
}


def run(
    run_directory: Path,
    weights: Path,
    name: str | None = None,
    *,
    checkpoint: str = "best",
    properties: Sequence[str] | None = None,
    data: Path | None = None,
) -> Path:
    """Export a run.

    Args:
        run_directory: ``OUTPUT/NAME`` of the training run, with ``config.toml`` inside.
        weights: folder to write to.
        name: of the weights; that of the run where None.
        checkpoint: ``"best"`` or ``"last"``.
        properties: heads to keep; all where None.
        data: folder of the data package, for the elements covered.

    Returns:
        Path of ``NAME.json``, whose ``metrics`` are empty: ``ase-comformer evaluate NAME --record`` fills them.

    Raises:
        UnknownNameError: unknown checkpoint or property.
    """
    if checkpoint not in CHECKPOINTS:
        raise UnknownNameError(f"checkpoint {checkpoint!r} is unknown; choose one of {', '.join(CHECKPOINTS)}")
    config = TrainingConfig.read(run_directory / "config.toml")
    network, facts = trained_network(run_directory, config, checkpoint, properties)
    kept: tuple[str, ...] = network.properties  # type: ignore[assignment]
    if isinstance(network, Potential):
        training, validation = (load_frames("labelled", [split], data) for split in ("train", "val"))
        other = [load_frames(s, ["train"], data) for s in ("varied", "weak") if s in config.datasets]
        varied = join(other) if other else None
        fit_uncertainty(network, training, validation, varied)
    name = name or config.name
    fields: dict[str, Any] = {
        "properties": {
            prop: {
                "elements": _elements(config, prop, data),
                "functional": tensor_property(prop).functional,
                **_choices(config, prop, data),
                "kind": tensor_property(prop).description,
            }
            for prop in kept
        },
        "training": {
            "config": config.name,
            "datasets": config.datasets,
            "splits": config.splits,
            "epoch": facts["epoch"],
            "checkpoint": checkpoint,
            "initial": config.initial,
            "initial_share": config.initial_share,
            "notes": config.notes,
            "validation_loss": facts.get("validation_loss", {}),
            "provenance": {dataset: provenance_of(dataset) for dataset in config.datasets},
        },
        "metrics": {},
    }
    fields["card"] = _card(name, config, fields, sum(value.numel() for value in network.parameters()))
    return save_weights(network, weights, name, fields)


def provenance_of(dataset: str) -> dict[str, str]:
    """Return source, licence and citation of a data set."""
    return PROVENANCE.get(dataset, _UNSTATED)


def trained_network(
    run_directory: Path, config: TrainingConfig, checkpoint: str, properties: Sequence[str] | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """The averaged weights of a run and what was written beside them; arguments as in ``run``.

    ``config.initial_share`` of the parameters the run started from is mixed in: between the two the network keeps most
    of what each is better at (M. Wortsman et al., Robust fine-tuning, CVPR 2022, eq. 1).
    """
    if checkpoint == "best":
        facts = json.loads((run_directory / "best.json").read_text(encoding="utf-8"))
        state = load_file(run_directory / "best.safetensors")
    else:
        facts = json.loads((run_directory / "checkpoint.json").read_text(encoding="utf-8"))
        prefix = "average."
        stored = load_file(run_directory / "checkpoint.safetensors")
        state = {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)}
    arguments = dict(config.arguments)
    if properties is not None:
        arguments["properties"] = list(properties)
    network = ARCHITECTURES[config.architecture](**arguments)
    own = network.state_dict()
    if config.initial_share:
        initial = dict(initial_network(config).named_parameters())  # what training sets stays as the run set it
        state |= {key: _between(state[key], value, config.initial_share) for key, value in initial.items()}
    network.load_state_dict({key: value for key, value in state.items() if key in own})
    return network.eval(), facts


def _between(trained: Tensor, initial: Tensor, share: float) -> Tensor:
    return torch.lerp(trained.double(), initial.double(), share).to(trained.dtype)


def _elements(config: TrainingConfig, prop: str, data: Path | None) -> list[str]:
    """Symbols that occur in training crystals that teach ``prop``."""
    if config.architecture == "Potential":  # the surface that users get follows the labelled frames
        frames = load_frames("labelled", config.splits, data)
        return [chemical_symbols[number] for number in np.unique(frames.numbers)]
    numbers: set[int] = set()
    for record in _teaching(config, prop, data):
        numbers.update(torch.as_tensor(record.atoms.numbers).tolist())
    return [chemical_symbols[number] for number in sorted(numbers)]


def _choices(config: TrainingConfig, prop: str, data: Path | None) -> dict[str, list[str]]:
    """The functionals that predictions of ``prop`` can follow, where the training data had labels of them."""
    choices = tensor_property(prop).functionals
    if not choices:
        return {}
    known = {record.extras["functional"] for record in _teaching(config, prop, data) if prop in record.labels}
    return {"functionals": [each for each in choices if each in known]}


def _teaching(config: TrainingConfig, prop: str, data: Path | None) -> list[Record]:
    asked = [prop, *(label.name for label in tensor_property(prop).derived_labels if label.name in config.properties)]
    records, _ = select_records(config.datasets, config.splits, asked, folder=data, max_atoms=config.max_atoms)
    return [record for record in records if is_labelled(record, prop)]


def _card(name: str, config: TrainingConfig, fields: Mapping[str, Any], parameters: int) -> str:
    rows = "\n".join(
        f"| {prop} | {tensor_property(prop).unit or '-'} | {entry['functional']} | {len(entry['elements'])} "
        f"| {entry['kind']} |"
        for prop, entry in fields["properties"].items()
    )
    sources = "\n".join(
        f"- `{dataset}`: {source['source']}. Licence: {source['licence']}. Cite: {source['citation']}."
        for dataset, source in fields["training"]["provenance"].items()
    )
    origin = fields["training"]
    history = f"{config.notes.strip()}\n\n" if config.notes else ""
    mixed = f"; {config.initial_share:.0%} of each parameter from `{config.initial}`" if config.initial_share else ""
    return f"""# {name}

{config.architecture}, {parameters:,} parameters, trained on the {"+".join(config.splits)} split with
`ase-comformer train ase_comformer/training/configs/{config.name}.toml`
(averaged weights, {origin["checkpoint"]} checkpoint, epoch {origin["epoch"]}{mixed}).

{history}| property | unit | functional | elements | what it is |
|---|---|---|---|---|
{rows}

## Data

{sources}

Formulas of the val, test and withheld parts of the split (SHA-256, `training/data/records.py`) were not trained on;
choices were made on val. Not covered: magnetic order, spin-orbit coupling, Hubbard U (dielectric and Born
charges), elements that are not listed in `{name}.json`.
"""
