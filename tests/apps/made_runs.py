"""Run folders as training leaves them, without training: a few random numbers for weights."""

from dataclasses import replace
from pathlib import Path

from semdepth.apps.recipes import save_experiment
from semdepth.config import Experiment
from semdepth.data.catalog import DataConfig
from semdepth.models.network import NetworkConfig, build_depth_network
from semdepth.models.weights import save_weights
from semdepth.training.trainer_config import TrainerConfig


def made_run(folder: Path, world: Path, fusion: str = "ssfa", seed: int = 0) -> Path:
    """Write a run of a world of 64×128 images."""
    data = DataConfig(root=world, height=64, width=128)
    network = NetworkConfig(encoder="resnet10-small", pose_encoder="resnet10-small", fusion=fusion)  # type: ignore[arg-type]
    experiment = Experiment(
        run=folder,
        data=data,
        validation=replace(data, labels="exact", require_depth=True, cameras=(2,)),
        network=network,
        trainer=TrainerConfig(steps=20, seed=seed, batch=2),
    )
    save_experiment(experiment)
    extra = {"step": 20, "image_size": [64, 128]}
    save_weights(folder / "best.safetensors", build_depth_network(network, seed=seed), extra=extra)
    save_weights(folder / "weights.safetensors", build_depth_network(network, seed=seed + 100), extra=extra)
    curves = [f"{step},train/loss,{1 / step + seed}" for step in (10, 20)]
    curves += ["20,validation/abs_rel,0.5", "20,train/photometric,0.1"]
    (folder / "curves.csv").write_text("\n".join(["step,name,value", *curves, "20,train/lo"]))
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "step_00000020.ckpt").write_bytes(b"a pickle")
    return folder
