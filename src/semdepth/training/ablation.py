"""What an ablation is: variants by name, each a change of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar, get_args

Variant = Literal[
    "depth-only", "two-branch", "concat", "ssfa", "ranking-plain", "ranking-robust", "ranking", "full",
    "full-clean-labels", "full-robust", "zoom", "motion-mask", "balance-fixed", "balance-gradient", "balance-learnt",
]  # fmt: skip
BASELINE: Variant = "depth-only"
RULES = ("uniform_neighbourhood", "minimum_area", "confidence", "agreement", "contact", "standing", "upright", "thin")

_T = TypeVar("_T")
_Options = dict[str, Any]


def _ranking(robust: bool, uncertainty: bool) -> _Options:
    """Robust: the rules are the recipe's own; else all of ours are off."""
    off = [] if robust else [*(f"pairs.{rule}" for rule in RULES), "sky_yields"]
    return {f"objective.ranking_loss.{switch}": False for switch in off} | {
        "objective.ranking_loss.uncertainty": uncertainty
    }


def _network(fusion: str) -> _Options:
    return {"network.fusion": fusion} | ({} if fusion == "ssfa" else {"network.guide_gradient": False})


def _balance(method: str) -> _Options:
    return {"objective.balance.method": method}


_NO_RANKING: _Options = {"objective.ranking": 0.0}
_FULL = _network("ssfa") | _ranking(robust=True, uncertainty=True)

VARIANTS: dict[Variant, _Options] = {
    "depth-only": _network("depth-only") | _NO_RANKING | _balance("fixed"),  # one task: nothing to balance
    "two-branch": _network("none") | _NO_RANKING,
    "concat": _network("concat") | _NO_RANKING,
    "ssfa": _network("ssfa") | _NO_RANKING,
    "ranking-plain": _network("none") | _ranking(robust=False, uncertainty=False),
    "ranking-robust": _network("none") | _ranking(robust=True, uncertainty=False),
    "ranking": _network("none") | _ranking(robust=True, uncertainty=True),
    "full": _FULL,
    "full-clean-labels": _FULL | {"data.labels": "exact"},
    "full-robust": _network("ssfa") | _ranking(robust=True, uncertainty=False),
    "zoom": _FULL | {"augment.second_view": True, "objective.zoom_consistency": 0.005},
    "motion-mask": _FULL | {"objective.motion_mask": "moving"},
    "balance-fixed": _FULL | _balance("fixed"),
    "balance-gradient": _FULL | _balance("gradient"),
    "balance-learnt": _FULL | _balance("learnt"),
}
"""Variant → what it changes in the recipe. All else, the weight of the ranking loss included, is the recipe's own.

The ranking variants are two-branch networks without fusion: rule 4 and the uncertainty weights need the segmentation.
"""
assert set(VARIANTS) == set(get_args(Variant))
BEYOND: tuple[Variant, ...] = (
    "full-robust", "zoom", "motion-mask", "balance-fixed", "balance-gradient", "balance-learnt",
)  # fmt: skip
"""Variants beyond the paper, which run only when they are named. These are each the full method and one thing changed; of the
three balances one is the recipe's own. Say in ``WITHOUT`` what another is compared with, if not with full."""
WITHOUT: dict[Variant, tuple[Variant, ...]] = {
    **dict.fromkeys(BEYOND, ("full",)),
    "two-branch": (BASELINE,),
    "concat": ("two-branch",),
    "ssfa": ("two-branch", "concat"),
    "ranking-plain": ("two-branch",),
    "ranking-robust": ("two-branch",),
    "ranking": ("two-branch",),
    "full": ("ssfa", "ranking"),
    "full-clean-labels": ("full",),
}
"""Variant → those that each lack one part of it, and so tell what that part adds.

SSFA stands against concatenation, too: what it adds to an exchange of features that does not look at the categories.
"""
PAPER: tuple[Variant, ...] = tuple(variant for variant in VARIANTS if variant not in BEYOND)
"""The paper's own variants."""


def variant_of(recipe: _T, variant: Variant) -> _T:
    """Return a variant of a recipe (an ``Experiment``, whose parts are changed by ``VARIANTS``).

    Weights that the recipe learns are learnt only where the decoders exchange features; without fusion the tasks are
    balanced by gradient instead (``docs/experiments.md``, "Beyond the paper"). Any other balance holds for all.
    """
    made: Any = override(recipe, VARIANTS[variant])
    if made.network.fusion == "none" and made.objective.balance.method == "learnt":
        made = override(made, _balance("gradient"))
    return made  # type: ignore[no-any-return]


def override(config: _T, changes: Mapping[str, Any]) -> _T:
    """Return a copy of a dataclass of dataclasses with some fields changed.

    Args:
        config: e.g. an ``Experiment``.
        changes: by dotted name, e.g. ``{"network.fusion": "ssfa"}``.

    Raises:
        InputError: if the changed values contradict others.
    """
    for name, value in changes.items():
        head, _, rest = name.partition(".")
        inner = override(getattr(config, head), {rest: value}) if rest else value
        config = replace(config, **{head: inner})  # type: ignore[type-var]
    return config
