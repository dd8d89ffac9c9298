"""The estimators that `tabular.py` compares: every one with its defaults, and with no more preparation than it needs.

All take the same frame of numbers and text with gaps. What reads it as it is gets it as it is; categories are marked
for those that take categories; what wants plain numbers gets medians for gaps, one column a category, and for the
network standardised columns and a standardised target.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from distilled_experts import MoDEClassifier, MoDERegressor
from distilled_experts.reproduction.peer_records import ESTIMATORS
from distilled_experts.tabular.defaults import AUTO_MEMBERS

SEEDS, SEEDS_OF_SLOW = 5, 3


@dataclass(frozen=True)
class Fit:
    """What a peer is told before it is made."""

    task: str
    seed: int
    threads: int
    words: tuple[str, ...]  # columns that hold no numbers

    def choose(self, classifier: Any, regressor: Any) -> Any:
        return classifier if self.task == "classification" else regressor


@dataclass(frozen=True)
class Peer:
    """An estimator under comparison.

    `make` takes a `Fit` and parameters that shorten it: `warm_up` has those for the fit before the clock starts.
    """

    make: Callable[..., Any]
    seeds: int = SEEDS
    warm_up: Mapping[str, Any] = field(default_factory=dict)


def version_of(peer: str) -> str | None:
    """The version of its package; None where that is not installed."""
    try:
        return importlib.metadata.version(ESTIMATORS[peer].package)
    except importlib.metadata.PackageNotFoundError:
        return None


def words_of(X: pd.DataFrame) -> tuple[str, ...]:
    """Columns that hold no numbers."""
    return tuple(name for name in X.columns if not pd.api.types.is_numeric_dtype(X[name]))


class AsCategories(TransformerMixin, BaseEstimator):
    """Text as pandas categories with the levels of the training rows; any other level is a gap.

    With `fill_numbers`, gaps in numbers get the median of the training rows; with `fill_words`, gaps in text are a
    level of their own.
    """

    def __init__(self, *, fill_numbers: bool = False, fill_words: bool = False) -> None:
        self.fill_numbers = fill_numbers
        self.fill_words = fill_words

    def fit(self, X: pd.DataFrame, y: Any = None) -> AsCategories:
        words = words_of(X)
        self.levels_ = {name: sorted(X[name].dropna().unique()) for name in words}
        self.medians_ = X.drop(columns=list(words)).median() if self.fill_numbers else {}
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        X = X.fillna(dict(self.medians_))
        for name, levels in self.levels_.items():
            column = X[name].astype(object)
            column = column.where(column.isin(levels), "(gap)" if self.fill_words else None)
            known = [*levels, "(gap)"] if self.fill_words else levels
            X[name] = pd.Categorical(column, categories=known)
        return X


def as_numbers(*, scaled: bool) -> ColumnTransformer:
    """Medians for gaps, one column a category."""
    fill = SimpleImputer(strategy="median")
    numbers = make_pipeline(fill, StandardScaler()) if scaled else fill
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer(
        [
            ("numbers", numbers, make_column_selector(dtype_include="number")),
            ("words", words, make_column_selector(dtype_exclude="number")),
        ]
    )


def mode(fit: Fit, **parameters: Any) -> Any:
    return fit.choose(MoDEClassifier, MoDERegressor)(random_state=fit.seed, **parameters)


def networks(fit: Fit) -> Any:
    """As many networks as the default has experts in all, each trained for itself, their predictions averaged: no gate.

    Experts under a common loss with equal weights cannot be had from the estimators' parameters.
    """
    plain = mode(fit)
    return plain.set_params(n_experts=1, n_estimators=plain.n_experts * AUTO_MEMBERS)


def boosted_histograms(fit: Fit) -> Any:
    estimator = fit.choose(HistGradientBoostingClassifier, HistGradientBoostingRegressor)
    return make_pipeline(AsCategories(), estimator(random_state=fit.seed))


def forest(fit: Fit) -> Any:
    estimator = fit.choose(RandomForestClassifier, RandomForestRegressor)
    return make_pipeline(as_numbers(scaled=False), estimator(random_state=fit.seed, n_jobs=fit.threads))


def network(fit: Fit) -> Any:
    estimator = fit.choose(MLPClassifier, MLPRegressor)(random_state=fit.seed)
    if fit.task == "regression":
        estimator = TransformedTargetRegressor(estimator, transformer=StandardScaler())
    return make_pipeline(as_numbers(scaled=True), estimator)


def xgboost(fit: Fit) -> Any:
    from xgboost import XGBClassifier, XGBRegressor

    estimator = fit.choose(XGBClassifier, XGBRegressor)
    return make_pipeline(AsCategories(), estimator(random_state=fit.seed, n_jobs=fit.threads, enable_categorical=True))


def lightgbm(fit: Fit) -> Any:
    from lightgbm import LGBMClassifier, LGBMRegressor

    estimator = fit.choose(LGBMClassifier, LGBMRegressor)
    return make_pipeline(AsCategories(), estimator(random_state=fit.seed, n_jobs=fit.threads, verbose=-1))


def catboost(fit: Fit, **parameters: Any) -> Any:
    from catboost import CatBoostClassifier, CatBoostRegressor

    estimator = fit.choose(CatBoostClassifier, CatBoostRegressor)(
        random_seed=fit.seed,
        thread_count=fit.threads,
        cat_features=list(fit.words),
        verbose=False,
        allow_writing_files=False,
        **parameters,
    )
    return make_pipeline(AsCategories(fill_words=True), estimator)


def tabm(fit: Fit, **parameters: Any) -> Any:
    """TabM with the settings of its authors' example, trained by pytabkit: the model's own package does not train."""
    from pytabkit import TabM_D_Classifier, TabM_D_Regressor

    return pytabkit(fit, fit.choose(TabM_D_Classifier, TabM_D_Regressor), parameters)


def tabm_mini(fit: Fit, **parameters: Any) -> Any:
    """The version with numerical embeddings that TabM's authors name the advanced one, with their weight decay."""
    return tabm(fit, arch_type="tabm-mini", num_emb_type="pwl", weight_decay=3e-4, **parameters)


def realmlp(fit: Fit, **parameters: Any) -> Any:
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

    return pytabkit(fit, fit.choose(RealMLP_TD_Classifier, RealMLP_TD_Regressor), parameters)


def pytabkit(fit: Fit, estimator: Any, parameters: Mapping[str, Any]) -> Any:
    made = estimator(random_state=fit.seed, n_threads=fit.threads, device="cpu", **parameters)
    return make_pipeline(AsCategories(fill_numbers=True), made)


PEERS = {
    "mode": Peer(mode),
    "moe": Peer(lambda fit: mode(fit, alpha=0.0)),
    "networks": Peer(networks),
    "hist_gradient_boosting": Peer(boosted_histograms),
    "random_forest": Peer(forest),
    "mlp": Peer(network),
    "xgboost": Peer(xgboost),
    "lightgbm": Peer(lightgbm),
    "catboost": Peer(catboost, SEEDS_OF_SLOW, {"iterations": 2}),
    "tabm": Peer(tabm, SEEDS_OF_SLOW, {"n_epochs": 1}),
    "tabm_mini": Peer(tabm_mini, SEEDS_OF_SLOW, {"n_epochs": 1}),
    "realmlp": Peer(realmlp, SEEDS_OF_SLOW, {"n_epochs": 1}),
}
