"""An emulated CUDA device, to check the operations of a step on a machine without a GPU.

Under torch's ``FakeTensorMode`` a tensor has a device, a dtype and a shape, but no values. That is enough to check the
device of each tensor, the operations of a step, and where the host would wait for the device. Without a GPU torch
cannot compute gradients of such tensors, because no CUDA device guard is registered with its autograd engine. A few
lines of C++ register one; they are compiled once and stored in the user's cache.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from adamae.errors import UserError
from adamae.files import cache_folder

DEVICE = torch.device("cuda", 0)

# The autograd engine calls the guard at each node; torch calls the hooks for general questions about CUDA. Torch reads
# its hooks once, at import, and caches the object. So our hooks overwrite that object in place, which only contains a
# virtual table pointer. Both are restored afterwards.
_SOURCE = """
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <cstring>

using c10::Device, c10::DeviceIndex, c10::DeviceType, c10::Stream;

// Not "override": older releases of torch lack some of these questions.
struct Hooks final : at::CUDAHooksInterface {
  bool hasCUDA() const { return true; }
  bool isBuilt() const { return true; }
  bool isAvailable() const { return true; }
  bool hasPrimaryContext(DeviceIndex) const { return true; }
  DeviceIndex deviceCount() const { return 1; }
  DeviceIndex getCurrentDevice() const { return 0; }
};
static_assert(sizeof(Hooks) == sizeof(void*));

struct Guard final : c10::impl::DeviceGuardImplInterface {
  Device only() const { return Device(DeviceType::CUDA, 0); }
  DeviceType type() const override { return DeviceType::CUDA; }
  DeviceIndex deviceCount() const noexcept override { return 1; }
  Device getDevice() const override { return only(); }
  Device exchangeDevice(Device) const override { return only(); }
  void setDevice(Device) const override {}
  void uncheckedSetDevice(Device) const noexcept override {}
  Stream getStream(Device) const noexcept override { return Stream(Stream::DEFAULT, only()); }
  Stream exchangeStream(Stream) const noexcept override { return Stream(Stream::DEFAULT, only()); }
  void record(void**, const Stream&, const DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const Stream&) const override {}
};

extern "C" void pretend(bool active) {
  static const Guard guard;
  static const Hooks hooks;
  static const c10::impl::DeviceGuardImplInterface* own_guard = nullptr;
  static void* own_hooks = nullptr;
  auto& registered = c10::impl::device_guard_impl_registry[static_cast<size_t>(DeviceType::CUDA)];
  void* place = const_cast<at::CUDAHooksInterface*>(&at::detail::getCUDAHooks());
  if (active) {
    own_guard = registered.load();
    std::memcpy(&own_hooks, place, sizeof own_hooks);
    std::memcpy(place, &hooks, sizeof own_hooks);
  } else {
    std::memcpy(place, &own_hooks, sizeof own_hooks);
  }
  registered.store(active ? &guard : own_guard);
}
"""


@contextmanager
def fake_cuda() -> Iterator[FakeTensorMode]:
    """Context in which tensors have no values and can be on the CUDA device ``DEVICE``, with or without a GPU.

    A model is built and moved to the device as usual. Enter the context before the first backward pass of the process,
    because torch's autograd engine counts the devices only then. Operations that read a value (``.item()``,
    ``nonzero``) raise torch's ``DataDependentOutputException`` or ``DynamicOutputShapeException``, and operations on
    tensors of two devices a ``RuntimeError``. Streams and pinned memory are not emulated.

    Raises:
        UserError: If there is no GPU and no C++ compiler, or the compiler fails.
    """
    with ExitStack() as stack:
        if not torch.cuda.is_available():
            pretend = _library().pretend
            pretend(True)
            stack.callback(pretend, False)
            for place, name, value in _answers():
                stack.enter_context(mock.patch.object(place, name, value))
            stack.enter_context(mock.patch.object(F, "scaled_dot_product_attention", _fused_attention))
        # torch redraws until all values are in range, but fake tensors have no values.
        stack.enter_context(mock.patch.object(torch.nn.init, "_no_grad_trunc_normal_", lambda tensor, *_, **__: tensor))
        stack.enter_context(mock.patch.object(nn.Module, "_apply", _replace_tensors))
        stack.enter_context(mock.patch.object(FakeTensor, "__deepcopy__", _copy, create=True))
        yield stack.enter_context(FakeTensorMode())


def _replace_tensors(module: nn.Module, function: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """Replacement of ``Module._apply``; torch's own changes parameters in place, which fake tensors do not allow."""
    if recurse:
        for child in module.children():
            child._apply(function)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            module._parameters[name] = nn.Parameter(function(parameter.detach()), parameter.requires_grad)
    for name, buffer in module._buffers.items():
        module._buffers[name] = None if buffer is None else function(buffer)
    return module


