"""A second device, ``torch.device("second")``, for machines that have none but the CPU.

A tensor on it holds a CPU tensor and computes with it, so numbers are the CPU's. Its rules are
those of a GPU: two devices do not mix, nothing is read by NumPy, random numbers come from a
generator of its own, copies to pinned memory arrive late, autocast casts as on CUDA, and what CUDA
has no kernel for is refused. Speed, streams, rounding, sparse tensors and compilation are not
imitated. To import this module changes torch for the rest of the process.
"""

from __future__ import annotations

import time
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from accelerate import PartialState
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
from torch.utils.weak import WeakIdKeyDictionary

NAME = "second"
CPU = torch.device("cpu")
aten = torch.ops.aten


class OnSecond(torch.Tensor):
    """A tensor on the second device; ``held`` is the CPU tensor with its numbers."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> OnSecond:
        if held.layout != torch.strided:
            raise NotImplementedError(f"The second device has no layout {held.layout}.")
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=torch.device(NAME, 0),
        )  # fmt: skip
        made.held = held.detach() if held.requires_grad else held
        memory.count(made.held)
        return made

    @classmethod
    def __torch_dispatch__(cls, op: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(op, args, kwargs or {})

    @property
    def data(self) -> torch.Tensor:
        return self.detach()

    @data.setter
    def data(self, value: OnSecond) -> None:
        _take_shape(self, value.held)
        self.held = value.held

    def numpy(self, **_: Any) -> Any:
        raise TypeError(f"can't convert a tensor on {NAME} to numpy. Use Tensor.cpu() first.")

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def untyped_storage(self) -> Any:
        return self.held.untyped_storage()

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def __repr__(self, **_: Any) -> str:
        return f"{self.held!r} on {NAME}"

    def __deepcopy__(self, memo: dict[int, Any]) -> OnSecond:
        if id(self) not in memo:
            made = OnSecond(self.held.clone()).requires_grad_(self.requires_grad)
            made.__dict__.update({k: v for k, v in self.__dict__.items() if k != "held"})
            memo[id(self)] = made
        return memo[id(self)]

    def __reduce_ex__(self, _: Any) -> Any:  # as torch does for devices without storages
        made = (self.held.contiguous(), self.dtype, f"{NAME}:0", self.requires_grad)
        return torch._utils._rebuild_device_tensor_from_cpu_tensor, made


def _take_shape(tensor: OnSecond, held: torch.Tensor) -> None:
    torch.Tensor.data.__set__(tensor, OnSecond(held))


# ---------------------------------------------------------------------- computing


def compute(op: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation with what its tensors hold, if a GPU would."""
    inference = torch.is_inference_mode_enabled()
    if inference and op._can_decompose():
        return op.decompose(*args, **kwargs)  # as autograd does where it is on
    kwargs = dict(kwargs)
    kind = op.overloadpacket
    leaves = [*_leaves(args), *_leaves(kwargs.values())]
    here = [x for x in leaves if type(x) is OnSecond]
    there = [x for x in leaves if isinstance(x, torch.Tensor) and type(x) is not OnSecond]
    refuse(op, args, kwargs, here, there)
    result_here = bool(here)
    if kwargs.get("device") is not None:
        result_here = torch.device(kwargs["device"]).type == NAME
        kwargs["device"] = CPU
    if kind is aten.copy_:
        result_here = isinstance(args[0], OnSecond)
        free = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
        if here and not result_here and free and memory.put_off(args[0], args[1].held):
            return args[0]
    if not result_here or kind is aten._local_scalar_dense:
        memory.arrive()
    seeded = torch.Tag.nondeterministic_seeded in op.tags
    if seeded:
        for generator in (leaf for leaf in leaves if isinstance(leaf, torch._C.Generator)):
            if (generator._cdata in _generators) != result_here:
                raise RuntimeError(f"{op}: the generator is on another device than the tensor.")
    own = seeded and result_here and all(not isinstance(x, torch._C.Generator) for x in leaves)
    with random.used() if own else nullcontext():
        result = op(
            *_mapped(_held, args), **{name: _mapped(_held, x) for name, x in kwargs.items()}
        )
    known: dict[int, OnSecond] = {}
    if op._schema.is_mutable:
        known = {id(tensor.held): tensor for tensor in here}
        for tensor in here:  # resized, transposed or squeezed in place
            if (tensor.shape, tensor.stride()) != (tensor.held.shape, tensor.held.stride()):
                _take_shape(tensor, tensor.held)

    def on_device(value: Any) -> Any:
        if not result_here or not isinstance(value, torch.Tensor):
            return value
        if id(value) in known:
            return known[id(value)]
        if inference and op.is_view and not args[0].is_inference():
            with torch.inference_mode(mode=False):  # autograd may see what its base shows
                return OnSecond(value)
        return OnSecond(value)

    if kind in LENGTHS_ON_CPU:
        return on_device(result[0]), result[1]
    return _mapped(on_device, result)


