"""What classifier and regressor share: parameters, fitting, members' outputs, saving."""

from __future__ import annotations

import os
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from distilled_experts.errors import DataError, ModelFolderError
from distilled_experts.functional import Distance, Schedule, Teacher
from distilled_experts.probing import ExpertFunction, ExpertOutputs, ProbedSamples, ProbeRecord, probe
from distilled_experts.tabular.defaults import choices_of, holds_out, number_of_members, settings_of
from distilled_experts.tabular.experts import function_of, members_of, network_outputs
from distilled_experts.tabular.fitting import Fitted, MemberFit, Members, Part
from distilled_experts.tabular.held_out import held_out_rows
from distilled_experts.tabular.inputs import canonical_rows, check_weights, table_input
from distilled_experts.tabular.model_folder import read_model, write_model
from distilled_experts.tabular.parameters import check_parameters
from distilled_experts.tabular.preprocessing import TablePreprocessor
from distilled_experts.tabular.saved import describe, restore
from distilled_experts.tabular.streamed import StreamedTable
from distilled_experts.tabular.targets import ClassTarget, RegressionTarget
from distilled_experts.tabular.watch import Callback, Watch

__all__ = ["MoDEEstimator"]

Array = NDArray[Any]

# Up to here a table is reduced to its distinct rows: a weight of two is then the same as a row that stands there twice.
SMALL_TABLE_ROWS = 1000


