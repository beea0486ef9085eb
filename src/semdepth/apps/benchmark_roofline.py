"""How near a computation comes to what the device could do: operations and bytes counted, the device's ceilings measured.

Williams et al., "Roofline: an insightful visual performance model" (2009): an operator takes at least the longer of its
arithmetic at the highest rate and its traffic at the widest bandwidth. The sum over a step's operators is the least time that
*these operators* could take, each reading its inputs from memory and writing its outputs there. Operators whose data stays in
the cache, and convolutions by a transform with fewer operations than counted, can be faster than their part of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

REPEATS = 5


@dataclass(frozen=True)
class Ceilings:
    """What a device does at best, with the threads that torch is given."""

    flops: float
    """Floating-point operations a second, of a large float32 matrix product."""
    bandwidth: float
    """Bytes a second read and written by a copy far larger than the caches."""


@dataclass(frozen=True)
class Work:
    """What was done."""

    flops: int
    """Of convolutions and matrix products; a multiplication and an addition count as two."""
    moved: int
    """Bytes of every operator's inputs and outputs."""
    bound: float
    """Least seconds, operator by operator."""


def measure_ceilings(device: torch.device) -> Ceilings:
    """Measure both ceilings (about a second on a CPU)."""
    n = 2048 if device.type == "cpu" else 8192
    left, right = torch.rand(n, n, device=device), torch.rand(n, n, device=device)
    source = torch.rand(1 << 25, device=device)
    target = torch.empty_like(source)
    product = _fastest(lambda: torch.mm(left, right), device)
    copy = _fastest(lambda: target.copy_(source), device)
    return Ceilings(2 * n**3 / product, 2 * source.nbytes / copy)


def count_work(run: Callable[[], object], ceilings: Ceilings) -> Work:
    """Run something once and count what its operators do."""
    with _Counter(ceilings) as counter:
        run()
    return Work(counter.flops, counter.moved, counter.bound)


class _Counter(TorchDispatchMode):
    def __init__(self, ceilings: Ceilings) -> None:
        super().__init__()
        self.ceilings, self.flops, self.moved, self.bound = ceilings, 0, 0, 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func.is_view or _is_free(func):
            return out
        count = flop_registry.get(func._overloadpacket)
        flops = 0 if count is None else int(count(*args, **kwargs, out_val=out))
        moved = sum(_bytes(leaf) for leaf in tree_leaves((args, kwargs, out)))
        self.flops += flops
        self.moved += moved
        self.bound += max(flops / self.ceilings.flops, moved / self.ceilings.bandwidth)
        return out


def _is_free(func: Any) -> bool:
    """Return whether an operator only makes room or looks at a shape."""
    return str(func._overloadpacket).removeprefix("aten.") in {
        "empty",
        "empty_like",
        "empty_strided",
        "new_empty",
        "detach",
    }


def _bytes(leaf: Any) -> int:
    return leaf.nbytes if isinstance(leaf, Tensor) else 0


def _fastest(run: Callable[[], object], device: torch.device) -> float:
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)