def _held(value: Any) -> Any:
    return value.held if type(value) is OnSecond else value


def _leaves(values: Any) -> Iterator[Any]:
    """Yield the values of lists and tuples inside one another."""
    for value in values:
        if type(value) in (list, tuple):
            yield from _leaves(value)
        else:
            yield value


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    """Change the values of lists and tuples inside one another."""
    kind = type(value)
    return kind([_mapped(change, x) for x in value]) if kind in (list, tuple) else change(value)


ANY_DEVICE = {aten.copy_, aten._to_copy}
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index}
LENGTHS_ON_CPU = {aten._pack_padded_sequence, aten._pad_packed_sequence}
TAKES_A_NUMBER = {aten.fill_, aten.fill, aten.masked_fill, aten.masked_fill_, aten.lerp_}
PRODUCTS = {aten.mm, aten.bmm, aten.addmm, aten.baddbmm, aten.mv, aten.addmv, aten.dot}
ONLY_ON_CPU = {aten.histogram, aten._histogramdd_from_bin_cts, aten._histogramdd_bin_edges}


def refuse(op: Any, args: Any, kwargs: Any, here: list[Any], there: list[Any]) -> None:
    """Raise where CUDA would: tensors of two devices, and operations that it does not have."""
    if not here:
        return
    kind = op.overloadpacket
    if kind in ONLY_ON_CPU:
        raise NotImplementedError(f"{op} has no kernel on {NAME}.")
    if kind in PRODUCTS and not (here[0].is_floating_point() or here[0].is_complex()):
        raise RuntimeError(f'"{op}" not implemented for {here[0].dtype} on {NAME}.')
    if kind is aten.linalg_lstsq and kwargs.get("driver") not in (None, "gels"):
        raise RuntimeError(f"torch.linalg.lstsq has no driver but gels on {NAME}.")
    if kind in LENGTHS_ON_CPU:
        if isinstance(args[1], OnSecond):
            raise RuntimeError("'lengths' argument should be a 1D CPU int64 tensor.")
        return
    if not there or kind in ANY_DEVICE:
        return
    if kind in INDEXING and isinstance(args[0], OnSecond):  # indices may be on the CPU
        mixed = any(x.dim() for x in there if any(x is given for given in args[2:3]))
    elif op.__name__.startswith("_foreach"):
        mixed = False
    else:  # a number on the CPU may join, but not receive the result
        number = torch.Tag.pointwise in op.tags or kind in TAKES_A_NUMBER
        written = op._schema.is_mutable and not isinstance(args[0], OnSecond)
        mixed = written or any(x.dim() or not number for x in there)
    if mixed:
        both = f"at least two devices, {NAME}:0 and cpu!"
        raise RuntimeError(f"{op}: Expected all tensors to be on the same device, but found {both}")


# ---------------------------------------------------------------------- memory and waiting


class Memory:
    """The bytes of the storages in use, and the copies to pinned memory that are on their way."""

    def __init__(self) -> None:
        self.users: dict[int, int] = {}  # tensors of each storage
        self.watched: dict[int, object] = {}
        self.now = self.peak = 0
        self.pinned: Any = WeakIdKeyDictionary()
        self.late: list[tuple[torch.Tensor, torch.Tensor]] = []

    def count(self, held: torch.Tensor) -> None:
        number, storage = id(held), held.untyped_storage()
        if number in self.watched:
            return
        key, size = storage._cdata, storage.nbytes()
        if key not in self.users:
            self.now += size
            self.peak = max(self.peak, self.now)
        self.users[key] = self.users.get(key, 0) + 1
        self.watched[number] = weakref.ref(held, lambda _: self._drop(number, key, size))

    def _drop(self, number: int, key: int, size: int) -> None:
        del self.watched[number]
        self.users[key] -= 1
        if not self.users[key]:
            del self.users[key]
            self.now -= size

    def put_off(self, target: torch.Tensor, value: torch.Tensor) -> bool:
        """Delay a copy if its target is pinned; until then the target holds no numbers."""
        whole = target if target._base is None else target._base
        if whole in self.pinned:
            self.late.append((target, value.clone()))
            target.fill_(float("nan") if target.is_floating_point() else 0)
        return whole in self.pinned

    def arrive(self) -> None:
        while self.late:
            target, value = self.late.pop(0)
            target.copy_(value)

    def pin(self, tensor: torch.Tensor, *_: Any) -> torch.Tensor:
        if tensor.device != CPU:
            raise RuntimeError("Only tensors on the CPU can be pinned.")
        made = tensor.clone(memory_format=torch.contiguous_format)
        self.pinned[made] = True
        return made

    def reset(self, *_: Any) -> None:
        self.peak = self.now


