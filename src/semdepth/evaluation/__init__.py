"""How well a prediction agrees with the truth: metrics, protocols, strata, intervals, baselines, tables."""
