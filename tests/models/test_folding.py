from typing import get_args

import pytest
import torch

from semdepth.models.folding import fold_batch_norm, make_fast
from semdepth.models.network import Fusion, NetworkConfig, build_depth_network


@pytest.mark.parametrize("encoder", ["resnet10-small", "convnextv2-atto"])
def test_folding_changes_no_prediction(encoder: str) -> None:
    network = build_depth_network(NetworkConfig(encoder=encoder, fusion="none"), seed=0).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.3, 3.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = network(image)
    folded = fold_batch_norm(network)
    with torch.inference_mode():
        after = network(image)
    assert folded == (12 if encoder == "resnet10-small" else 0)
    assert torch.allclose(after.disparity[0], before.disparity[0], atol=1e-5)
    assert before.logits is not None
    assert after.logits is not None
    assert torch.allclose(after.logits[0], before.logits[0], rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    make_fast(network)  # what is left: the memory's layout
    with torch.inference_mode():
        assert torch.allclose(network(image).disparity[0], before.disparity[0], atol=1e-5)


def test_training_networks_are_not_folded() -> None:
    with pytest.raises(ValueError, match="eval"):
        fold_batch_norm(build_depth_network(NetworkConfig(encoder="resnet10-small"), seed=0))


def test_bfloat16_leaves_the_heads_as_they_are() -> None:
    networks = [build_depth_network(NetworkConfig(encoder="resnet10-small"), seed=0).eval() for _ in range(2)]
    make_fast(networks[1], "bf16")
    exact, kept = (network.disparity_heads.state_dict() for network in networks)
    assert all(torch.equal(exact[name], kept[name]) for name in exact)


@pytest.mark.parametrize("encoder", ["resnet10-small", "convnextv2-atto"])
@pytest.mark.parametrize("fusion", get_args(Fusion))
def test_bfloat16_rounds_features_not_outputs(fusion: Fusion, encoder: str) -> None:
    config = NetworkConfig(encoder=encoder, fusion=fusion, initial_disparity="flat")
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    found = []
    for precision in ("fp32", "bf16"):
        network = build_depth_network(config, seed=0)
        for name, weights in network.named_parameters():
            if "exchange" in name:
                torch.nn.init.normal_(weights, std=0.1, generator=torch.Generator().manual_seed(1))
        make_fast(network.eval(), precision)
        with torch.inference_mode():
            found.append(network(image))
    exact, rounded = found
    off = (rounded.disparity[0] - exact.disparity[0]).abs() / exact.disparity[0]
    assert 1e-6 < float(off.mean()) < 0.01
    assert all(maps.dtype == torch.float32 for maps in (*rounded.disparity, *(rounded.logits or ())))
    values = rounded.disparity[0].unique()
    steps = len(values.bfloat16().unique())
    assert len(values) > 10 * steps, "the disparity itself has been rounded"
    if exact.logits is not None:
        assert rounded.logits is not None
        off = (rounded.logits[0] - exact.logits[0]).abs() / exact.logits[0].abs().max()
        assert 1e-6 < float(off.mean()) < 0.01
