"""Estimators for tables: mixtures of distilled experts under scikit-learn's conventions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, compute_sample_weight
from sklearn.utils.validation import check_is_fitted

from distilled_experts.functional import Distance, Schedule, Teacher
from distilled_experts.tabular.base import MoDEEstimator
from distilled_experts.tabular.inputs import check_classes, check_numbers
from distilled_experts.tabular.targets import ClassTarget, RegressionTarget
from distilled_experts.tabular.watch import Callback

__all__ = ["MoDEClassifier", "MoDERegressor"]

Array = NDArray[Any]
_Class = TypeVar("_Class", bound=type)

_PARAMETERS = """Parameters
    ----------
    n_experts, hidden : int
        Experts, and hidden units of each.
    gate : {"dense", "sparse"}
        Whether every row goes to all experts or to the best `top_k` (default 2).
    top_k : int, optional
    alpha : "auto", float or sequence of float
        Strength of distillation; with "auto", which is 0, 0.1 and 1, or several values, the one with the lowest loss on
        held-out rows, after encoding and weight decay were chosen with the middle one. Where no rows are held out,
        "auto" is 0.1, and of several values the first is taken.
    distance, teacher : str
        As in `distilled_experts.functional.mutual_distillation`.
    alpha_schedule : {"constant", "warmup", "cosine", "anneal"}
        How the strength changes over `max_iter`, as in `distilled_experts.functional.schedule_factor`.
    n_bins : "auto" or int
        Pieces of the piecewise-linear encoding that is appended for every number, 0 for none. With "auto" both are
        trained, 16 pieces (fewer where there are more than 64 numbers) and none, and the lower loss on held-out rows
        decides; without such rows it is none.
    n_estimators : "auto" or int
        Mixtures whose predictions are averaged, each with its own initial weights, batches and held-out rows; "auto" is
        8 where they are judged by held-out rows, else 1. Where strength, encoding or weight decay are to be chosen, two
        of them choose, and the others are trained with what they chose.
    max_iter : "auto" or int
        Epochs at most, of each training; over them the learning rate falls to zero as a cosine. "auto" is what takes
        about 1,500 steps, but 40 to 200 epochs.
    max_time : float, optional
        Seconds after which training ends with the next epoch.
    learning_rate : float
        Of Adam.
    weight_decay : "auto", float or sequence of float
        Strength of the decay of the weights that meet the features, as in AdamW; with "auto", which is 2 and 10, or
        several values, held-out rows choose as for alpha. Without such rows "auto" is none.
    scale_features : "auto" or bool
        Learn one scale a feature for all experts and the gate of a mixture, fast: together with weight decay it finds
        out which features to leave aside. "auto" does so where rows are held out.
    batch_size : int
        Rows in a step, about. Tables of up to 1,000 rows are reduced to their distinct rows, weighted by how
        often they stand there; without held-out rows they are one batch, in double precision.
    early_stopping : "auto" or bool
        Hold out `validation_fraction` of the rows, others for every member, and stop `n_iter_no_change` epochs after
        their lowest loss; "auto" does so from 200 distinct rows.
    validation_fraction : float
    n_iter_no_change : int
    callbacks : sequence of callable, optional
        Called after every epoch with a dict of ``epoch`` and losses; training ends when one returns True. They are not
        saved.
    random_state : int, RandomState or None
    device : str
