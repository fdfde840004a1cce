# %% [markdown]
# # The papers' networks in plain torch-geometric
#
# iComFormer (Yan et al., ICLR 2024) and GMTNet (Yan et al., ICML 2024) from the `MessagePassing` layers of this
# package, trained with nothing but torch-geometric's dataset, loader and a loop of one's own, in minutes on one core.
# The labels are those of the data folder named by `ASE_COMFORMER_DATA`; README, "Training", says where they come from.

# %%
import tempfile
import time

import torch
from torch import nn
from torch_geometric.loader import DataLoader
from torch_geometric.nn import global_mean_pool

from ase_comformer.graphs.neighbours import GraphSettings
from ase_comformer.graphs.pyg import from_pyg
from ase_comformer.nn.architectures.comformer import radial_network
from ase_comformer.nn.architectures.gmtnet import CRYSTAL_FEATURES, DielectricHead
from ase_comformer.nn.layers.frame_views import frame_views
from ase_comformer.nn.layers.radial import GaussianBasis, inverse_distance
from ase_comformer.nn.message_passing import ComFormerConv, EdgeFeatures, EdgeUpdateConv, GMTNetConv
from ase_comformer.training.data.pyg_dataset import CrystalDataset
from ase_comformer.training.data.records import load_records

torch.manual_seed(0)
FOLDER = tempfile.mkdtemp()
WIDTH, SMALL = 48, 10  # width of the networks; atoms of the largest crystal

# %% [markdown]
# ## iComFormer: formation energies
# Attention on distances, then one update of the edges by the three vectors of the lattice frame, then more attention.
# The frame is not unique: every crystal is seen from each of its frames (`frame_views`), and the features are averaged.


# %%
class IComFormer(nn.Module):
    """Energies per atom, eV, from batches of CrystalData with joint lattice frames."""

    def __init__(self):
        """Build the layers of the paper, narrower and fewer."""
        super().__init__()
        self.atoms, self.edges = nn.Embedding(119, WIDTH), EdgeFeatures(WIDTH)
        self.angles = nn.Sequential(GaussianBasis(-1.0, 1.0, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Softplus())
        self.first, self.update, self.second = ComFormerConv(WIDTH), EdgeUpdateConv(WIDTH), ComFormerConv(WIDTH)
        self.reference, self.readout = (
            nn.Embedding(119, 1),
            nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 1)),
        )

    def forward(self, data):
        """Evaluate a batch, (B,)."""
        edges = self.edges(data.edge_vector)
        x = self.first(self.atoms(data.z), data.edge_index, edges)
        views = frame_views(from_pyg(data))
        lengths = radial_network(self.edges.rbf, inverse_distance(views.vector.norm(dim=-1)))
        angles = radial_network(self.angles, views.cosine)
        frame_edge_index = torch.stack(views.pairs[::-1])
        edges = self.update(views.of_edges(edges), frame_edge_index, lengths, angles, views.slot)
        x = self.second(views.of_nodes(x), torch.stack([views.sender, views.receiver]), edges)
        x = global_mean_pool(views.mean(x), data.batch)
        return (self.readout(x) + global_mean_pool(self.reference(data.z), data.batch))[:, 0]


# %% [markdown]
# ## GMTNet: dielectric tensors
# Attention, tensor products, and a head that is linear in the field: the tensor is the derivative of the response.


# %%
class GMTNet(nn.Module):
    """Dielectric tensors from batches of CrystalData."""

    def __init__(self):
        """Build the layers of the paper, narrower."""
        super().__init__()
        irreps = CRYSTAL_FEATURES["dielectric_tensor"]
        self.atoms, self.edges = nn.Embedding(119, WIDTH), EdgeFeatures(WIDTH)
        self.attention = nn.ModuleList(ComFormerConv(WIDTH, normalise_output=False) for _ in range(2))
        self.equivariant, self.head = GMTNetConv(WIDTH, irreps), DielectricHead(irreps)

    def forward(self, data):
        """Evaluate a batch, (B, 3, 3)."""
        edges, x = self.edges(data.edge_vector), self.atoms(data.z)
        for layer in self.attention:
            x = layer(x, data.edge_index, edges)
        feature = global_mean_pool(self.equivariant(x, data.edge_index, edges, data.edge_vector), data.batch)
        tensor = self.head(feature)
        return torch.eye(3) + (tensor + tensor.transpose(1, 2)) / 2


# %% [markdown]
# ## One loop for both


# %%
def train(network, name, dataset, settings, epochs, crystals):
    """Train on some records of the training split and print the error on val beside that of a constant."""
    parts = {}
    for split, limit in (("train", crystals), ("val", 200)):
        records = [r for r in load_records(dataset, splits=(split,)) if len(r.atoms) <= SMALL and not r.flags]
        parts[split] = CrystalDataset(FOLDER, records[:limit], name, settings)
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-4)
    loader = DataLoader(parts["train"], batch_size=32, shuffle=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, epochs * len(loader))
    start = time.perf_counter()
    for _ in range(epochs):
        network.train()
        for batch in loader:
            optimiser.zero_grad()
            nn.functional.smooth_l1_loss(network(batch), batch.y).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    network.eval()
    labels = torch.cat([data.y for data in parts["train"]])
    with torch.no_grad():
        errors = [(network(batch) - batch.y).abs().flatten() for batch in DataLoader(parts["val"], batch_size=64)]
        constant = [(labels.median(dim=0).values - data.y).abs().flatten() for data in parts["val"]]
    seconds = time.perf_counter() - start
    print(f"{type(network).__name__}: {len(parts['train'])} crystals, {epochs} epochs, {seconds:.0f} s")
    error, of_constant = torch.cat(errors).mean(), torch.cat(constant).mean()
    print(f"  mean absolute error on val {error:.3f}, of a constant {of_constant:.3f}")
    return bool(error < 0.8 * of_constant)


frames = GraphSettings(kind="shell", neighbours=12, lattice_frame=True, joint_frames=True)
learned = train(IComFormer(), "formation_energy", "formation_energy", frames, 6, 400)
learned &= train(GMTNet(), "dielectric_tensor", "dielectric_born", GraphSettings(kind="shell", neighbours=12), 8, 400)
print("both learned" if learned else "a network did not learn")
