# %% [markdown]
# # Symmetry, layer by layer
#
# Why is a predicted tensor exactly zero where a crystal forbids it, though nobody told the network? Because every layer
# keeps what the space group asks for: equivalent atoms have features that the operation between them carries into each
# other, their mean keeps only what the point group allows, and the tensor that is read off it obeys Neumann's principle
# (Yan et al., ICML 2024). Here each of these is looked at on quartz, with the shipped network; `python -m
# benchmarks.symmetry_by_layer` measures it for every network of this package and for those it is compared with.

# %%
import tempfile
from pathlib import Path

import numpy as np
import torch
from ase.spacegroup import crystal

from ase_comformer.crystals.neighbour_search import pairs_within
from ase_comformer.crystals.space_group import analyse_space_group
from ase_comformer.graphs.building import build_graph
from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.models.registry import load_model
from ase_comformer.nn.architectures.comformer import IComFormer
from ase_comformer.plotting.crystal_graphs import crystal_graph_figure, lattice_frame_figure, view
from ase_comformer.plotting.style import MAGNITUDE_MAP, new_figure, saved, styled
from ase_comformer.plotting.tensor_maps import TensorComparison, tensor_map_figure
from ase_comformer.tensors.forbidden import forbidden_entries
from ase_comformer.tensors.irreps import representation
from ase_comformer.tensors.reynolds import project

PICTURES = Path(tempfile.mkdtemp())
quartz = crystal(
    ["Si", "O"], [(0.4697, 0, 2 / 3), (0.4135, 0.2669, 0.7858)], spacegroup=154,
    cellpar=[4.916, 4.916, 5.405, 90, 90, 120],
)  # fmt: skip
group = analyse_space_group(quartz)
atoms = group.primitive
print(f"{group.international}: {group.order} operations, {len(atoms)} atoms, {len(group.representatives)} of them free")

# %% [markdown]
# ## Atoms
# The features of every atom after the last layer of the trunk: numbers, vectors and traceless symmetric tensors.

# %%
network = load_model("default", dtype="float64").entries("elastic_tensor")[0]
graph = build_graph(atoms, network.graph_settings)
with torch.no_grad():
    node = network.trunk(graph, network.trunk.edge_geometry(graph))
scalars, vectors, tensors = node.scalars.numpy(), node.vectors.numpy(), node.tensors.numpy()


def largest_violation(features, irreps, group=group):
    """Of D(g) f_i = f_g(i), over operations and atoms, relative to the largest; features (components, atoms, C)."""
    worst = 0.0
    for rotation, permutation in zip(group.rotations, group.permutations, strict=True):
        turned = np.einsum("xy,yac->xac", representation(irreps, rotation), features)
        worst = max(worst, np.abs(turned - features[:, permutation]).max())
    return worst / np.abs(features).max()


of_atoms = {
    "numbers": largest_violation(scalars[None], "0e"),
    "vectors": largest_violation(vectors, "1o"),
    "tensors": largest_violation(tensors, "2e"),
}
print("largest violation by atoms:", {name: f"{value:.0e}" for name, value in of_atoms.items()})

# %% [markdown]
# A picture of it. Left: the first numbers of all atoms; rows of equivalent atoms (three Si, six O) are the same. Right:
# one vector per atom, seen along c; the threefold axis carries them into each other.

# %%
with styled():
    figure, axes = new_figure(1, 2, width=7.0, height=3.0)
    axes[0, 0].imshow(scalars[:, :24], cmap=MAGNITUDE_MAP, aspect="auto")
    axes[0, 0].set_yticks(range(len(atoms)), atoms.get_chemical_symbols())
    axes[0, 0].set_xlabel("feature")
    place, arrows = view(atoms.positions, 0.0, 90.0), view(vectors[:, :, 0].T, 0.0, 90.0)
    axes[0, 1].quiver(place[:, 0], place[:, 1], arrows[:, 0], arrows[:, 1], angles="xy")
    axes[0, 1].scatter(place[:, 0], place[:, 1], c=atoms.numbers, s=40)
    axes[0, 1].set_aspect("equal")
    axes[0, 1].set(xlabel="along the page (Å)", ylabel="(Å)")
    saved(figure, PICTURES / "atoms.png")

# %% [markdown]
# ## The crystal
# The mean over the atoms is what the point group leaves: of a vector nothing (three two-fold axes forbid a
# polarisation), of a symmetric traceless tensor one component, along c.

# %%
mean_vector, mean_tensor = vectors.mean(axis=1), tensors.mean(axis=1)
size = np.linalg.norm(mean_tensor)
print("largest component of the mean vector", np.abs(mean_vector).max(), " of a vector", np.abs(vectors).max())
changes = [representation("2e", rotation) @ mean_tensor - mean_tensor for rotation in group.rotations]
print("largest change of the mean tensor by an operation:", np.abs(changes).max() / size)

