"""One training step of a potential as one compiled function: losses and the derivatives of their sum.

Forces are derivatives, so learning from them differentiates twice, which ``torch.compile`` refuses. Here the step,
both derivatives included, is first traced into a graph of plain operations (``make_fx``) and that graph is compiled.
Shapes are constant (``frame_batch.padded``), so it happens once per run; the compiler needs a C++ compiler and some
minutes, or seconds where its cache has the result.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from ase_comformer.graphs.crystal_graph import CrystalGraph
from ase_comformer.nn.architectures.potential import NodeOutputs, Potential, derivatives
from ase_comformer.nn.operations.fused import fused_topology
from ase_comformer.nn.operations.sum_topology import SumTopology
from ase_comformer.training.tasks.frame_batch import Capacity, FrameBatch, batch_of, frame_losses, tensors_of

Outputs = tuple[Tensor, dict[str, tuple[Tensor, Tensor]], list[Tensor]]


def topology_of(indices: dict[str, tuple[Tensor, ...]], graph: CrystalGraph) -> SumTopology:
    """Make the topology of a batch from the tensors of either kind that ``ResidentFrames.batch`` gives."""
    if "ends_columns" not in indices:
        return SumTopology.from_tensors(indices, graph)
    tensors = {name: values[0] for name, values in indices.items()}
    return fused_topology(tensors, graph.edge_receiver, graph.edge_atom, len(graph.numbers))


class CompiledStep:
    """Losses and gradients of a network on batches of one shape.

    Args:
        network: whose ``grad`` every call sets.
        loss_weights: per loss, 1 where missing.
        capacity: shape of the batches.
        compile: False: run the traced graph as it is, for tests.
    """

    def __init__(
        self, network: Potential, loss_weights: Mapping[str, float], capacity: Capacity, *, compile: bool = True
    ) -> None:
        self.network, self.loss_weights, self.capacity, self.compile = network, loss_weights, capacity, compile
        self._function: Callable[..., Outputs] | None = None

    def __call__(self, batch: FrameBatch) -> tuple[float, dict[str, tuple[float, float]]]:
        """The loss, and per term the sum over frames and their number; gradients are left in the parameters."""
        parameters = {name: value.detach() for name, value in self.network.named_parameters()}
        inputs = (parameters, tensors_of(batch), SumTopology.from_graph(batch.graph, self.capacity.pairs).tensors())
        function = self.function(inputs)
        with torch.no_grad():
            loss, sums, gradients = function(*inputs)
        for parameter, gradient in zip(self.network.parameters(), gradients, strict=True):
            parameter.grad = gradient
        return float(loss), {name: (float(total), float(count)) for name, (total, count) in sums.items()}

    def function(self, inputs: tuple[Any, ...]) -> Callable[..., Outputs]:
        """The step as a function of parameters, tensors of a batch and its topology, made for the first ``inputs``."""
        if self._function is None:
            self._function = self._made(inputs)
        return self._function

    def _made(self, inputs: tuple[Any, ...]) -> Callable[..., Outputs]:
        def step(
            parameters: dict[str, Tensor], tensors: dict[str, Tensor], indices: dict[str, tuple[Tensor, ...]]
        ) -> Outputs:
            return self._step(parameters, tensors, indices)  # the tracer counts the arguments of methods wrongly

        self.network.repulsion.every_pair = True
        traced = make_fx(step, tracing_mode="fake", _allow_non_fake_inputs=True)(*inputs)
        self.network.repulsion.every_pair = False
        traced.graph.eliminate_dead_code()
        traced.recompile()
        compiled: Callable[..., Outputs] = torch.compile(traced, fullgraph=True, dynamic=False)
        return compiled if self.compile else traced

    def _step(
        self, parameters: dict[str, Tensor], tensors: dict[str, Tensor], indices: dict[str, tuple[Tensor, ...]]
    ) -> Outputs:
        batch = batch_of(tensors)
        topology = topology_of(indices, batch.graph)
        parameters = {name: value.detach().requires_grad_(True) for name, value in parameters.items()}
        state = parameters | dict(self.network.named_buffers())

        def network(graph: CrystalGraph, fidelity: Tensor, topology: SumTopology) -> NodeOutputs:
            found: NodeOutputs = functional_call(self.network, state, (graph, fidelity, topology))
            return found

        found = derivatives(network, batch.graph, batch.fidelity, topology=topology, create_graph=True)
        losses = frame_losses(found, batch)
        sums = {name: ((values * known).sum(), known.sum()) for name, (values, known) in losses.items()}
        frames = torch.maximum(batch.has_forces, batch.has_stress).sum()
        loss = (
            torch.stack([self.loss_weights.get(name, 1.0) * total for name, (total, _) in sums.items()]).sum() / frames
        )
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        filled = [
            torch.zeros_like(value) if gradient is None else gradient
            for value, gradient in zip(parameters.values(), gradients, strict=True)
        ]
        return loss.detach(), {name: (total.detach(), count) for name, (total, count) in sums.items()}, filled
