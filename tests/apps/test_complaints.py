"""What the command line says of arguments and recipes that it cannot use: one line, the place, the mend."""

from pathlib import Path

import pytest

from semdepth.apps.parser import function_parser
from semdepth.apps.predict import predict
from semdepth.apps.recipes import parse_experiment
from semdepth.runtime import InputError


def _said(arguments: list[str]) -> str:
    with pytest.raises(InputError) as caught:
        parse_experiment(arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("netwrok: {encoder: resnet18}", "there is no option netwrok.encoder; did you mean network.encoder?"),
        ("optim: {learning_rat: 0.1}", "there is no option optim.learning_rat; did you mean optim.learning_rate?"),
        ("surprise: 3", "there is no option surprise; see --help"),
        ("optim: [\n  x", "is no YAML: while parsing a flow sequence"),
        ("trainer: {steps: many}", "trainer.steps many: give a whole number or null"),
        ("network: {fusion: sfa}", "network.fusion sfa: choose one of depth-only, none, concat, ssfa"),
        ("data: {height: 64.5}", "data.height 64.5: give a whole number"),
    ],
)
def test_a_recipe_is_named_with_what_is_wrong_in_it(recipe: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(recipe)
    assert _said(["--config", str(file)]).startswith(f"{file}: {says}")
    assert _said([f"--config={file}"]).startswith(f"{file}: {says}")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--trainer.stepps", "3"], "there is no option --trainer.stepps; did you mean --trainer.steps?"),
        (["--trainer.step=3"], "there is no option --trainer.step; did you mean --trainer.steps?"),
        (["--trainer.steps", "many"], "trainer.steps many: give a whole number or null"),
        (["--data.offsets=3"], "data.offsets 3: give a list, e.g. [1,2]"),
        (["--data.intrinsics=[1,2]"], "data.intrinsics [1, 2]: give a list of 4 or null"),
        (["--config", "missing.yaml"], "missing.yaml: no such recipe"),
    ],
)
def test_an_option_that_is_not_there_or_of_another_kind(arguments: list[str], says: str) -> None:
    assert says in _said(arguments)


def test_what_an_option_says_is_not_the_recipes_fault(tmp_path: Path) -> None:
    recipe = tmp_path / "sound.yaml"
    recipe.write_text("data: {height: 64}")
    assert _said(["--config", str(recipe), "--data.height", "many"]) == "data.height many: give a whole number"


def test_no_argument_at_all() -> None:
    with pytest.raises(InputError, match="required: inputs"):
        function_parser("semdepth predict", predict).parse_args([])


def test_a_part_of_a_name_is_no_name() -> None:
    with pytest.raises(InputError, match=r"there is no option --weight; did you mean --weights\?"):
        function_parser("semdepth predict", predict).parse_args(["photo.jpg", "--weight", "x"])


def test_a_choice_that_may_be_left_out() -> None:
    from semdepth.apps.evaluate import evaluate

    with pytest.raises(InputError, match="protocol kitti: choose one of synthetic, kitti_eigen,"):
        function_parser("semdepth evaluate", evaluate).parse_args(["run", "--protocol=kitti"])
