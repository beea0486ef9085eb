"""Variants, each an experiment of its own."""

from dataclasses import replace

import pytest

from semdepth.config import Experiment
from semdepth.losses.pair_config import PairConfig
from semdepth.runtime import InputError
from semdepth.training.ablation import BEYOND, PAPER, RULES, VARIANTS, override, variant_of
from semdepth.training.objective_config import ObjectiveConfig

RECIPE = Experiment(objective=ObjectiveConfig(ranking=0.02))


def test_every_variant_is_an_experiment_of_its_own() -> None:
    made = {name: override(RECIPE, VARIANTS[name]) for name in PAPER}
    assert len({repr(e) for e in made.values()}) == len(PAPER) == 9
    fusions = {name: e.network.fusion for name, e in made.items()}
    assert fusions["depth-only"] == "depth-only"
    assert {name for name, fusion in fusions.items() if fusion == "ssfa"} == {"ssfa", "full", "full-clean-labels"}
    ranked = {name for name, e in made.items() if e.objective.ranking == 0.02}
    assert ranked == {"ranking-plain", "ranking-robust", "ranking", "full", "full-clean-labels"}
    assert made["full-clean-labels"].data.labels == "exact"
    plain, robust, weighted = (made[n].objective.ranking_loss for n in ("ranking-plain", "ranking-robust", "ranking"))
    assert not any(getattr(plain.pairs, rule) for rule in RULES)
    assert robust.pairs == weighted.pairs == PairConfig()
    assert (plain.uncertainty, robust.uncertainty, weighted.uncertainty) == (False, False, True)
    assert (plain.sky_yields, robust.sky_yields, weighted.sky_yields) == (False, True, True)
    pushed = override(RECIPE, {"objective.ranking_loss.sky_yields": False})  # what the recipe says holds
    assert not override(pushed, VARIANTS["full"]).objective.ranking_loss.sky_yields
    poles_left_out = override(RECIPE, {"objective.ranking_loss.pairs.thin": False})
    assert override(poles_left_out, VARIANTS["full"]).objective.ranking_loss.pairs == PairConfig(thin=False)


def test_without_fusion_learnt_weights_give_way_to_balance_by_gradient() -> None:
    recipe = override(RECIPE, {"objective.balance.method": "learnt"})
    methods = {name: variant_of(recipe, name).objective.balance.method for name in PAPER}
    apart = {"two-branch", "ranking-plain", "ranking-robust", "ranking"}
    assert {name for name, method in methods.items() if method == "gradient"} == apart
    assert {name for name, method in methods.items() if method == "learnt"} == set(PAPER) - apart - {"depth-only"}
    fixed = override(RECIPE, {"objective.balance.method": "fixed"})
    assert {variant_of(fixed, name).objective.balance.method for name in PAPER} == {"fixed"}


def test_variants_beyond_the_paper_are_the_full_method_but_for_one_thing() -> None:
    full = override(RECIPE, VARIANTS["full"])
    assert override(RECIPE, VARIANTS["balance-gradient"]) == full  # the recipe's own balance
    for name in BEYOND:
        more = override(RECIPE, VARIANTS[name])
        assert more != full or name == "balance-gradient"
        assert more.network == full.network
        weighted = name != "full-robust"
        assert more.objective.ranking_loss == replace(full.objective.ranking_loss, uncertainty=weighted)
        assert more.augment.second_view == (more.objective.zoom_consistency > 0) == (name == "zoom")
    assert set(BEYOND) | set(PAPER) == set(VARIANTS)


def test_the_rules_are_all_the_sampler_has() -> None:
    switches = {f for f, value in vars(PairConfig()).items() if isinstance(value, bool)}
    assert switches - {"prediction_decides"} == set(RULES)


def test_override_refuses_contradictions_and_keeps_the_recipe() -> None:
    with pytest.raises(InputError, match="guide_gradient"):
        override(RECIPE, {"network.guide_gradient": True})
    override(RECIPE, {"trainer.seed": 7})
    assert RECIPE.trainer.seed == 0