class Event:
    """A mark in time; nothing runs beside the CPU."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.time = 0.0

    def record(self, *_: Any) -> None:
        self.time = time.perf_counter()

    def elapsed_time(self, other: Event) -> float:
        return 1000 * (other.time - self.time)

    def synchronize(self) -> None:
        memory.arrive()


# ---------------------------------------------------------------------- random numbers


class Random:
    """The device's global generator; ``shared`` makes it the CPU's, to compare numbers with it."""

    shared = False

    def __init__(self) -> None:
        self.seed(0)

    def seed(self, seed: int) -> None:
        self.state = torch._C.Generator().manual_seed(int(seed)).get_state()

    def get(self, *_: Any) -> torch.Tensor:
        return self.state.clone()

    def set(self, state: torch.Tensor, *_: Any) -> None:
        self.state = state.clone()

    @contextmanager
    def used(self) -> Iterator[None]:
        """Let operations of the CPU draw from this generator."""
        if self.shared:
            yield
            return
        cpu, default = torch.default_generator.get_state(), torch.default_generator
        default.set_state(self.state)
        try:
            yield
        finally:
            self.state = default.get_state()
            default.set_state(cpu)


_generators: dict[int, object] = {}


class _AnyGenerator(type(torch._C.Generator)):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, torch._C.Generator)


class Generator(torch._C.Generator, metaclass=_AnyGenerator):
    """``torch.Generator``, which knows the device."""

    def __new__(cls, device: Any = "cpu") -> Any:
        if torch.device(device).type != NAME:
            return torch._C.Generator(device)
        made = super().__new__(cls, "cpu")
        _generators[made._cdata] = weakref.ref(made, lambda _, at=made._cdata: _generators.pop(at))
        return made

    def __init__(self, device: Any = "cpu") -> None: ...

    device = property(lambda _: torch.device(NAME, 0))


# ---------------------------------------------------------------------- autocast

# What CUDA computes in the lower type, and in float32; aten/src/ATen/autocast_mode.h. cuDNN's
# recurrent networks take float16 whatever the lower type is; aten/src/ATen/cudnn/AutocastRNN.cpp.
LOWER = (
    "conv1d", "conv2d", "conv_transpose2d", "convolution", "addmm", "addmv", "matmul", "mm", "mv",
    "linear", "baddbmm", "bmm", "scaled_dot_product_attention",
)  # fmt: skip
FULL = (
    "exp", "expm1", "log", "log2", "log10", "log1p", "pow", "rsqrt", "reciprocal", "softmax",
    "log_softmax", "softplus", "layer_norm", "group_norm", "norm", "cosine_similarity", "cdist",
    "nll_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "mse_loss", "kl_div", "soft_margin_loss",
    "margin_ranking_loss", "binary_cross_entropy_with_logits", "logsumexp", "prod", "cumprod",
    "cumsum", "sum",
)  # fmt: skip
HALF = ("gru", "lstm", "rnn_tanh", "rnn_relu")


def _autocast(library: torch.library.Library) -> None:
    key = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def casting(op: Any, dtype: Callable[[], torch.dtype]) -> Callable[..., Any]:
        def cast(value: Any) -> Any:
            floats = isinstance(value, torch.Tensor) and value.is_floating_point()
            return value.to(dtype()) if floats and value.dtype != torch.float64 else value

        def kernel(*args: Any, **kwargs: Any) -> Any:
            with torch._C._ExcludeDispatchKeyGuard(key):
                given = {name: _mapped(cast, value) for name, value in kwargs.items()}
                return op(*_mapped(cast, args), **given)

        return kernel

    def lower() -> torch.dtype:
        return torch.get_autocast_dtype(NAME)

    wanted = {
        **dict.fromkeys(LOWER, lower),
        **dict.fromkeys(FULL, lambda: torch.float32),
        **dict.fromkeys(HALF, lambda: torch.float16),
    }
    for name in wanted:
        packet = getattr(aten, name)
        for op in (getattr(packet, overload) for overload in packet.overloads()):
            called = op.name().removeprefix("aten::")
            if not op._schema.is_mutable and "out" not in called and "Dimname" not in called:
                kernel = casting(op, wanted[name])
                library.impl(called, kernel, "AutocastPrivateUse1")

    def unsafe(*_: Any, **__: Any) -> Any:
        raise RuntimeError("binary_cross_entropy is unsafe to autocast; take the one with logits.")

    library.impl("binary_cross_entropy", unsafe, "AutocastPrivateUse1")


# ---------------------------------------------------------------------- registration

memory, random = Memory(), Random()
_libraries = [torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")]


def _module() -> types.ModuleType:
    """Return what ``torch.cuda`` is for CUDA."""
    module = types.ModuleType(f"torch.{NAME}")
    memory_now, memory_peak = (lambda *_: memory.now), (lambda *_: memory.peak)
    card = types.SimpleNamespace(name="the second device of the tests", total_memory=2**36)
    vars(module).update(
        # what there is
        is_available=lambda: True, is_initialized=lambda: True, device_count=lambda: 1,
        current_device=lambda: 0, set_device=lambda _: None, device=lambda _: nullcontext(),
        get_device_properties=lambda *_: card, get_device_name=lambda *_: card.name,
        get_amp_supported_dtype=lambda: [torch.bfloat16, torch.float16],
        is_bf16_supported=lambda: True, _is_in_bad_fork=lambda: False,
        # random numbers, waiting and memory
        manual_seed=random.seed, manual_seed_all=random.seed,
        get_rng_state=random.get, set_rng_state=random.set,
        Event=Event, synchronize=lambda *_: memory.arrive(), empty_cache=lambda: None,
        memory_allocated=memory_now, memory_reserved=memory_now, max_memory_allocated=memory_peak,
        max_memory_reserved=memory_peak, reset_peak_memory_stats=memory.reset,
        mem_get_info=lambda *_: (2**36, 2**36),
    )  # fmt: skip
    return module


def _register() -> None:
    module = _module()
    _setup_privateuseone_for_python_backend(NAME, backend_module=module)
    torch.autograd.set_multithreading_enabled(False)  # a thread for the device only waits
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(…, device=) is made on the CPU first
    for name in (
        "synchronize", "empty_cache", "memory_allocated", "memory_reserved", "max_memory_allocated",
        "max_memory_reserved", "reset_peak_memory_stats",
    ):  # fmt: skip
        setattr(torch.accelerator, name, getattr(module, name))
    torch.Generator, torch.Event = Generator, Event
    torch.Tensor.pin_memory = lambda self, *_: memory.pin(self)
    torch.Tensor.is_pinned = lambda self, *_: self in memory.pinned
    empty, to_devices = torch.empty, torch.nn.Module._apply

    def empty_or_pinned(*args: Any, pin_memory: bool = False, **kwargs: Any) -> torch.Tensor:
        made: torch.Tensor = empty(*args, **kwargs)
        if pin_memory:
            memory.pinned[made] = True
        return made

    def apply(self: Any, change: Any, recurse: bool = True) -> Any:
        """Move a module, whose parameters stay the objects that optimizers hold."""
        before = torch.__future__.get_swap_module_params_on_conversion()
        torch.__future__.set_swap_module_params_on_conversion(True)
        try:
            return to_devices(self, change, recurse)
        finally:
            torch.__future__.set_swap_module_params_on_conversion(before)

    torch.empty, torch.nn.Module._apply = empty_or_pinned, apply
    # What accelerate takes where it finds no other accelerator that it knows.
    PartialState.default_device = property(lambda _: torch.device(NAME, 0))
    every, own = _libraries
    every.fallback(lambda op, *args, **kwargs: compute(op, args, kwargs), "PrivateUse1")
    every.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for name in ("gru", "lstm"):  # CUDA's fused cells are no operations of a CPU
        op = getattr(aten, name)
        for overload in ("input", "data"):
            kernel = getattr(op, overload).py_kernels[
                torch._C.DispatchKey.CompositeImplicitAutograd
            ]
            own.impl(f"{name}.{overload}", kernel, "AutogradPrivateUse1")
            own.impl(f"{name}.{overload}", kernel, "PrivateUse1")
    _autocast(own)


_register()
