"""A declared key is read, written and described, and nothing else has to know it."""
# ruff: noqa: RUF009  # key() is dataclasses.field

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_schema import accepts

from wangraph.runtime.plan.keys import Key, Section, key, keys_of, many, one, schema, written
from wangraph.runtime.plan.kinds import choice, levels, names, number, port, rate, text, whole
from wangraph.runtime.plan.marks import Mark, Problems, item_of
from wangraph.runtime.plan.schema import SECTIONS
from wangraph.runtime.plan.spec import GraphSpec


@dataclass(frozen=True)
class Wheel(Section):
    """A wheel."""

    noun: ClassVar[str] = "wheel"
    short: ClassVar[str] = "from"

    source: str = key(port(), required=True, name="from", help="where it comes from")
    spokes: int = key(whole(3, 64), 12, help="how many spokes")


@dataclass(frozen=True)
class Cart(Section):
    """A cart."""

    noun: ClassVar[str] = "cart"

    owner: ClassVar[Key] = Key(text(), help="read by somebody else")
    colour: str = key(choice("red", "blue"), "red", help="of its paint")
    load_kg: float = key(number(500, is_zero_allowed=True), None, unset="not known", help="what it carries")
    pace: Fraction = key(rate(100), Fraction(25), is_always_written=True, help="turns per second")
    riders: tuple[str, ...] = key(names(), ("me",), help="who sits on it")
    gears: tuple[dict[str, Any], ...] = key(levels(), (), help="from fast to slow")
    front: Wheel | None = key(one(Wheel), None, help="the wheel in front")
    wheels: dict[str, Wheel] = key(many(Wheel), {}, help="the others")
    plate: str = "not a key"
    marks: dict[str, Mark] = field(default_factory=dict)


def read(plain, problems=None):
    return Cart.parse(item_of(plain, Mark("cart.yaml")), "cart", problems or Problems())


def complaints(plain):
    problems = Problems()
    read(plain, problems)
    return problems.lines


carts = st.builds(
    Cart,
    colour=st.sampled_from(["red", "blue"]),
    load_kg=st.none() | st.floats(0, 500),
    pace=st.fractions(Fraction(1, 1000), 100),
    riders=st.lists(st.sampled_from("abcd"), min_size=1, unique=True).map(tuple),
    gears=st.lists(st.fixed_dictionaries({"steps": st.integers()}), max_size=3).map(tuple),
    front=st.none() | st.builds(Wheel, st.just("a.b"), st.integers(3, 64)),
    wheels=st.dictionaries(st.sampled_from("abcd"), st.builds(Wheel, st.just("a.b"), st.integers(3, 64))),
)


@given(carts)
def test_what_is_written_reads_to_the_same(cart):
    problems = Problems()
    assert read(written(Cart, cart), problems) == cart and problems.lines == []


@given(carts)
def test_what_is_written_is_allowed_by_the_schema(cart):
    root = {**schema(Cart), "definitions": {"wheel": schema(Wheel), "stand_in": {"type": "null"}}}
    assert accepts(written(Cart, cart), schema(Cart), root)


def test_only_what_differs_from_its_default_is_written():
    assert written(Cart, Cart()) == {"pace": 25}
    assert written(Cart, Cart(front=Wheel("a.b"), wheels={"w": Wheel("c.d", 5)})) == {
        "pace": 25,
        "front": "a.b",
        "wheels": {"w": {"from": "c.d", "spokes": 5}},
    }


def test_a_key_that_somebody_else_reads_is_known_and_left_alone():
    assert complaints({"owner": [3], "colour": None}) == []
    assert next(iter(keys_of(Cart))) == "owner" and "plate" not in keys_of(Cart)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"color": "red"}, "cart: unknown key 'color' (expected: colour, front, gears, load_kg, owner, pace, riders, "
                           "wheels); did you mean 'colour'?"),
        ({"colour": "blu"}, "cart: colour: found 'blu' (expected one of: blue, red); did you mean 'blue'?"),
        ({"load_kg": -1}, "cart: load_kg: found -1 (expected a number from 0 to 500)"),
        ({"pace": "1/0"}, "cart: pace: found '1/0' (expected a number from 0.001 to 100, or a ratio as 30000/1001)"),
        ({"riders": ["a", "a"]}, "cart: riders: found a list (expected a list of names, each once)"),
        ({"front": 3}, "front: found 3 (expected NODE.PORT)"),
        ({"wheels": {"w": {"spokes": 2}}}, "cart: wheel 'w': spokes: found 2 (expected a whole number from 3 to 64)"),
        ({"wheels": {"w": {}}}, "cart: wheel 'w': found no from (expected from: NODE.PORT)"),
        ({"wheels": {"1w": "a.b"}}, "cart: wheels: found the name '1w' (expected letters, digits, - and _, a letter "
                                    "first)"),
        ({"wheels": [1]}, "cart: wheels: found a list (expected a mapping by name)"),
        ([1], "cart: found a list (expected a mapping of: colour, front, gears, load_kg, owner, pace, riders, wheels)"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_with_what_its_declaration_expects(plain, message):
    assert f"cart.yaml: {message}" in complaints(plain)


def test_a_wrong_value_leaves_the_default_standing():
    problems = Problems()
    cart = read({"load_kg": "much", "riders": [], "wheels": {"w": {"from": "x"}}}, problems)
    assert (cart.load_kg, cart.riders, cart.wheels["w"].source, len(problems.lines)) == (None, ("me",), "", 3)


def test_every_key_of_the_graph_file_says_what_it_means():
    for section in (GraphSpec, *SECTIONS):
        for name, declared in keys_of(section).items():
            assert declared.help and declared.help[0].islower() and not declared.help.endswith("."), (section, name)
