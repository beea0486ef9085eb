import contextlib
from pathlib import Path

import pytest
import torch

from semdepth.runtime import InputError
from semdepth.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint

STATE = {
    "learner": {"w": torch.arange(4.0)},
    "optimiser": {"state": {}, "param_groups": [{"lr": 0.1}]},
    "precision": {},
    "best": 1.0,
    "watch": {"streaks": {}, "told": {}},
}


def test_newest_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 5, 30):
        save_checkpoint(tmp_path, step, STATE)
    assert [path.name for path in checkpoints(tmp_path)] == ["step_00000005.ckpt", "step_00000030.ckpt"]
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 30
    assert torch.equal(state["learner"]["w"], torch.arange(4.0))


def test_damaged_newest_falls_back(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, STATE)
    newest = save_checkpoint(tmp_path, 2, STATE)
    newest.write_bytes(newest.read_bytes()[:200])
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 1


def test_a_newer_form_is_refused_not_passed_over(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 1, STATE)
    torch.save(torch.load(path, weights_only=True) | {"version": 2}, path)
    with pytest.raises(InputError, match="another version"):
        load_checkpoint(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "none") is None


def test_only_damaged_ones_are_an_error(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 1, STATE).write_bytes(b"")
    with pytest.raises(InputError, match="delete the folder"):
        load_checkpoint(tmp_path)


class Evil:
    def __reduce__(self) -> tuple:
        return (print, ("executed",))


def test_a_checkpoint_never_executes_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"step": 1, "learner": Evil(), "optimiser": {}}, tmp_path / "step_00000001.ckpt")
    with pytest.raises(InputError):
        load_checkpoint(tmp_path)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("damage", range(40))
def test_any_damage_is_a_damaged_checkpoint(tmp_path: Path, damage: int) -> None:
    path = save_checkpoint(tmp_path, 1, STATE)
    content = bytearray(path.read_bytes())
    for k in range(20):
        content[(damage * 7919 + k * 104729) % len(content)] ^= 1 + damage
    path.write_bytes(content)
    with contextlib.suppress(InputError):  # anything but that is a traceback for the user
        load_checkpoint(tmp_path)


def test_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        save_checkpoint(tmp_path / "file" / "sub", 1, STATE)
