"""Says where training data come from: source, licence and citation for the model cards."""

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
    "elastic_mp2020": {
        "source": "Materials Project 2020 (PBE stress-strain), dptru10/Electrostrictive_Mining @ b0f74de4",
        "licence": "Materials Project data CC BY 4.0",
        "citation": "M. de Jong et al., Sci. Data 2, 150009 (2015), doi:10.1038/sdata.2015.9",
    },
    "dielectric_total_mp2020": {
        "source": "Materials Project 2020 (PBE DFPT), through dptru10/Electrostrictive_Mining @ b0f74de4",
        "licence": "Materials Project data CC BY 4.0",
        "citation": "I. Petousis et al., Sci. Data 4, 160134 (2017), doi:10.1038/sdata.2016.134",
    },
    "moduli": {
        "source": "bulk and shear moduli of the Materials Project (PBE) in matbench; present-day cells relaxed with "
        "potential-12 (training_data/relax_cells.py)",
        "licence": "matbench MIT; Materials Project data CC BY 4.0",
        "citation": "A. Dunn et al., npj Comput. Mater. 6, 138 (2020), doi:10.1038/s41524-020-00406-3; "
        "M. de Jong et al., Sci. Data 2, 150009 (2015), doi:10.1038/sdata.2015.9",
    },
    "moduli_jarvis": {
        "source": "bulk and shear moduli of JARVIS-DFT (OptB88vdW) through jarvis_leaderboard @ 52d3bf33",
        "licence": "NIST terms of JARVIS-DFT; structures of the Materials Project CC BY 4.0",
        "citation": "K. Choudhary et al., npj Comput. Mater. 6, 173 (2020), doi:10.1038/s41524-020-00440-1",
    },
    "dielectric_petretto": {
        "source": "PBEsol DFPT (ABINIT): dielectric tensors and Born charges, through e3nn-models @ 24b023a8",
        "licence": "MIT",
        "citation": "G. Petretto et al., Sci. Data 5, 180065 (2018), doi:10.1038/sdata.2018.65",
    },
    "dielectric_scalars": {
        "source": "mean permittivities (PBE): re2fractive @ ee2dc4c3, janosh/dielectrics @ f94baa08",
        "licence": "MIT; Materials Project data CC BY 4.0",
        "citation": "F. Naccarato et al., Phys. Rev. Mater. 3, 044602 (2019); "
        "I. Petousis et al., Sci. Data 4, 160134 (2017), doi:10.1038/sdata.2016.134",
    },
    "piezo_modulus_mp": {
        "source": "largest singular values of piezoelectric tensors of the Materials Project (PBE DFPT)",
        "licence": "Materials Project data CC BY 4.0",
        "citation": "M. de Jong et al., Sci. Data 2, 150053 (2015), doi:10.1038/sdata.2015.53",
    },
    "formation_energy_mp2018": {
        "source": "MEGNet table of the Materials Project, 2018.6.1 (PBE): formation energies and band gaps",
        "licence": "Materials Project data CC BY 4.0",
        "citation": "C. Chen et al., Chem. Mater. 31, 3564 (2019), doi:10.1021/acs.chemmater.9b01294; "
        "A. Jain et al., APL Mater. 1, 011002 (2013), doi:10.1063/1.4812323",
    },
    "dfpt_jarvis": {
        "source": "JARVIS-DFT (OptB88vdW DFPT): dielectric tensors and Born charges",
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


def provenance_of(dataset: str) -> dict[str, str]:
    """Return source, licence and citation of a data set."""
    return PROVENANCE.get(dataset, _UNSTATED)
