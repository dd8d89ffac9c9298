"""Which mixtures of experts a model has, and which classes of Transformers hold one."""

from __future__ import annotations

import re

from torch import nn

from distilled_experts.errors import InvalidParameterError
from distilled_experts.transformers.experts_interface import ExpertsMixture, OneHotMixture, SlotMixture
from distilled_experts.transformers.mixtures import Mixture
from distilled_experts.transformers.other_mixtures import JetMoeMixture, Llama4Mixture

# Classes that are not on the experts interface.
_ADAPTED: dict[str, type[Mixture]] = {
    "DbrxExperts": ExpertsMixture,
    "JetMoeMoE": JetMoeMixture,
    "Llama4TextMoe": Llama4Mixture,
    "NllbMoeExperts": SlotMixture,
    "Step3p7Experts": ExpertsMixture,
    "SwitchTransformersExperts": OneHotMixture,
}
# What a class may be called that looks like a mixture, and is none that can be attached to.
_SUSPICIOUS = re.compile(r"moe|experts|mixture|sparse", re.IGNORECASE)


def find_mixtures(model: nn.Module) -> list[Mixture]:
    """List the mixtures of a model that can be attached to, in the order of its modules.

    Raises
    ------
    InvalidParameterError
        There are none; the classes that stand in the way are named.
    """
    found = [(name, module, _kind(module)) for name, module in model.named_modules()]
    mixtures = [kind(name, module) for name, module, kind in found if kind is not None]
    if mixtures:
        return mixtures
    names = {type(module).__name__ for module in model.modules() if module is not model}
    suspects = sorted(name for name in names if _SUSPICIOUS.search(name))
    reason = f"{', '.join(suspects)} cannot be opened" if suspects else "it has no mixture of experts"
    allowed = f"models whose experts are on the experts interface of Transformers, or {', '.join(_ADAPTED)}; {reason}"
    raise InvalidParameterError("model", type(model).__name__, allowed)


def _kind(module: nn.Module) -> type[Mixture] | None:
    on_interface = hasattr(module, "is_concatenated") and hasattr(module, "has_gate")
    return ExpertsMixture if on_interface else _ADAPTED.get(type(module).__name__)
