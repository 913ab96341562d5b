"""AdamW's state: what comes back from a checkpoint lies as what it was made for."""

from __future__ import annotations

import torch
from cdkit.engine.optimizer import laid_out_like, load_optimizer, optimizer_tensors
from torch import nn


def stepped(network: nn.Module) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.randn(2, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    return optimizer


def test_moments_come_back_in_their_parameters_order() -> None:
    """A fused step refuses moments of other strides than their weight's, and a file keeps rows alone."""
    network = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    names = [name for name, _ in network.named_parameters()]
    kept = {name: value.contiguous() for name, value in optimizer_tensors(stepped(network), names).items()}
    back = stepped(network)
    load_optimizer(back, names, kept)
    assert network.weight.stride() != network.weight.contiguous().stride()
    for parameter in network.parameters():
        for moment in ("exp_avg", "exp_avg_sq"):
            assert back.state[parameter][moment].stride() == parameter.stride()
    again = optimizer_tensors(back, names)
    assert all(torch.equal(again[name], value) for name, value in kept.items())


def test_a_moment_keeps_its_numbers_and_its_precision() -> None:
    weight = nn.Parameter(torch.zeros(4, 3, 2, 2, dtype=torch.bfloat16).to(memory_format=torch.channels_last))
    moment = torch.randn(4, 3, 2, 2)
    laid = laid_out_like(weight, moment)
    assert torch.equal(laid, moment)
    assert laid.dtype == torch.float32
    assert laid.stride() == weight.stride()
