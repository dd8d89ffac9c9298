"""``mode compare --task vision``: image classifiers with mixtures of experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from distilled_experts.checks import check_device, check_number, check_whole
from distilled_experts.errors import InvalidParameterError
from distilled_experts.experiments.cells import Cell, Model
from distilled_experts.experiments.comparison import Comparison
from distilled_experts.experiments.image_measures import ImageCourse, Part, measure_experts, measure_scores
from distilled_experts.experiments.metrics import METRICS, validate
from distilled_experts.experiments.records import Record
from distilled_experts.experiments.specification import parse_alpha
from distilled_experts.experiments.splits import Split, make_splits
from distilled_experts.functional import Distance, Teacher
from distilled_experts.functional.options import check_distillation
from distilled_experts.probing import plain_numbers
from distilled_experts.transformers.sizes import n_parameters
from distilled_experts.vision.data import load_images
from distilled_experts.vision.images import Images, draw_images
from distilled_experts.vision.models import (
    DEFAULT_MODEL,
    MODELS,
    ModelSettings,
    build_model,
    dense_settings,
)
from distilled_experts.vision.sheets import contact_sheet
from distilled_experts.vision.training import Samples, TrainingSettings, train_model

__all__ = ["OPTIONS", "ImageSpecification", "ImageStudy", "image_study"]

OPTIONS = frozenset(
    [
        *("data_dir", "rows", "flip", "model", "gate", "top_k", "experts", "hidden", "alpha", "distance", "teacher"),
        *("seeds", "metric", "epochs", "batch_size", "lr", "device"),
    ]
)
"""Options of the command that `image_study` takes."""

_ROWS = 12_000
_COLUMNS = 6
_MOST_SHEETS = 16
_TRAINING = {"epochs": "epochs", "batch_size": "batch_size", "lr": "learning_rate", "device": "device"}


@dataclass(frozen=True)
class ImageSpecification(Comparison):
    """What is compared on images, and how."""

    seeds: int = 3
    model: str = DEFAULT_MODEL
    hidden: int = MODELS[DEFAULT_MODEL].hidden
    distance: Distance = MODELS[DEFAULT_MODEL].distance
    teacher: Teacher = "mean"
    balance: float = 0.01
    test_size: float = 0.3
    validation_size: float = 0.2
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_distillation(self.distance, self.teacher, "uniform", 1.0)
        for name, value in {"hidden": self.hidden, "epochs": self.training.epochs}.items():
            check_whole(name, value)
        check_whole("batch_size", self.training.batch_size)
        check_number("lr", self.training.learning_rate, above=0)
        check_number("balance", self.balance, least=0)
        check_device(self.training.device)


@dataclass(frozen=True)
class ImageStudy:
    """A comparison of image classifiers, for `experiments.trained.run_study`."""

    specification: ImageSpecification
    images: Images

    @property
    def test_share(self) -> float:
        """Test images over all others."""
        share = self.specification.test_size
        return share / (1 - share)

    def train(self, cell: Cell) -> Model:
        """Train and measure one model."""
        s = self.specification
        train, validation, test = self._parts(cell.seed)
        settings = self.model_settings(cell.arm)
        model = build_model(settings, seed=cell.seed, alpha=cell.alpha)
        course = None
        if settings.n_experts > 1:
            course = ImageCourse(model, cell.alpha, train, validation, s.training.epochs)
        samples = Samples(
            torch.cat([train.x, validation.x]),
            torch.from_numpy(np.concatenate([train.y, validation.y])),
            len(train.y),
        )
        curves = train_model(
            model, samples, s.training, seed=cell.seed, after_epoch=None if course is None else course.follow
        )
        found = {
            "experts": s.experts,
            "parameters": n_parameters(model),
            "seconds": curves.seconds,
            "best_epoch": curves.best_epoch,
            "validation_loss": curves.validation_loss[curves.best_epoch - 1],
            "curves": curves.to_dict(),
            **measure_scores(model, train, test, s.metric),
        }
        if course is None:
            return found
        return found | measure_experts(model, cell.alpha, train, test) | {"course": course.to_dict()}

    def heading(self) -> dict[str, Any]:
        """What the record says of the images."""
        images, share = self.images, round(100 * self.specification.test_size)
        return {
            "rows": len(images.y),
            "features": int(np.prod(images.pixels.shape[1:])),
            "classes": list(images.classes),
            "split": f"stratified, {100 - share}/{share}",
            "negated": METRICS[self.specification.metric].negated,
            "notes": list(images.notes),
        }

    def details(self, arms: Mapping[str, Sequence[Model]], record: Record) -> dict[str, Any]:
        """Model, log loss and accuracy by class of each arm, and typical images of each domain in the first seed."""
        return {
            "model": self.specification.model,
            "log_loss": {arm: [m["log_loss"] for m in found] for arm, found in arms.items()},
            "by_class": {arm: _means([m["by_class"] for m in found]) for arm, found in arms.items()},
            "examples": {arm: self._examples(arms[arm][0]) for arm in ("moe", "mode") if "typical" in arms[arm][0]},
        }

    def _examples(self, model: Model) -> list[dict[str, Any]]:
        """Of the largest domains a sheet of images, and how large they are."""
        order = np.argsort(-np.array(model["shares"]), kind="stable")[:_MOST_SHEETS].tolist()
        return [self._example(model["typical"][expert], model["shares"][expert]) for expert in order]

    def _example(self, rows: list[int], share: float) -> dict[str, Any]:
        labels = [self.images.classes[code] for code in self.images.y[rows]]
        sheet = contact_sheet(self.images.pixels[rows], _COLUMNS) if rows else None
        return {"share": share, "classes": labels, "png": sheet}

    def model_settings(self, arm: str) -> ModelSettings:
        """What the models of an arm are made of."""
        s = self.specification
        settings = ModelSettings(
            model=s.model,
            shape=self.images.pixels.shape[1:],
            n_classes=len(self.images.classes),
            n_experts=s.experts,
            top_k=s.top_k,
            hidden=s.hidden,
            distance=s.distance,
            teacher=s.teacher,
            balance=s.balance,
        )
        return dense_settings(settings) if arm == "dense" else settings

    def _parts(self, seed: int) -> tuple[Part, Part, Part]:
        """Training, validation and test images, normalised by the mean and spread of the channels in training."""
        s = self.specification
        split: Split = make_splits(
            self.images.y,
            "classification",
            seeds=1,
            first_seed=seed,
            test_size=s.test_size,
            validation_size=s.validation_size,
        )[0]
        seen = self.images.pixels[split.train].astype(np.float32)
        centre, spread = seen.mean((0, 1, 2)), seen.std((0, 1, 2))

        def part(rows: Any) -> Part:
            normalised = (self.images.pixels[rows] - centre) / np.where(spread > 0, spread, 1)
            x = torch.from_numpy(normalised.astype(np.float32)).permute(0, 3, 1, 2)
            return Part(x, self.images.y[rows], rows)

        return part(split.train), part(split.validation), part(split.test)


def image_study(data: str, **options: Any) -> ImageStudy:
    """A study of images by name, with options of the command; those that are None take their defaults.

    Parameters
    ----------
    data : str
        As in `vision.load_images`.
    **options
        ``data_dir``, ``rows`` (images used at most), ``flip`` (default: pictures are mirrored, digits are not),
        ``epochs``, ``batch_size``, ``lr``, ``device``, ``metric``, and the fields of `ImageSpecification`.

    Raises
    ------
    InvalidParameterError, DataError
        One line that names the parameter, its value, and what is allowed.
    """
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    most = given.pop("rows", _ROWS)
    check_whole("rows", most)
    images = draw_images(load_images(data, data_dir=given.pop("data_dir", None)), most)
    model = given.setdefault("model", DEFAULT_MODEL)
    if model not in MODELS:
        raise InvalidParameterError("model", model, MODELS)
    given = {"hidden": MODELS[model].hidden, "distance": MODELS[model].distance} | given
    if given.get("gate") == "sparse":
        given.setdefault("top_k", min(2, given.get("experts", 4)))
    training = {field: given.pop(name) for name, field in _TRAINING.items() if name in given}
    training["padding"] = images.pixels.shape[1] // 8
    training["mirrored"] = given.pop("flip", images.natural)
    specification = ImageSpecification(
        data=images.name,
        task="vision",
        metric=validate(given.pop("metric", "accuracy"), "classification"),
        alpha=parse_alpha(given.pop("alpha", "auto")),
        fingerprint=images.fingerprint,
        test_size=images.test_share,
        training=TrainingSettings(**training),
        **given,
    )
    study = ImageStudy(specification, images)
    # What cannot be built is to fail before anything is written.
    build_model(study.model_settings("mixture"), seed=0, alpha=max(specification.alphas))
    return study


def _means(rows: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Means over the seeds; none where a seed has none."""
    means: list[float | None] = plain_numbers(np.array(rows, dtype=float).mean(0))
    return means
