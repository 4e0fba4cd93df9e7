"""The section `model` of a run that trains an extra decoder: what its tokenizer says of itself need not be written again."""

from typing import Any

from ..pretrained.find import find_tokenizer
from ..tokenizer.folder.config_json import read_tokenizer_config

TOLD = ("architecture", "quantizer", "preprocessing")


def complete_model(values: dict[str, Any]) -> None:
    """Add the keys of the tokenizer that `model.init_from` names to plain values with a section `decoder`, in place.

    Raises ValueError when there is no such tokenizer.
    """
    model = values.get("model")
    if not values.get("decoder") or not isinstance(model, dict) or not isinstance(model.get("init_from"), str):
        return
    folder = find_tokenizer(model["init_from"])
    told = read_tokenizer_config(folder).model_dump(mode="json", include=set(TOLD))
    values["model"] = {**told, "train": [], **model, "init_from": str(folder)}
