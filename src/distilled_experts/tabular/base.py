"""What classifier and regressor share: parameters, fitting, members' outputs, saving."""

from __future__ import annotations

import os
import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from distilled_experts import __version__
from distilled_experts.errors import DataError, ModelFolderError
from distilled_experts.functional import Distance, Schedule, Teacher
from distilled_experts.probing import ExpertOutputs, probe_outputs
from distilled_experts.tabular.fitting import Callback, Fitted, Members, Part, fit_members, progress_of
from distilled_experts.tabular.inputs import canonical_rows, check_weights, table_input
from distilled_experts.tabular.model_folder import read_model, write_model
from distilled_experts.tabular.network import StackedMixture
from distilled_experts.tabular.parameters import DEFAULT_ALPHAS, SMALL_TABLE_ALPHA, check_parameters
from distilled_experts.tabular.preprocessing import TablePreprocessor
from distilled_experts.tabular.targets import ClassTarget, RegressionTarget
from distilled_experts.tabular.training import StackedTraining, TrainingSettings

__all__ = ["MoDEEstimator"]

Array = NDArray[Any]

# Up to here a table is trained on whole, without validation rows, in double precision.
SMALL_TABLE_ROWS = 1000
_PREDICTED_ROWS = 4096


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
        n_estimators: int = 1,
        max_iter: int = 200,
        max_time: float | None = None,
        learning_rate: float = 3e-3,
        batch_size: int = 128,
        weight_decay: float = 0.0,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.2,
        n_iter_no_change: int = 20,
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
        self.n_estimators = n_estimators
        self.max_iter = max_iter
        self.max_time = max_time
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.weight_decay = weight_decay
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
        X : data frame (pandas or polars), array or sparse matrix, shape (n, features)
            Numbers, categories, booleans, dates; missing values are fine.
        y : array, shape (n,) or for regression (n, targets)
        sample_weight : array, shape (n,), optional
            Weights in the task loss and in the distillation loss.
        eval_set : (X, y), optional
            Rows that decide when to stop and which α to take, instead of a part of the training rows.

        Raises
        ------
        ValueError
            When a parameter or the data cannot be used.
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
        train, validation = self._parts(X, y, weight, eval_set, random)
        members = Members(
            [int(seed) for seed in random.randint(2**31 - 1, size=self.n_estimators)],
            self._n_outputs(),
            self.n_experts,
            self.hidden,
            self._top_k(),
        )
        settings = self._settings(whole=validation is None and len(train.x) <= SMALL_TABLE_ROWS, n_rows=len(train.x))
        alphas = self._alphas(validation is not None)
        start = time.monotonic()

        def on_epoch(training: StackedTraining) -> bool:
            """Whether someone, or the clock, wants to end."""
            stops = [callback(progress_of(training)) for callback in self.callbacks or ()]
            return any(stops) or (self.max_time is not None and time.monotonic() - start > self.max_time)

        self._keep(fit_members(members, self._task, train, validation, alphas, settings, self.device, on_epoch))
        return self

    def probe(self, X: Any, y: Any) -> dict[str, Array]:
        """Expert probing on rows with known targets.

        Returns
        -------
        dict
            The measures of `distilled_experts.probing.probe_outputs`, each with a leading axis of members.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from distilled_experts import MoDEClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> record = MoDEClassifier(random_state=0).fit(X, y).probe(X, y)
        >>> record["matrix"].shape
        (1, 4, 4)
        """
        outputs = self._outputs(X)
        truth = self.target_.encode(self._check_y(X, y))
        return probe_outputs(outputs, truth, self._task)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the fitted model as JSON and safetensors, whole or not at all.

        Raises
        ------
        ModelFolderError
            When the folder holds something already.
        """
        check_is_fitted(self)
        states = {"preprocessor": self.preprocessor_.to_state(), "target": self.target_.to_state()}
        arrays = {f"{part}.{name}": array for part, (_, parts) in states.items() for name, array in parts.items()}
        arrays |= {f"network.{name}": p.detach().cpu().numpy() for name, p in self.network_.named_parameters()}
        seed = self.random_state if isinstance(self.random_state, int) else None
        description = {
            "class": type(self).__name__,
            "version": __version__,
            "parameters": {**self.get_params(), "random_state": seed, "callbacks": None},
            "fitted": {name: getattr(self, name) for name in ("alpha_", "n_iter_", "history_", "n_features_in_")},
            "alpha_path": None if self.alpha_path_ is None else list(self.alpha_path_.items()),
            "feature_names": list(getattr(self, "feature_names_in_", [])) or None,
            **{part: state for part, (state, _) in states.items()},
        }
        write_model(path, description, arrays, overwrite=overwrite)

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
            return cls._restored(description, arrays)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
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

    def _parts(
        self, X: Any, y: Array, weight: Array, eval_set: tuple[Any, Any] | None, random: np.random.RandomState
    ) -> tuple[Part, Part | None]:
        """Training and validation rows, preprocessed by what the training rows show."""
        small = X.shape[0] <= SMALL_TABLE_ROWS
        hold_out = eval_set is None and (not small if self.early_stopping == "auto" else bool(self.early_stopping))
        whole = small and not hold_out and eval_set is None
        X_train, y_train, w_train, held = X, y, weight, eval_set
        if hold_out:
            train, validation = self._hold_out(y, random)
            X_train, y_train, w_train = _rows(X, train), y[train], weight[train]
            held = (_rows(X, validation), y[validation])
        self.preprocessor_ = TablePreprocessor(dtype="float64" if whole else "float32").fit(X_train, w_train)
        x, target = self._features(X_train), self.target_.encode(y_train)
        if whole:
            return Part(*canonical_rows(x, target, w_train)), None
        equal = bool((w_train == w_train[0]).all())
        part = Part(x, target, None if equal else w_train)
        if held is None:
            return part, None
        held_x = table_input(self, held[0], reset=False)
        held_y = self.target_.encode(self._check_y(held_x, held[1]))
        held_weight = weight[validation] if hold_out and not equal else None
        return part, Part(self._features(held_x), held_y, held_weight)

    def _features(self, X: Any) -> Array:
        """Features of checked rows; where no column varies, one of zeros, so that the network learns the mean."""
        x = self.preprocessor_.transform(X)
        return x if x.shape[1] else np.zeros((len(x), 1), dtype=x.dtype)

    def _hold_out(self, y: Array, random: np.random.RandomState) -> tuple[Array, Array]:
        labels = y if self._task == "classification" else None
        if labels is not None:
            _, counts = np.unique(labels, return_counts=True)
            n_held = int(np.ceil(self.validation_fraction * len(y)))
            if counts.min() < 2 or min(n_held, len(y) - n_held) < len(counts):
                labels = None
        train, held = train_test_split(
            np.arange(len(y)), test_size=self.validation_fraction, stratify=labels, random_state=random
        )
        return np.sort(train), np.sort(held)

    def _settings(self, *, whole: bool, n_rows: int) -> TrainingSettings:
        settings = TrainingSettings(
            epochs=self.max_iter,
            patience=self.n_iter_no_change,
            batch_size=n_rows if whole else self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            distance=self.distance,
            teacher=self.teacher,
            alpha_schedule=self.alpha_schedule,
        )
        return replace(settings, schedule="cosine") if whole else settings

    def _alphas(self, choose: bool) -> tuple[float, ...]:
        """The α to train; without validation rows a moderate one stands for "auto"."""
        if self.n_experts == 1:
            return (0.0,)
        if isinstance(self.alpha, str):
            return DEFAULT_ALPHAS if choose else (SMALL_TABLE_ALPHA,)
        if isinstance(self.alpha, Sequence):
            return tuple(float(a) for a in self.alpha)
        return (float(self.alpha),)

    def _top_k(self) -> int | None:
        if self.gate == "dense":
            return None
        return min(2, self.n_experts) if self.top_k is None else self.top_k

    def _keep(self, fitted: Fitted) -> None:
        self.network_ = fitted.network
        self.alpha_ = fitted.alpha
        self.alpha_path_ = fitted.path
        self.history_ = fitted.history
        self.n_iter_ = fitted.epochs

    @torch.no_grad()
    def _outputs(self, X: Any) -> ExpertOutputs:
        """Experts, gate weights and mixture of every member, ``(members, n, …)``."""
        check_is_fitted(self)
        x = torch.from_numpy(self._features(table_input(self, X, reset=False)))
        n_members = self.network_.stack_shape[0]
        parts = []
        for start in range(0, max(len(x), 1), _PREDICTED_ROWS):
            out = self.network_(x[start : start + _PREDICTED_ROWS].to(self.device).expand(n_members, -1, -1))
            parts.append([t[:, 0].cpu().numpy() for t in (out.experts, out.weights, out.mixture())])
        return ExpertOutputs(*(np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True)))

    @classmethod
    def _restored(cls, description: dict[str, Any], arrays: dict[str, Array]) -> Self:
        def part(prefix: str) -> dict[str, Array]:
            return {k.removeprefix(f"{prefix}."): v for k, v in arrays.items() if k.startswith(f"{prefix}.")}

        model = cls(**description["parameters"])
        check_parameters(model, cls._task)
        target = ClassTarget if cls._task == "classification" else RegressionTarget
        model.target_ = target.from_state(description["target"], part("target"))
        model.preprocessor_ = TablePreprocessor.from_state(description["preprocessor"], part("preprocessor"))
        for name, value in description["fitted"].items():
            setattr(model, name, value)
        model.alpha_path_ = None if description["alpha_path"] is None else dict(map(tuple, description["alpha_path"]))
        if description["feature_names"] is not None:
            model.feature_names_in_ = np.array(description["feature_names"], dtype=object)
        weights = {name: torch.from_numpy(array.copy()) for name, array in part("network").items()}
        model.network_ = StackedMixture.from_weights(weights, top_k=model._top_k())
        return model


def _rows(X: Any, positions: Array) -> Any:
    """Rows of a data frame, an array or a sparse matrix."""
    if len(positions) == X.shape[0]:
        return X
    return X.iloc[positions] if hasattr(X, "iloc") else X[positions]
