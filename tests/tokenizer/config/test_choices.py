"""Choices by name: tables that are open to entries from outside."""

from typing import Annotated, Literal

import pytest

from vistok.tokenizer.config import Choice, Config, ConfigError, parse_choice, parse_config


class Shape(Config):
    name: str


class Circle(Shape):
    name: Literal["circle"] = "circle"
    radius: float
    """Radius, in pixels."""


class Square(Shape):
    name: Literal["square"] = "square"
    side: int = 3


class Hexagon(Shape):
    """An entry from outside, which holds another choice from the same table."""

    name: Literal["hexagon"] = "hexagon"
    edges: list[Annotated[Shape, Choice({"circle": Circle})]] = []


SHAPES: dict[str, type[Shape]] = {"circle": Circle, "square": Square}


class Inner(Config):
    shape: Annotated[Shape, Choice(SHAPES)]
    other: Annotated[Shape, Choice(SHAPES)] | None = None


class Outer(Config):
    inner: Inner


def said(values):
    with pytest.raises(ConfigError) as caught:
        parse_config(Outer, values, "top")
    return str(caught.value)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        (
            {"name": "cirle"},
            "top.inner.shape.name 'cirle' is not a known shape: did you mean 'circle'? Otherwise choose from ",
        ),
        ({"radius": 1}, "top.inner.shape.name None is not a known shape: choose from circle, square."),
        ({"name": 3}, "top.inner.shape.name 3 is not a known shape: choose from circle, square."),
        ({"name": ["square"]}, "top.inner.shape.name ['square'] is not a known shape: choose from circle, square."),
        (3, "top.inner.shape is 3, but must be a section with a name, such as {name: circle, ...}."),
        (None, "top.inner.shape is empty, but must be a section with a name, such as {name: circle, ...}."),
        ({"name": "circle"}, "top.inner.shape.radius is missing: set it (radius)."),
        ({"name": "circle", "radius": "x"}, "top.inner.shape.radius is 'x', but must be a number."),
        ({"name": "circle", "radius": True}, "top.inner.shape.radius is True, but must be a number."),
        ({"name": "circle", "raduis": 1}, "top.inner.shape.raduis is not a known key: did you mean 'radius'? "),
        ({"name": "square", "radius": 1}, "top.inner.shape.radius is not a known key: did you mean "),
        (Hexagon(), "top.inner.shape.name 'hexagon' is not a known shape: choose from circle, square."),
    ],
)
def test_what_is_wrong_is_one_sentence(shape, sentence):
    assert said({"inner": {"shape": shape}}).startswith(sentence)
    if shape is not None:  # which the optional field takes
        assert said({"inner": {"shape": Square(), "other": shape}}).startswith(sentence.replace("shape", "other"))


def test_an_entry_keeps_all_its_fields():
    config = parse_config(Outer, {"inner": {"shape": {"name": "circle", "radius": 2}}})
    assert config.inner.shape == Circle(radius=2)
    assert config.model_dump() == {"inner": {"shape": {"name": "circle", "radius": 2.0}, "other": None}}
    assert Outer.model_validate_json(config.model_dump_json()) == config


def test_an_instance_passes_through():
    square = Square()
    assert parse_config(Inner, {"shape": square}).shape is square
    assert Inner(shape=square, other=square).other is square
    assert parse_choice(SHAPES, square, "shape") is square


def test_an_entry_added_later_is_known(monkeypatch):
    values = {"inner": {"shape": {"name": "hexagon", "edges": [{"name": "circle", "radius": 1}]}}}
    assert said(values).startswith("top.inner.shape.name 'hexagon' is not a known shape")
    monkeypatch.setitem(SHAPES, "hexagon", Hexagon)
    config = parse_config(Outer, values)
    assert config.inner.shape == Hexagon(edges=[Circle(radius=1)])
    assert config.model_dump()["inner"]["shape"]["edges"] == [{"name": "circle", "radius": 1.0}]
    assert said({"inner": {"shape": {"name": "hexagn"}}}).startswith(
        "top.inner.shape.name 'hexagn' is not a known shape: did"
    )
    assert said({"inner": {"shape": {"name": "hexagon", "edge": []}}}).startswith(
        "top.inner.shape.edge is not a known key: did you mean 'edges'?"
    )
    values["inner"]["shape"]["edges"][0]["radius"] = "x"
    assert said(values) == "top.inner.shape.edges.0.radius is 'x', but must be a number."
    values["inner"]["shape"]["edges"][0] = {"name": "square"}
    assert said(values) == "top.inner.shape.edges.0.name 'square' is not a known edges: choose from circle."


def test_a_table_may_hold_its_own_owner(monkeypatch):
    class Pair(Shape):
        name: Literal["pair"] = "pair"
        parts: list[Annotated[Shape, Choice(SHAPES)]]

    monkeypatch.setitem(SHAPES, "pair", Pair)
    pair = {"name": "pair", "parts": [{"name": "pair", "parts": [{"name": "square"}]}]}
    assert parse_choice(SHAPES, pair, "shape") == Pair(parts=[Pair(parts=[Square()])])
    with pytest.raises(ConfigError, match=r"^shape.sides is not a known key: did you mean 'shape.parts.side'\?$"):
        parse_choice(SHAPES, {**pair, "sides": 3}, "shape")


def test_a_key_of_another_entry_is_not_suggested():
    with pytest.raises(ConfigError, match=r"^shape.sid is not a known key: choose from name, radius\.$"):
        parse_choice(SHAPES, {"name": "circle", "sid": 3}, "shape")


@pytest.mark.parametrize("values", ["circle", None, ["circle"], 3])
def test_plain_values_are_a_section(values):
    with pytest.raises(
        ConfigError, match=r"^a\.shape is .*, but must be a section with a name, such as \{name: circle, "
    ):
        parse_choice(SHAPES, values, "a.shape")
