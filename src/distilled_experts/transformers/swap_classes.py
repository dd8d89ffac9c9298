"""Configuration and model classes of swapped models, made when they are first needed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models import auto as auto_classes

from distilled_experts.transformers.swap_balance import connect_balance
from distilled_experts.transformers.swap_forms import DenseFeedForward, FeedForwardForm, find_feed_forwards
from distilled_experts.transformers.swap_mixture import FeedForwardMixture

# Of the model type in a configuration.
PREFIX = "mode_"
# The one that mixtures have by default in Transformers.
_IMPLEMENTATION = "grouped_mm"


class SwappedModel(PreTrainedModel):
    """What a swapped model adds to its dense class: mixtures in the places that its configuration names."""

    def __init__(self, config: PreTrainedConfig, *inputs: Any, **options: Any) -> None:
        implementation = config._experts_implementation or _IMPLEMENTATION
        # The parts of a dense model refuse a configuration that asks for any other.
        config._experts_implementation = "eager"
        super().__init__(config, *inputs, **options)
        self.set_experts_implementation(implementation)
        form = config.mixtures["form"]
        for found in find_feed_forwards(self, None if form is None else FeedForwardForm(**form)):
            if found.name in config.mixtures["feed_forwards"]:
                insert_mixture(self, found).reset_parameters()
        connect_balance(self)

    def initialize_weights(self) -> None:
        """Draw the values that a checkpoint lacks."""
        initialise: Callable[[], None] = super().initialize_weights
        initialise()
        for module in self.modules():
            if isinstance(module, FeedForwardMixture):
                module.reset_parameters()

    @classmethod
    def _can_set_experts_implementation(cls) -> bool:
        # Transformers looks into the source of the dense class, which has no experts.
        return True


@cache
def swapped_config_class(dense: type[Any]) -> type[PreTrainedConfig]:
    """Make the configuration of swapped models from a dense one, and register it under ``mode_`` and the dense type.

    ``mixtures`` holds the names of the feed-forwards, their form where it is not a known one, and the options of the
    mixtures.
    """
    model_type = f"{PREFIX}{dense.model_type}"
    body = {"model_type": model_type, "mixtures": None, "__module__": __name__}
    swapped: type[PreTrainedConfig] = type(f"MoDE{dense.__name__}", (dense,), body)
    AutoConfig.register(model_type, swapped)
    return swapped


@cache
def swapped_class(dense: type[Any]) -> type[PreTrainedModel]:
    """Make the class of swapped models from a dense one, and register it with the automatic classes of the dense one.

    It keeps the name of the dense class, for the Trainer and pipelines know models by name. Only the type in its
    configuration tells them apart. `load_swapped` finds the dense classes of Transformers by name; a model of a class
    of your own is loaded by ``swapped_class(Own).from_pretrained(path)``.

    Parameters
    ----------
    dense : type
        A class derived from `PreTrainedModel`.

    Returns
    -------
    type
        Derived from it.

    Examples
    --------
    >>> from transformers import T5ForConditionalGeneration
    >>> swapped = swapped_class(T5ForConditionalGeneration)
    >>> swapped.__name__, swapped.config_class.model_type
    ('T5ForConditionalGeneration', 'mode_t5')
    """
    config_class = swapped_config_class(dense.config_class)
    body = {"config_class": config_class, "__module__": dense.__module__, "__doc__": dense.__doc__}
    swapped: type[PreTrainedModel] = type(dense.__name__, (SwappedModel, dense), body)
    for auto in _auto_classes():
        if auto._model_mapping.get(dense.config_class, None) is dense:
            auto.register(config_class, swapped)
    return swapped


def become_swapped(model: PreTrainedModel, mixtures: dict[str, Any]) -> None:
    """Give a dense model the class and the configuration of swapped ones; its modules stay as they are."""
    dense: Any = type(model)
    dense_config: Any = model.config
    config = copy.copy(dense_config)
    config.__class__ = swapped_config_class(dense_config.__class__)
    config.mixtures = mixtures
    for module in model.modules():
        if vars(module).get("config") is dense_config:
            vars(module)["config"] = config
    model.__class__ = swapped_class(dense)
    # Names of weights in the file that the dense model came from; the swapped model is saved with its own.
    vars(model)["_weight_conversions"] = None
    model.set_experts_implementation(_IMPLEMENTATION)


def insert_mixture(model: PreTrainedModel, found: DenseFeedForward) -> FeedForwardMixture:
    """Put a mixture with values yet to be drawn in the place of a feed-forward."""
    host = model.get_submodule(found.name)
    mixture = FeedForwardMixture(found.form.pieces(host), model.config)
    if not found.form.whole:
        found.form.bypass(host)
        # The dense class would draw values for pieces that are no longer there.
        vars(host)["_is_hf_initialized"] = True
    model.set_submodule(found.place, mixture.train(model.training))
    return mixture


def _auto_classes() -> list[Any]:
    named = (getattr(auto_classes, name) for name in dir(auto_classes) if name.startswith("AutoModel"))
    return [found for found in named if getattr(found, "_model_mapping", None) is not None]