"""


def _with_parameters(estimator: _Class) -> _Class:
    """Write the parameters that both estimators share into a docstring."""
    estimator.__doc__ = (estimator.__doc__ or "").replace("{parameters}", _PARAMETERS.rstrip())
    return estimator


@_with_parameters
class MoDEClassifier(ClassifierMixin, MoDEEstimator):
    """Classifier: a mixture of experts with mutual distillation.

    {parameters}
    class_weight : dict, "balanced" or None
        Weights of the classes, in the task loss and in the distillation loss.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
    alpha_, weight_decay_ : float
        The strengths that were taken.
    alpha_path_ : dict of float to float, or None
        Held-out loss for every strength of distillation.
    history_ : dict of str to list of float
        Losses by epoch, for the strength that was taken: means over the members still in training.
    n_iter_ : int

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = MoDEClassifier(random_state=0).fit(X, y)
    >>> bool(classifier.score(X, y) > 0.95)
    True
    """

    _task: ClassVar[str] = "classification"
    target_: ClassTarget

    def __init__(
        self,
        *,
        n_experts: int = 4,
        hidden: int = 64,
        gate: str = "dense",
        top_k: int | None = None,
        alpha: str | float | Sequence[float] = "auto",
        distance: Distance = "mse",
        teacher: Teacher = "mean",
        alpha_schedule: Schedule = "constant",
        n_bins: int | str = "auto",
        n_estimators: int | str = "auto",
        max_iter: int | str = "auto",
        max_time: float | None = None,
        learning_rate: float = 3e-3,
        batch_size: int = 128,
        weight_decay: str | float | Sequence[float] = "auto",
        scale_features: bool | str = "auto",
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.2,
        n_iter_no_change: int = 30,
        class_weight: dict[Any, float] | str | None = None,
        callbacks: Sequence[Callback] | None = None,
        random_state: int | np.random.RandomState | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            n_experts=n_experts,
            hidden=hidden,
            gate=gate,
            top_k=top_k,
            alpha=alpha,
            distance=distance,
            teacher=teacher,
            alpha_schedule=alpha_schedule,
            n_bins=n_bins,
            n_estimators=n_estimators,
            max_iter=max_iter,
            max_time=max_time,
            learning_rate=learning_rate,
            batch_size=batch_size,
            weight_decay=weight_decay,
            scale_features=scale_features,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            callbacks=callbacks,
            random_state=random_state,
            device=device,
        )
        self.class_weight = class_weight

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Class probabilities, mean over the members, shape (n, C)."""
        scores = self._outputs(X).mixture.astype(np.float64)
        exponentials = np.exp(scores - scores.max(-1, keepdims=True))
        return np.asarray((exponentials / exponentials.sum(-1, keepdims=True)).mean(0))

    def predict(self, X: Any) -> Array:
        """The most probable class of every row, shape (n,)."""
        codes = self.predict_proba(X).argmax(-1)
        return self.target_.decode(codes)

    @property
    def classes_(self) -> Array:
        """Classes in the order of the probabilities."""
        check_is_fitted(self, "target_")
        return self.target_.classes

    def _check_y(self, X: Any, y: Any) -> Array:
        return check_classes(X, y)

    def _fit_target(self, y: Array, weight: Array) -> ClassTarget:
        return ClassTarget().fit(y, weight)

    def _n_outputs(self) -> int:
        return len(self.target_.classes)

    def _class_weights(self, y: Array) -> Array | float:
        return 1.0 if self.class_weight is None else compute_sample_weight(self.class_weight, y)


@_with_parameters
class MoDERegressor(RegressorMixin, MoDEEstimator):
    """Regressor: a mixture of experts with mutual distillation, for one target or several.

    {parameters}

    Attributes
    ----------
    alpha_, weight_decay_, alpha_path_, history_, n_iter_
        As in `MoDEClassifier`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = MoDERegressor(random_state=0).fit(X, y)
    >>> bool(regressor.score(X, y) > 0.5)
    True
    """

    _task: ClassVar[str] = "regression"
    target_: RegressionTarget

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predicted targets, mean over the members, shape (n,) or (n, targets)."""
        standardised = self._outputs(X).mixture.astype(np.float64).mean(0)
        return self.target_.decode(standardised)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _check_y(self, X: Any, y: Any) -> Array:
        return check_numbers(X, y)

    def _fit_target(self, y: Array, weight: Array) -> RegressionTarget:
        return RegressionTarget().fit(y, weight)

    def _n_outputs(self) -> int:
        return len(self.target_.center)
