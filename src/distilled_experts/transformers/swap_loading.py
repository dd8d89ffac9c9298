"""Loading of swapped models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedConfig, PreTrainedModel

from distilled_experts.errors import ModelFolderError
from distilled_experts.transformers.model_folders import SAFE, check_model_folder
from distilled_experts.transformers.swap_classes import PREFIX, swapped_class

# What `from_pretrained` passes on to find the configuration's file.
_WHERE = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")


def load_swapped(path: str | Path, **options: Any) -> PreTrainedModel:
    """Load a model that was swapped and saved with ``save_pretrained``.

    From then on, as after `swap`, the automatic classes of Transformers know this kind of model too.

    Parameters
    ----------
    path : str or Path
        A folder, or a repository on the hub.
    **options
        As for ``from_pretrained``: `dtype`, `device_map`, `revision` and others. By default weights are read from
        safetensors alone, and no code is run.

    Raises
    ------
    ModelFolderError
        The model there was not swapped, its class is none of Transformers, or its folder is not to be trusted.

    Examples
    --------
    >>> import tempfile
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> from distilled_experts.transformers import swap
    >>> model = swap(GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=11)), n_experts=4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save_pretrained(folder)
    ...     loaded = load_swapped(folder)
    >>> loaded.config.model_type, type(loaded) is type(model)
    ('mode_gpt2', True)
    """
    check_model_folder(path)
    where = {name: options[name] for name in _WHERE if name in options}
    config, _ = PreTrainedConfig.get_config_dict(path, **where)
    if not str(config.get("model_type")).startswith(PREFIX):
        raise ModelFolderError(f"{path}: a model of type {config.get('model_type')!r} was not swapped")
    name = next(iter(config.get("architectures") or ()), None)
    dense: Any = getattr(transformers, str(name), None)
    known = isinstance(dense, type) and issubclass(dense, PreTrainedModel)
    if not known:
        raise ModelFolderError(f"{path}: {name} is no class of Transformers; use swapped_class({name}).from_pretrained")
    model: PreTrainedModel = swapped_class(dense).from_pretrained(path, **SAFE | options)
    return model
