"""A pretended second device: numbers are computed on the CPU, but mixing devices fails as it does on a GPU.

Tensors of the device say ``meta``, the one device beside the CPU that every build of torch knows, and carry real
numbers, so that whole evaluators run. ``FakeTensorMode`` with CUDA parameters would not do (torch 2.13, CPU build): it
notices mixed devices, but ``tensor[index]`` ends in "PyTorch is not linked with support for cuda devices", and forward
passes of the networks in ``DataDependentOutputException``, since they ask for numbers that its tensors do not have
(which pairs are close, how many edges there are).
"""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
_aten = torch.ops.aten
#: Operators that take tensors of both devices on a real GPU too: copies, and indices on the CPU.
_MAY_MIX = {_aten.copy_, _aten._to_copy, _aten.index, _aten.index_put, _aten.index_put_, _aten._index_put_impl_}


class MixedDevicesError(AssertionError):
    """An operator was given tensors of both devices."""


class OnGpu(Tensor):
    """A tensor of the pretended device; ``numbers`` is what it holds, on the CPU."""

    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> "OnGpu":
        made = Tensor._make_wrapper_subclass(
            cls, numbers.shape, strides=numbers.stride(), dtype=numbers.dtype, device=DEVICE
        )
        made.numbers = numbers
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


class _FromData(TorchFunctionMode):
    """Tensors made of Python numbers, and such numbers made of tensors, do not pass through operators."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.tolist and isinstance(args[0], OnGpu):
            return args[0].numbers.tolist()
        if func is Tensor.__setitem__ and isinstance(args[0], OnGpu):
            if isinstance(args[2], Tensor) and args[2].dim() > 0 and not isinstance(args[2], OnGpu):
                raise MixedDevicesError("a tensor on the GPU was given items on the CPU")
            target, index, value = tree_map(lambda each: each.numbers if isinstance(each, OnGpu) else each, tuple(args))
            target[index] = value
            return None
        if func is Tensor.new_tensor and isinstance(args[0], OnGpu):
            data, kwargs = args[1:], {"device": DEVICE, "dtype": args[0].dtype, **kwargs}
            func, args = torch.tensor, data
        if func in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or "cpu") == DEVICE:
            return func(*args, **{**kwargs, "device": torch.device("cpu")}).to(DEVICE)
        return func(*args, **kwargs)


@contextlib.contextmanager
def pretended_gpu() -> Iterator[None]:
    """While active, ``device=DEVICE`` makes tensors of the pretended device."""
    # Tensor subclasses have no views in inference mode; without gradients it computes the same.
    instead = {
        "__enter__": lambda self: setattr(self, "instead", torch.no_grad()) or self.instead.__enter__(),
        "__exit__": lambda self, *error: self.instead.__exit__(*error),
    }
    with _Operators(), _FromData(), mock.patch.multiple(torch.inference_mode, **instead):
        yield


class _Operators(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


def dispatch(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor)]
    here = [each for each in given if isinstance(each, OnGpu)]
    elsewhere = [each for each in given if not isinstance(each, OnGpu) and each.dim() > 0]
    if here and elsewhere and func.overloadpacket not in _MAY_MIX:
        raise MixedDevicesError(f"{func} was given {len(here)} tensors on the GPU and {len(elsewhere)} on the CPU")
    to_gpu = bool(here)
    if kwargs.get("device") is not None:
        to_gpu = torch.device(kwargs["device"]) == DEVICE
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args, kwargs = tree_map(lambda each: each.numbers if isinstance(each, OnGpu) else each, (args, kwargs))
    result = func(*args, **kwargs)
    in_place = {id(each.numbers): each for each in here}

    def wrapped(each: Any) -> Any:
        if not isinstance(each, Tensor) or not to_gpu:
            return each
        return in_place.get(id(each)) if id(each) in in_place else OnGpu(each)

    return tree_map(wrapped, result)


def on_gpu(module: torch.nn.Module) -> torch.nn.Module:
    """Move parameters and buffers of a module (in place) to the pretended device."""
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None:
                part._parameters[name] = torch.nn.Parameter(OnGpu(value.detach()), requires_grad=value.requires_grad)
        for name, value in part._buffers.items():
            if value is not None:
                part._buffers[name] = OnGpu(value.detach())
    return module
