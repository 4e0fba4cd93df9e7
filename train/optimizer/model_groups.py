"""Parameter groups of Muon for any model, such as a language model that trains on the tokens."""

from collections.abc import Collection
from typing import Any

from torch import nn

from ...tokenizer.wording import unknown_choice


def muon_groups(model: nn.Module, adamw: Collection[str] = (), weight_decay: float = 0.0) -> list[dict[str, Any]]:
    """Return the groups for `Muon(groups, lr=...)`: hidden matrices for Muon, everything else for AdamW.

    Muon takes the trainable weights with two dimensions or more, except those of embeddings and of the modules that `adamw`
    names, such as `("lm_head",)`: by custom, the first and the last layer are AdamW's. A weight that is tied to an embedding
    is the embedding's. `weight_decay` applies to weights with two dimensions or more that are not an embedding's.

    Raises ValueError for a name that is no module of the model.
    """
    modules = dict(model.named_modules())
    for name in adamw:
        if name not in modules:
            raise ValueError(unknown_choice("module", f"{name!r} of adamw", name, list(modules)))
    tables = {id(module.weight) for module in modules.values() if isinstance(module, nn.Embedding | nn.EmbeddingBag)}
    outer = {id(parameter) for name in adamw for parameter in modules[name].parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            is_matrix = parameter.ndim >= 2 and id(parameter) not in tables
            groups.setdefault((is_matrix and id(parameter) not in outer, is_matrix), []).append(parameter)
    return [
        {"params": parameters, "use_muon": use_muon, "weight_decay": weight_decay if decays else 0.0}
        for (use_muon, decays), parameters in sorted(groups.items(), reverse=True)
    ]