class _HostGenerator(torch.Generator):
    """A generator on the host; torch would call the CUDA library to create one for the device."""

    def __new__(cls, device: torch.device | str | None = None) -> _HostGenerator:
        return super().__new__(cls)


def _copy(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    """Copy a tensor under the same mode; torch's own ``__deepcopy__`` copies the mode as well."""
    copied = memo[id(tensor)] = tensor.detach().clone()
    if isinstance(tensor, nn.Parameter):
        copied = memo[id(tensor)] = nn.Parameter(copied, tensor.requires_grad)
    return copied


def _answers() -> Iterator[tuple[Any, str, Callable[..., Any]]]:
    """Yield patches of torch's Python functions for the device: (object, name, function)."""
    yield torch.cuda, "is_available", lambda: True
    yield torch.cuda, "is_bf16_supported", lambda including_emulation=True: True
    yield torch.cuda, "device_count", lambda: 1
    yield torch.cuda, "current_device", lambda: 0
    yield torch.cuda, "get_device_capability", lambda device=None: (9, 0)
    yield torch.cuda, "is_current_stream_capturing", lambda: False
    yield torch.cuda, "_lazy_init", lambda: None
    yield torch, "Generator", _HostGenerator
    yield torch.cuda, "Stream", mock.MagicMock
    yield torch.cuda, "Event", mock.MagicMock
    yield torch.cuda, "stream", lambda stream: nullcontext()
    yield torch.cuda, "current_stream", lambda device=None: mock.MagicMock()
    yield Tensor, "record_stream", _record_stream
    # The original creates a tensor on a real device.
    yield fake_tensor, "init_gpu_context", lambda device: None


def _record_stream(tensor: Tensor, stream: object) -> None:
    if tensor.device.type != "cuda":
        raise RuntimeError(f"record_stream of a tensor on {tensor.device}")


def _fused_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0
) -> Tensor:
    """``F.scaled_dot_product_attention`` with the kernels of a GPU; torch itself queries the GPU to choose one.

    The kernels are FlashAttention for 16-bit types without a mask, and the memory-efficient one otherwise.
    """
    if torch.is_autocast_enabled("cuda"):
        dtype = torch.get_autocast_dtype("cuda")
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
        attn_mask = None if attn_mask is None else attn_mask.to(dtype)
    kernels = torch.ops.aten
    if attn_mask is None and query.dtype in (torch.float16, torch.bfloat16):
        return kernels._scaled_dot_product_flash_attention(query, key, value, dropout_p)[0]
    needed = any(tensor.requires_grad for tensor in (query, key, value)) and torch.is_grad_enabled()
    return kernels._scaled_dot_product_efficient_attention(query, key, value, attn_mask, needed, dropout_p)[0]


@cache
def _library() -> ctypes.CDLL:
    """Return the library with the compiled guard."""
    key = hashlib.sha256(f"{torch.__version__} {torch.version.git_version} {_SOURCE}".encode()).hexdigest()[:16]
    place = cache_folder("fake_cuda")
    library = place / f"{key}.so"
    if not library.is_file():
        with tempfile.TemporaryDirectory(dir=place) as folder:
            # Renamed after completion, because two processes may build it at the same time.
            _compile(Path(folder) / "guard.so").replace(library)
    return ctypes.CDLL(str(library))


def find_compiler() -> str | None:
    """Return the C++ compiler that :func:`fake_cuda` uses without a GPU; None if there is none."""
    named = os.environ.get("CXX")
    found = (shutil.which(name) for name in (*((named,) if named else ()), "g++", "clang++", "c++"))
    return next(filter(None, found), None)


def _compile(library: Path) -> Path:
    compiler = find_compiler()
    if compiler is None:
        raise UserError("no C++ compiler found (CXX, g++, clang++, c++), which fake_cuda needs where there is no GPU")
    installed = Path(torch.__file__).parent
    abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch._C._GLIBCXX_USE_CXX11_ABI)}"
    command = [compiler, "-shared", "-fPIC", "-std=c++20", abi, f"-I{installed / 'include'}", "-x", "c++", "-"]
    command += [f"-L{installed / 'lib'}", "-lc10", "-ltorch_cpu"]
    done = subprocess.run([*command, "-o", str(library)], input=_SOURCE, text=True, capture_output=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(f"{compiler} cannot compile what fake_cuda needs: {reason}")
    return library
