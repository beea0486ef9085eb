"""Pushing a run and loading it again, through the real hub client and a hub of the tests' own."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from fake_hub import FakeHub, serve
from huggingface_hub import constants
from PIL import Image

import semdepth
from semdepth import hub as door
from semdepth.apps.cli import main
from semdepth.apps.model_card import model_card
from semdepth.apps.push import FILES
from semdepth.apps.run_folder import portable
from semdepth.hub import HubAddress, hub_address
from semdepth.inference.opening import find_weights
from semdepth.models.weights import load_depth_network, save_weights

from .made_runs import made_run
from .test_bad_input import complaint

CaptureText = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def judged(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its evaluation."""
    run = made_run(tmp_path_factory.mktemp("runs") / "alice", world)
    assert main(["evaluate", str(run), "--device=cpu", "--baselines=false"]) == 0
    return run


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that is in reach, with an empty cache, and somebody logged in."""
    with serve() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", found.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", "hf_token")
        door._hub_in_reach.cache_clear()
        yield found
    door._hub_in_reach.cache_clear()


def test_what_is_pushed_loads_and_predicts_the_same(judged: Path, hub: FakeHub, tmp_path: Path) -> None:
    assert main(["push", str(judged), "alice/streets", "--private=true"]) == 0
    tree = hub.trees["alice/streets"]["main"]
    assert set(tree) == set(FILES)
    assert hub.private["alice/streets"]
    assert tree["weights.safetensors"] == (judged / "best.safetensors").read_bytes()
    photo = np.random.default_rng(0).random((50, 90, 3))
    ours = semdepth.load(judged, device="cpu").predict(photo)
    for address in ("hf://alice/streets", f"hf://alice/streets@{hub.head('alice/streets')}/weights.safetensors"):
        theirs = semdepth.load(address, device="cpu").predict(photo)
        np.testing.assert_array_equal(theirs.depth, ours.depth)
    Image.new("RGB", (90, 50), "grey").save(tmp_path / "photo.png")
    out = tmp_path / "out"
    assert (
        main(["predict", str(tmp_path / "photo.png"), "--weights=hf://alice/streets", f"--out={out}", "--device=cpu"])
        == 0
    )
    assert (out / "photo_depth.npy").exists()


def test_a_second_push_replaces_and_the_first_stays_under_its_revision(
    judged: Path, hub: FakeHub, tmp_path: Path
) -> None:
    semdepth.push_to_hub(judged, "alice/streets")
    first = hub.head("alice/streets")
    other = tmp_path / "other"
    shutil.copytree(judged, other)
    shutil.copy(other / "weights.safetensors", other / "best.safetensors")
    where = semdepth.push_to_hub(str(other), "alice/streets", license="cc-by-4.0", message="anew")
    assert where.endswith(hub.head("alice/streets"))
    assert hub.head("alice/streets") != first
    old, new = (semdepth.load(f"hf://alice/streets{r}", device="cpu") for r in (f"@{first}", ""))
    photo = np.zeros((64, 128, 3))
    assert (old.predict(photo).depth != new.predict(photo).depth).any()


def test_the_cache_serves_when_the_hub_is_gone(judged: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    semdepth.push_to_hub(judged, "alice/streets")
    path = find_weights("hf://alice/streets")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    door._hub_in_reach.cache_clear()
    assert find_weights("hf:/alice/streets") == path
    with pytest.raises(semdepth.InputError, match=r"hf://alice/other: the hub cannot be reached, and its cache has no"):
        find_weights("hf://alice/other")


def test_nothing_private_becomes_public(judged: Path, hub: FakeHub, capsys: CaptureText) -> None:
    semdepth.push_to_hub(judged, "alice/open")
    before = dict(hub.trees["alice/open"])
    assert "public" in complaint(["push", str(judged), "alice/open", "--private=true"], capsys)
    assert hub.trees["alice/open"] == before


def test_bad_addresses_and_refusals(
    judged: Path, hub: FakeHub, tmp_path: Path, capsys: CaptureText, monkeypatch: pytest.MonkeyPatch
) -> None:
    semdepth.push_to_hub(judged, "alice/streets")
    for address, hint in {
        "hf://alice": "no address on the hub",
        "hf://alice/nothing": "not to be had from the hub",
        "hf://alice/streets@nowhere": "not to be had from the hub",
        "hf://alice/streets/none.safetensors": "holds no none.safetensors",
        "hf://alice/streets/config.yaml": "not a whole safetensors file",
    }.items():
        with pytest.raises(semdepth.InputError, match=hint) as caught:
            semdepth.load(address)
        assert "\n" not in str(caught.value)
    assert "give owner/name" in complaint(["push", str(judged), "streets"], capsys)
    assert "no such run folder" in complaint(["push", str(tmp_path / "nowhere"), "alice/streets"], capsys)
    assert "holds none of best" in complaint(["push", str(tmp_path), "alice/streets"], capsys)
    assert "--dry_run" in complaint(["push", str(judged), "alice/streets", f"--out={tmp_path}"], capsys)
    line = complaint(["push", str(judged), "alice/streets", "--dry_run=true", f"--out={judged}"], capsys)
    assert "a run's own folder" in line
    assert "--out" in complaint(["evaluate", "hf://alice/streets"], capsys)
    monkeypatch.setenv("HF_TOKEN", "wrong")
    assert "not pushed" in complaint(["push", str(judged), "alice/streets"], capsys)


def test_weights_from_the_hub_are_judged(judged: Path, hub: FakeHub, world: Path, tmp_path: Path) -> None:
    semdepth.push_to_hub(judged, "alice/streets")
    frames = [f"--data.root={world}", "--data.labels=exact", "--baselines=false", "--device=cpu"]
    assert main(["evaluate", "hf://alice/streets", *frames, f"--out={tmp_path}"]) == 0
    one, other = (json.loads((folder / "evaluation.json").read_text()) for folder in (tmp_path, judged))
    assert one["mean"] == other["mean"]
    assert one["data"]["root"] == str(world)


def test_dry_run_writes_a_run_folder_that_names_nobodys_paths(judged: Path, world: Path) -> None:
    for _ in range(2):
        assert main(["push", str(judged), "alice/streets", "--dry_run=true", "--license=cc-by-nc-sa-4.0"]) == 0
    folder = judged / "hub"
    assert {p.name for p in folder.iterdir()} == set(FILES)
    for name in set(FILES) - {"weights.safetensors"}:
        assert str(world) not in (folder / name).read_text(), name
    assert semdepth.load(folder, device="cpu").image_size == (64, 128)
    shutil.rmtree(folder)


def test_the_card(judged: Path, tmp_path: Path) -> None:
    card = model_card(judged, "alice/streets", "cc-by-4.0")
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["license"] == "cc-by-4.0"
    assert (head["library_name"], head["pipeline_tag"]) == ("semdepth", "depth-estimation")
    found = json.loads((judged / "evaluation.json").read_text())
    result = head["model-index"][0]["results"][0]
    assert {m["type"]: m["value"] for m in result["metrics"]}["abs_rel"] == round(found["mean"]["abs_rel"], 4)
    interval = found["intervals"]["abs_rel"]
    assert f"| AbsRel | {interval['mean']:.3f} | {interval['low']:.3f} – {interval['high']:.3f} |" in card
    for text in (
        "Protocol synthetic, median scaling",
        "means over 8 images",
        "rendered streets",
        "seed: 0",
        "up to scale",
    ):
        assert text in card
    shutil.copy(judged / "best.safetensors", tmp_path)
    bare = model_card(tmp_path)
    assert "Not judged" in bare
    assert "model-index" not in yaml.safe_load(bare.split("---\n")[1])
    network, header = load_depth_network(tmp_path / "best.safetensors")
    origin: dict[str, Any] = {"converted_from": {"layout": "monodepth2", "folder": "mono"}}
    save_weights(tmp_path / "best.safetensors", network, extra=header.extra | origin)
    assert "converted from files in monodepth2's layout (mono)" in model_card(tmp_path)


def test_damaged_runs(judged: Path, tmp_path: Path, capsys: CaptureText) -> None:
    for name, content in {"evaluation.json": '{"rows": 3}', "config.yaml": "- a list"}.items():
        copy = tmp_path / name / "run"
        shutil.copytree(judged, copy)
        (copy / name).write_text(content)
        assert name in complaint(["push", str(copy), "alice/streets", "--dry_run=true"], capsys)
        assert not (copy / "hub").exists()


def test_errors_of_other_weights_are_not_pushed(judged: Path, tmp_path: Path, capsys: CaptureText) -> None:
    run = tmp_path / "run"
    shutil.copytree(judged, run)
    shutil.copy(run / "best.safetensors", run / "weights.safetensors")
    assert main(["evaluate", str(run / "weights.safetensors"), "--device=cpu", "--baselines=false"]) == 0
    said = complaint(["push", str(run), "alice/streets", "--dry_run=true"], capsys)
    assert "verdict on weights.safetensors" in said
    assert f"semdepth evaluate {run}" in said


def test_addresses() -> None:
    assert hub_address("runs/demo") is None
    assert hub_address(Path("hf://a/b")) == HubAddress("a/b")
    assert hub_address("hf://a/b@v1.0/x/y.safetensors") == HubAddress("a/b", "v1.0", "x/y.safetensors")
    assert str(HubAddress("a/b", "main", "c")) == "hf://a/b@main/c"


def test_portable_paths() -> None:
    plain = {
        "a": ["/home/alice/kitti", "worlds/demo"],
        "b": "C:\\data\\kitti",
        "c": 3,
        "d": "~/kitti",
        "e": "text\n/no",
    }
    assert portable(plain) == {"a": ["kitti", "worlds/demo"], "b": "kitti", "c": 3, "d": "kitti", "e": "text\n/no"}
