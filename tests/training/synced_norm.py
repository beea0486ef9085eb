"""What test_sync_norm.py starts: two processes normalise a batch together, each its half; rank 0 compares with one."""

import os
import socket
import sys
import traceback

import torch
import torch.distributed as dist
from torch import nn

from semdepth.processes import Share
from semdepth.training.sync_norm import synchronise_norms

ROWS = 6


def made() -> nn.Sequential:
    """Return two convolutions with batch norms."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5))
    nn.init.uniform_(network[1].weight)
    return network


def loss(output: torch.Tensor) -> torch.Tensor:
    """Return something that depends on every value."""
    return (output.square() * torch.linspace(0.5, 2, output.shape[-1])).mean() + output.sin().mean()


def work(rank: int, port: int) -> None:
    """Compare outputs, gradients, running statistics and state."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    share = Share(rank, 2)
    images = torch.rand(ROWS, 3, 12, 10, generator=torch.Generator().manual_seed(1)) * 3 + 1
    alone, together = made(), made()
    synchronise_norms(together, torch.device("cpu"))
    assert together.state_dict().keys() == alone.state_dict().keys()
    whole, part = alone(images), together(images[rank::2])
    torch.testing.assert_close(part, whole[rank::2], atol=2e-6, rtol=1e-5)
    loss(whole).backward()
    loss(part).backward()
    for mine, wanted in zip(together.parameters(), alone.parameters(), strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(share.mean(mine.grad), wanted.grad, atol=2e-6, rtol=1e-4)
    for mine, wanted in zip(together.buffers(), alone.buffers(), strict=True):
        torch.testing.assert_close(mine, wanted, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(together.eval()(images), alone.eval()(images), atol=2e-6, rtol=1e-5)
    apart = made()(images[rank::2])
    assert not torch.allclose(apart, whole[rank::2], atol=1e-3), "without it they differ"
    assert share.agree(True, torch.device("cpu"))
    assert not share.agree(rank == 0, torch.device("cpu"))
    dist.destroy_process_group()


def main() -> None:
    """Fork two processes and wait for them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in (0, 1):
        child = os.fork()
        if not child:
            code = 1
            try:
                work(rank, port)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    sys.exit(max(abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])) for child in children))


if __name__ == "__main__":
    main()
