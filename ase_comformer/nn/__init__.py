"""Networks: radial bases, attention and equivariant layers, the papers' networks and the default one.

``ARCHITECTURES`` is the registry by which weights files and training configurations name a class.
"""

from torch import nn

from ase_comformer.nn.architectures.comformer import EComFormer, IComFormer
from ase_comformer.nn.architectures.gmtnet import GMTNet
from ase_comformer.nn.architectures.potential import Potential
from ase_comformer.nn.architectures.referred_energy import ReferredEnergy
from ase_comformer.nn.architectures.tensor_network import TensorNetwork

ARCHITECTURES: dict[str, type[nn.Module]] = {
    "EComFormer": EComFormer,
    "GMTNet": GMTNet,
    "IComFormer": IComFormer,
    "Potential": Potential,
    "ReferredEnergy": ReferredEnergy,
    "TensorNetwork": TensorNetwork,
}
