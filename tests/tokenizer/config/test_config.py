"""What a config says of whatever is put into it."""

import itertools
import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from vistok.tokenizer.config import Choice, Config, ConfigError, Pattern, parse_config
from vistok.tokenizer.quantizers import QUANTIZERS, QuantizerConfig


class Cut(Config):
    path: str
    names: Pattern = ".*"
    sides: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] | None = None


class Data(Config):
    train: Annotated[list[Cut], Field(min_length=1)] = Field(examples=["FOLDER"])
    """Sources of images: a path or a list."""
    size: Annotated[int, Field(ge=8)] | Literal["native"] = 256
    batch_size: int = 16
    workers: int = 1
    flip: bool = True


class Optimizer(Config):
    name: Literal["muon", "adamw"] = "muon"
    lr: Annotated[float, Field(gt=0)]
    """Peak learning rate, of all."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], float] = (0.9, 0.95)
    weight_decay: float = 0.0


class Run(Config):
    out: Path
    steps: Annotated[int, Field(ge=1, le=10**9)]
    seed: int = 0
    keep_checkpoints: int = 2
    trackers: list[str] = []


class Whole(Config):
    run: Run
    data: Data
    optimizer: Optimizer
    quantizer: Annotated[QuantizerConfig, Choice(QUANTIZERS)]
    losses: dict[str, Annotated[float, Field(ge=0)]] = {}
    extra: Optimizer | None = None


def good() -> dict[str, Any]:
    return {
        "run": {"out": "x", "steps": 3},
        "data": {"train": [{"path": "photos"}]},
        "optimizer": {"lr": 1e-3},
        "quantizer": {"name": "simvq", "dim": 8, "codebook_size": 16},
    }


def with_value(key, value):
    values = good()
    *sections, last = key.split(".")
    owner = values
    for section in sections:
        owner = owner[int(section)] if isinstance(owner, list) else owner[section]
    owner[last] = value
    return values


def said(values):
    with pytest.raises(ConfigError) as caught:
        parse_config(Whole, values)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("optimizer.learning_rate", "lr"),
        ("optimizer.learning-rate", "lr"),
        ("optimizer.LR", "lr"),
        ("optimizer.wd", "weight_decay"),
        ("optimizer.weight_deacy", "weight_decay"),
        ("data.batchsize", "batch_size"),
        ("data.bs", "batch_size"),
        ("data.num_workers", "workers"),
        ("data.image_size", "size"),
        ("data.path", "train"),
        ("run.epochs", "steps"),
        ("run.max_steps", "steps"),
        ("run.step", "steps"),
        ("run.random_seed", "seed"),
        ("run.output_dir", "out"),
        ("run.keep", "keep_checkpoints"),
        ("quantizer.num_embeddings", "codebook_size"),
        ("quantizer.embed_dim", "dim"),
        ("optimiser", "optimizer"),
        ("run.lr", "optimizer.lr"),
        ("run.batch_size", "data.batch_size"),
        ("data.random_seed", "run.seed"),
        ("lr", "optimizer.lr"),
        ("learning_rate", "optimizer.lr"),
        ("seed", "run.seed"),
        ("epochs", "run.steps"),
        ("batch_size", "data.batch_size"),
        ("num_workers", "data.workers"),
        ("codebook_size", "quantizer.codebook_size"),
    ],
)
def test_the_key_that_people_mean_is_named(key, meant):
    assert said(with_value(key, 1)).startswith(f"{key} is not a known key: did you mean '{meant}'?")


def test_nothing_is_named_where_nothing_is_near():
    assert said(with_value("zzz", 1)) == (
        "zzz is not a known key: choose from data, extra, losses, optimizer, quantizer, run."
    )


def test_an_unknown_key_comes_before_a_missing_one():
    assert said({**good(), "optimizer": {"learning_rate": 1}}).startswith("optimizer.learning_rate is not a known key")
    assert said({**good(), "run": {}, "zzz": 1}).startswith("zzz is not a known key")
    nested = {**good(), "run": {}, "quantizer": {**good()["quantizer"], "codebooksize": 2}}
    assert said(nested).startswith("quantizer.codebooksize is not a known key: did you mean 'codebook_size'?")
    assert said({**good(), "run": {}, 1: 2}).startswith("1 is not a known key: choose from")


def test_a_missing_key_says_how_it_is_given():
    assert (
        said({**good(), "data": {}})
        == "data.train is missing: set it with data.train=FOLDER (sources of images: a path or a list)."
    )
    assert said({**good(), "optimizer": {}}) == "optimizer.lr is missing: set it (peak learning rate)."
    assert said({}) == "run is missing: set it (run section)."


@pytest.mark.parametrize(
    ("key", "value", "must"),
    [
        ("run.steps", "many", "run.steps is 'many', but must be a whole number."),
        ("run.steps", 1.5, "run.steps is 1.5, but must be a whole number."),
        ("run.steps", None, "run.steps is empty, but must be a whole number."),
        ("run.steps", True, "run.steps is True, but must be a whole number."),
        ("run.steps", 0, "run.steps is 0, but must be at least 1."),
        ("run.steps", 10**10, "run.steps is 10000000000, but must be at most 1000000000."),
        ("run.steps", [1], "run.steps is [1], but must be a whole number."),
        ("run.steps", {"a": 1}, "run.steps is {'a': 1}, but must be a whole number."),
        ("run.steps", math.nan, "run.steps is nan, but must be a finite number."),
        ("run.out", 3, "run.out is 3, but must be a path."),
        ("run.trackers", 3, "run.trackers is 3, but must be a list."),
        ("run.trackers", [3], "run.trackers.0 is 3, but must be text."),
        ("optimizer.lr", True, "optimizer.lr is True, but must be a number."),
        ("optimizer.lr", "fast", "optimizer.lr is 'fast', but must be a number."),
        ("optimizer.lr", -1, "optimizer.lr is -1, but must be above 0."),
        ("optimizer.lr", math.inf, "optimizer.lr is inf, but must be a finite number."),
        ("optimizer.name", "sgd", "optimizer.name is 'sgd', but must be 'muon' or 'adamw'."),
        ("optimizer.betas", 1, "optimizer.betas is 1, but must be a list."),
        ("optimizer.betas", [0.1], "optimizer.betas is [0.1], but must be a longer list."),
        ("optimizer.betas", [0.1] * 3, "optimizer.betas is [0.1, 0.1, 0.1], but must be a list of 2 or fewer."),
        ("optimizer.betas", [1, 0.5], "optimizer.betas.0 is 1, but must be below 1."),
        ("optimizer.betas", [0.5, True], "optimizer.betas is [0.5, True], but must be numbers, not true or false."),
        ("data.flip", 3, "data.flip is 3, but must be true or false."),
        ("data.size", "big", "data.size is 'big', but must be a whole number or 'native'."),
        ("data.size", 4, "data.size is 4, but must be at least 8 or 'native'."),
        ("data.train", [], "data.train is [], but must be a list of 1 or more."),
        ("data.train", [3], "data.train.0 is 3, but must be a section of keys and values."),
        ("data.train", [{"path": "a", "sides": [0]}], "data.train.0.sides.0 is 0, but must be at least 1."),
        ("data.train", [{"path": "a", "sides": 3}], "data.train.0.sides is 3, but must be a list."),
        ("data.train", [{"path": "a", "names": 3}], "data.train.0.names is 3, but must be text."),
        ("run", 3, "run is 3, but must be a section of keys and values."),
        ("run", [], "run is [], but must be a section of keys and values."),
        ("extra", "x", "extra is 'x', but must be a section of keys and values."),
        ("losses", [1], "losses is [1], but must be a section of keys and values."),
        ("losses", {"l2": "x"}, "losses.l2 is 'x', but must be a number."),
        ("losses", {"l2": True}, "losses is {'l2': True}, but must be numbers, not true or false."),
        ("losses", {"int": -1}, "losses.int is -1, but must be at least 0."),
        (
            "quantizer",
            {"name": "fvq", "dim": 4, "codebook_size": 32, "width": 6},
            "quantizer.width is 6, but must be a multiple of 4.",
        ),
        ("losses", {1: 1}, "losses.1 is 1, but must be text."),
    ],
)
def test_a_wrong_value_says_what_it_must_be(key, value, must):
    assert said(with_value(key, value)) == must


@pytest.mark.parametrize("values", [None, 3, [], "text", [("run", 1)]])
def test_a_config_is_a_section(values):
    with pytest.raises(ConfigError, match=r"must be a section of keys and values\.$"):
        parse_config(Whole, values)
    with pytest.raises(ConfigError, match=r"^data is .*, but must be a section of keys and values\.$"):
        parse_config(Data, values, "data")


def test_a_long_value_is_cut():
    assert len(said(with_value("run.steps", "x" * 10_000))) < 120


def test_whatever_is_put_in_gives_one_sentence_that_begins_with_the_key():
    keys = ["run", "data", "optimizer", "quantizer", "extra", "losses", "run.out", "run.steps", "run.trackers"]
    keys += ["data.train", "data.train.0", "data.train.0.sides", "data.train.0.names", "data.size", "data.flip"]
    keys += [
        "optimizer.name",
        "optimizer.lr",
        "optimizer.betas",
        "quantizer.name",
        "quantizer.dim",
        "quantizer.nearest",
    ]
    odd = [
        None,
        True,
        -1,
        0,
        1.5,
        math.nan,
        -math.inf,
        10**400,
        10**5000,
        "",
        "(",
        "a\nb",
        "x" * 999,
        [],
        [[]],
        {},
        {"": {}},
        {None: 1},
    ]
    odd += [
        {"lr": {"lr": 1}},
        [None],
        [{}],
        [1, 2, 3],
        b"\xff",
        object(),
        1j,
        {1, 2},
        {"name": ["fsq"]},
        Path("a"),
        (1,),
    ]
    for key, value in itertools.product(keys, odd):
        values = good()
        *sections, last = key.split(".")
        owner: Any = values
        for section in sections:
            owner = owner[int(section)] if isinstance(owner, list) else owner[section]
        owner[int(last) if isinstance(owner, list) else last] = value
        try:
            parse_config(Whole, values)
        except ConfigError as error:
            sentence = str(error)
            assert sentence.startswith(key.partition(".")[0]), (key, value)
            assert sentence.endswith((".", "?")) and len(sentence) < 400 and "\n" not in sentence, sentence
            assert not re.search(r"function-|union|constrained|Cut|Config|nput should|instance of|valid ", sentence), (
                sentence
            )


def test_a_number_of_thousands_of_digits_is_not_spelled_out():
    must = "run.steps is a huge number, but must be at most 1000000000."
    assert said(with_value("run.steps", 10**5000)) == must