class MoDEEstimator(BaseEstimator):
    """Base of `MoDEClassifier` and `MoDERegressor`."""

    _task: ClassVar[str]
    target_: ClassTarget | RegressionTarget

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
        callbacks: Sequence[Callback] | None = None,
        random_state: int | np.random.RandomState | None = None,
        device: str = "cpu",
    ) -> None:
        self.n_experts = n_experts
        self.hidden = hidden
        self.gate = gate
        self.top_k = top_k
        self.alpha = alpha
        self.distance = distance
        self.teacher = teacher
        self.alpha_schedule = alpha_schedule
        self.n_bins = n_bins
        self.n_estimators = n_estimators
        self.max_iter = max_iter
        self.max_time = max_time
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.scale_features = scale_features
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.callbacks = callbacks
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, eval_set: tuple[Any, Any] | None = None) -> Self:
        """Fit to a table.

        Parameters
        ----------
        X : data frame (pandas or polars), array, sparse matrix or `StreamedTable`, shape (n, features)
            Numbers, categories, booleans, dates; missing values are fine. A `StreamedTable` is read column by column,
            and its features are kept in a file.
        y : array, shape (n,) or for regression (n, targets)
        sample_weight : array, shape (n,), optional
            Weights in the task loss and in the distillation loss.
        eval_set : (X, y), optional
            Rows that decide when to stop and which α to take, instead of a part of the training rows.

        Raises
        ------
        ValueError
            When a parameter or the data cannot be used.
        TrainingError
            When no choice ever had a finite loss, or where no rows are held out the loss stopped being finite.

        Warns
        -----
        UserWarning
            When losses stopped being finite, and held-out rows say which weights before were the best.
        """
        check_parameters(self, self._task)
        if y is None:
            raise DataError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        X = table_input(self, X, reset=True)
        y = self._check_y(X, y)
        weight = check_weights(sample_weight, X) * self._class_weights(y)
        kept = np.flatnonzero(weight)
        X, y, weight = _rows(X, kept), y[kept], weight[kept]
        self.target_ = self._fit_target(y, weight)
        random = check_random_state(self.random_state)
        table = self._table(X, y, weight)
        judged = eval_set is not None or holds_out(self, len(table.x))
        n_members = number_of_members(self, judged=judged)
        train, validation = self._parts(table, eval_set, n_members, random) if judged else (table, None)
        members = Members(
            [int(seed) for seed in random.randint(2**31 - 1, size=n_members)],
            self._n_outputs(),
            self.n_experts,
            self.hidden,
            self._top_k(),
            judged if self.scale_features == "auto" else bool(self.scale_features),
        )
        choices = choices_of(self, train, np.flatnonzero(self.preprocessor_.numeric_features), judged=judged)
        settings = settings_of(self, train.n_rows, whole=not judged and len(table.x) <= SMALL_TABLE_ROWS)
        watch = Watch(self.max_time, self.callbacks or ())
        fit = MemberFit(members, self._task, train, validation, settings, self.device, watch)
        self._keep(fit.run(choices))
        return self

    def probe(
        self, X: Any, y: Any, *, layer: int | None = None, sample_weight: Any = None, subsets: Any = None
    ) -> ProbeRecord:
        """Expert probing on rows with known targets, as `distilled_experts.probing.probe`.

        Parameters
        ----------
        X, y
            As in `fit`; rows that the model was not trained on, except for narrow vision.
        layer : int, optional
            Which of the `n_estimators` mixtures; default: the first.
        sample_weight : array, shape (n,), optional
        subsets : {"clusters", "target"} or array, shape (n,), optional
            What narrow vision tells apart; default: classes, or for numbers clusters of the inputs.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from distilled_experts import MoDEClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> record = MoDEClassifier(random_state=0).fit(X, y).probe(X, y)
        >>> record.matrix.shape
        (4, 4)
        """
        return probe(self, X, y, layer=layer, sample_weight=sample_weight, subsets=subsets)

    def members_on(self, X: Any, y: Any, *, layer: str | int | None = None) -> ProbedSamples:
        """What `probe` measures: see `distilled_experts.probing.Probeable`."""
        check_is_fitted(self)
        X = table_input(self, X, reset=False)
        y = self._check_y(X, y)
        return members_of(self, self._features(X), y, layer)

    def expert_function(self, X: Any, *, layer: str | int | None = None) -> ExpertFunction:
        """What `attention` looks at: see `distilled_experts.probing.Attentive`."""
        check_is_fitted(self)
        return function_of(self, self._features(table_input(self, X, reset=False)), layer)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the fitted model as JSON and safetensors, whole or not at all.

        Raises
        ------
        ModelFolderError
            When the folder holds something already.
        """
        check_is_fitted(self)
        write_model(path, *describe(self), overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote.

        Raises
        ------
        ModelFolderError
            When the folder is missing, damaged, or holds another kind of model.
        """
        description, arrays = read_model(path)
        if description.get("class") != cls.__name__:
            raise ModelFolderError(f"model: {str(path)!r} holds a {description.get('class')}, not a {cls.__name__}")
        try:
            return restore(cls, description, arrays)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
            raise ModelFolderError(f"model: {str(path)!r} cannot be rebuilt: {error!r}") from error

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.input_tags.sparse = True
        return tags

    @abstractmethod
    def _check_y(self, X: Any, y: Any) -> Array: ...

    @abstractmethod
    def _fit_target(self, y: Array, weight: Array) -> ClassTarget | RegressionTarget: ...

    @abstractmethod
    def _n_outputs(self) -> int: ...

    def _class_weights(self, y: Array) -> Array | float:
        return 1.0

    def _table(self, X: Any, y: Array, weight: Array) -> Part:
        """Features, encoded targets and weights of all rows; distinct rows alone in a small table."""
        small = X.shape[0] <= SMALL_TABLE_ROWS
        self.preprocessor_ = TablePreprocessor(dtype="float64" if small else "float32").fit(X, weight)
        x, target = self._features(X), self.target_.encode(y)
        if small:
            x, target, weight = canonical_rows(x, target, weight)
        equal = bool((weight == weight[0]).all())
        return Part(x, target, None if equal else weight)

    def _parts(
        self, table: Part, eval_set: tuple[Any, Any] | None, n_members: int, random: np.random.RandomState
    ) -> tuple[Part, Part]:
        """Rows that the members train on, and those that they are judged by."""
        # Double precision is for tables too small to be judged by: there a prediction is compared to its last digits.
        self.preprocessor_.dtype = np.dtype("float32")
        table = replace(table, x=table.x.astype("float32", copy=False))
        if eval_set is not None:
            held_x = table_input(self, eval_set[0], reset=False)
            held_y = self.target_.encode(self._check_y(held_x, eval_set[1]))
            return table, Part(self._features(held_x), held_y)
        labels = table.target if self._task == "classification" else None
        train, held = held_out_rows(labels, len(table.x), self.validation_fraction, n_members, random)
        return replace(table, positions=train), replace(table, positions=held)

    def _features(self, X: Any) -> Array:
        """Features of checked rows; where no column varies, one of zeros, so that the network learns the mean."""
        x = self.preprocessor_.transform(X)
        return x if x.shape[1] else np.zeros((len(x), 1), dtype=x.dtype)

    def _top_k(self) -> int | None:
        if self.gate == "dense":
            return None
        return min(2, self.n_experts) if self.top_k is None else self.top_k

    def _keep(self, fitted: Fitted) -> None:
        if fitted.diverged.any():
            where = np.flatnonzero(fitted.diverged)
            warnings.warn(
                f"the loss of {len(where)} of {len(fitted.diverged)} mixtures was not finite from epoch "
                f"{int(fitted.diverged[where].min())} on; the best weights before it are kept; "
                "a smaller learning_rate or alpha may help",
                stacklevel=3,
            )
        self.network_ = fitted.network
        self.alpha_ = fitted.alpha
        self.weight_decay_ = fitted.weight_decay
        self.alpha_path_ = fitted.path
        self.history_ = fitted.history
        self.n_iter_ = fitted.epochs

    def _outputs(self, X: Any) -> ExpertOutputs:
        """Experts, gate weights and mixture of every member, ``(members, n, …)``."""
        check_is_fitted(self)
        x = self._features(table_input(self, X, reset=False))
        return network_outputs(self.network_, x, self.device).model(slice(None), 0)


def _rows(X: Any, positions: Array) -> Any:
    """Rows of a data frame, an array or a sparse matrix."""
    if len(positions) == X.shape[0]:
        return X
    if isinstance(X, StreamedTable):
        raise DataError("sample_weight: zeros are not allowed with a streamed table; allowed: numbers > 0")
    return X.iloc[positions] if hasattr(X, "iloc") else X[positions]