# %% [markdown]
# ## The output
# Neumann's principle: the piezoelectric tensor of class 32 has two free numbers, e11 and e14. The raw answer has the
# form already; the average over the group (`project`, what `enforce_symmetry=True` does) changes nothing.

# %%
with torch.no_grad():
    (with_piezo, *_) = load_model("default", dtype="float64").entries("piezoelectric_tensor")
    raw = with_piezo(build_graph(atoms, with_piezo.graph_settings), ("piezoelectric_tensor",))
raw = raw["piezoelectric_tensor"][0].numpy()
projected = project("piezoelectric_tensor", raw, group)
forbidden = forbidden_entries("piezoelectric_tensor", group)
print("forbidden entries", forbidden.sum(), " largest of them", np.abs(raw[forbidden]).max())
tensor_map_figure(
    [TensorComparison("quartz, class 32, C/m²", projected, raw, forbidden)],
    PICTURES / "neumann.png",
    reference_label="projected",
    predicted_label="raw",
    width=4.5,
)

# %% [markdown]
# ## Where it can go wrong: the graph
# Symmetry comes from the graph. If the nearest twelve neighbours are taken and a shell of equal distances is cut, which
# of them stay is up to rounding: equivalent atoms have different neighbours, and no layer can mend that. Graphs here
# keep shells whole. In a cubic perovskite the twelfth neighbour of titanium is one of eight strontium atoms:

# %%
perovskite = analyse_space_group(
    crystal(
        ["Sr", "Ti", "O"], [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)], spacegroup=221, cellpar=[3.905] * 3 + [90] * 3
    )
)


def violation_on(chosen):
    """The violation by traceless tensors of atoms of the perovskite, on a graph of some of the edges."""
    edges = (pairs.receiver[chosen], pairs.sender[chosen], pairs.image[chosen], pairs.vector[chosen])
    part = build_graph(perovskite.primitive, network.graph_settings, edges=edges)
    with torch.no_grad():
        found = network.trunk(part, network.trunk.edge_geometry(part))
    return largest_violation(found.tensors.numpy(), "2e", perovskite)


pairs = pairs_within(perovskite.primitive, network.graph_settings.cutoff)
order = np.lexsort((pairs.distance, pairs.receiver))
rank = np.arange(len(order)) - np.searchsorted(pairs.receiver[order], pairs.receiver[order])
of_cut, of_whole = violation_on(order[rank < 12]), violation_on(order)
print(f"violation with twelve neighbours {of_cut:.0e}, with whole shells {of_whole:.0e}")

# %% [markdown]
# A whole graph, and what symmetry leaves of it: in rutile two nodes and four edges stand for 24 edges.

# %%
rutile = analyse_space_group(
    crystal(["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.59, 4.59, 2.96, 90, 90, 90])
)
crystal_graph_figure(rutile, 2.1, PICTURES / "graph.png")

# %% [markdown]
# ## ... and the lattice frame
# iComFormer measures the angles of edges with three lattice vectors. The published rule takes right-handed triples: a
# crystal and its mirror image then differ, and so do atoms that only an inversion relates. With both hands in the
# average they do not. Random weights; a triclinic crystal, whose only operation is the inversion.

# %%
centred = analyse_space_group(
    crystal(["Mg", "O"], [(0, 0, 0), (0.27, 0.33, 0.21)], spacegroup=2, cellpar=[3.8, 4.2, 4.9, 81, 74, 96])
)
of_frames = {}
for hands in ("right", "both"):
    settings = GraphSettings(kind="shell", neighbours=25, lattice_frame=True, joint_frames=True, frame_hands=hands)
    torch.manual_seed(0)
    icomformer = IComFormer("paper", width=32, graph_settings=settings).double().eval()
    layer = icomformer.att_layers[-1]
    kept = []
    layer.register_forward_hook(lambda module, given, result, kept=kept: kept.append(result))
    with torch.no_grad():
        icomformer(build_graph(centred.primitive, settings))
    features = kept[0].numpy().reshape(len(centred.primitive), -1, 32).mean(axis=1)  # over the frames that tie
    (inversion,) = centred.permutations[1:]
    of_frames[hands] = np.abs(features - features[inversion]).max() / np.abs(features).max()
print("atoms related by inversion differ by", {hands: f"{value:.0e}" for hands, value in of_frames.items()})
lattice_frame_figure([("MgO model", centred.primitive), ("quartz", atoms)], PICTURES / "frames.png")
print("pictures in", PICTURES)
