"""What the report looks at again: the judged frames themselves, with the networks that the runs left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from rich.progress import track

from semdepth.apps.evaluate import PROTOCOLS, judged_data
from semdepth.apps.parser import Parser
from semdepth.apps.recipes import load_experiment
from semdepth.apps.run_folder import RunFolder
from semdepth.data.catalog import DataConfig, Frames, open_dataset
from semdepth.evaluation.metrics import Float64
from semdepth.evaluation.protocols import Protocol
from semdepth.evaluation.uncertainty import Sparsification, sparsification
from semdepth.inference.opening import trained_size
from semdepth.models.network import DepthNetwork
from semdepth.models.weights import load_depth_network
from semdepth.runtime import InputError, choose_device
from semdepth.training.closer_look import Look, look_at


@dataclass
class Trust:
    """What many frames say about a network's uncertainty."""

    frames: int = 0
    calibration: Float64 = field(default_factory=lambda: np.zeros((15, 3)))
    errors: list[Float64] = field(default_factory=list)
    uncertainties: list[Float64] = field(default_factory=list)

    def add(self, look: Look) -> None:
        """Count one frame; of a depth-only network there is nothing to count."""
        if look.uncertainty is None:
            return
        error, uncertainty = look.samples(seed=self.frames)
        self.frames += 1
        self.errors.append(error)
        self.uncertainties.append(uncertainty)
        if look.calibration is not None:
            self.calibration += look.calibration

    def sparsification(self) -> Sparsification | None:
        """Return how the errors go with the uncertainty; None where nothing was counted."""
        if not self.frames:
            return None
        return sparsification(np.concatenate(self.errors), np.concatenate(self.uncertainties))


@dataclass(frozen=True)
class Seen:
    """What one run's network shows of the judged frames."""

    looks: dict[str, Look]
    """By the frame's name: those to show."""
    trust: Trust
    note: str | None = None
    """Why there is nothing to see; None: there is."""


def look_again(run: RunFolder, shown: Sequence[str], most: int, device: str) -> Seen:
    """Predict again the frames to show, and an even spread of the judged frames for the uncertainty.

    Args:
        run: judged.
        shown: names of the frames to show.
        most: frames for the uncertainty.
        device: auto, cpu, cuda, mps.

    Returns:
        What is seen; where the data or the weights are gone, nothing, and a note that says so.

    Raises:
        InputError: if the device is not there.
    """
    found = run.evaluation or {}
    where = choose_device(device)
    try:
        network, header = load_depth_network(_judged_weights(run))
        frames = open_dataset(_judged_on(run, trained_size(run.weights, network, header)))
        places = {frames.name(i): i for i in range(len(frames))}
        names = [row["name"] for row in found["rows"]]
        if missing := [name for name in (*shown, *names) if name not in places]:
            raise InputError(
                f"{missing[0]} was judged, but is not in the data that is there now; judge again: semdepth evaluate {run.path}"
            )
        spread = names[:: max(1, -(-len(names) // most))] if most else []
        network.to(where)
        seen = _look_through(
            network, frames, _protocol(found), places, shown, spread, bool(found.get("flip")), run.name
        )
        _refuse_changed(seen, found["rows"], run)
        return seen
    except InputError as error:
        return Seen({}, Trust(), str(error))


def _refuse_changed(seen: Seen, rows: Iterable[Mapping[str, Any]], run: RunFolder) -> None:
    """Show no pictures beside numbers that they do not belong to: what is seen must be as wrong as what was judged."""
    judged = {row["name"]: row["errors"]["abs_rel"] for row in rows}
    for name, look in seen.looks.items():
        if not abs(look.abs_rel - judged[name]) <= max(0.02 * judged[name], 1e-4):
            raise InputError(
                f"{name} was judged with an AbsRel of {judged[name]:.3f}, and has {look.abs_rel:.3f} now: its data or the "
                f"weights have changed; judge again: semdepth evaluate {run.path}"
            )


def worst_and_best(run: RunFolder, count: int) -> tuple[list[str], list[str]]:
    """Return the names of the ``count`` images with the largest AbsRel, worst first, and of those with the least, best first."""
    rows = sorted((run.evaluation or {})["rows"], key=lambda row: -row["errors"]["abs_rel"])
    names = [row["name"] for row in rows]
    count = min(count, len(names) // 2)
    return names[:count], names[::-1][:count]


def _look_through(
    network: DepthNetwork, frames: Frames, protocol: Protocol, places: dict[str, int], shown: Iterable[str],
    spread: Iterable[str], flip: bool, name: str,
) -> Seen:  # fmt: skip
    looks: dict[str, Look] = {}
    trust = Trust()
    wanted, counted = set(shown), set(spread) if network.config.fusion != "depth-only" else set()
    for frame in track(sorted(wanted | counted), f"looking ({name})"):
        look = look_at(network, frames, protocol, places[frame], flip=flip)
        if look is None:
            continue
        if frame in wanted:
            looks[frame] = look
        if frame in counted:
            trust.add(look)
    return Seen(looks, trust)


def _judged_weights(run: RunFolder) -> Any:
    named = (run.evaluation or {}).get("weights")
    return run.path / named if isinstance(named, str) and (run.path / named).is_file() else run.weights


def _judged_on(run: RunFolder, size: tuple[int, int]) -> DataConfig:
    """The data that the evaluation names, or that an older one was judged on by default."""
    recorded = (run.evaluation or {}).get("data")
    if recorded is None:
        return judged_data(load_experiment(run.path), None, size)
    parser = Parser()
    parser.add_class_arguments(DataConfig, "data")
    data: DataConfig = parser.instantiate(parser.parse_object({"data": recorded}))["data"]
    return replace(data, height=size[0], width=size[1])


def _protocol(found: dict[str, Any]) -> Protocol:
    if found["protocol"] not in PROTOCOLS:
        raise InputError(
            f"protocol {found['protocol']} is not known to this semdepth; judge again with semdepth evaluate"
        )
    return replace(PROTOCOLS[found["protocol"]], median_scaling=found.get("median_scaling", True))
