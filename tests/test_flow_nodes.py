from pathlib import Path

import numpy as np
import pytest
from media_files import opened, packet, unit

from wangraph.nodes.flow import Delay, Gate, Mix, PictureInPicture, PythonFunction, Tee
from wangraph.runtime.errors import GraphError
from wangraph.runtime.node import Emission
from wangraph.runtime.packet import Validity

RED, GREEN = (200, 0, 0), (0, 200, 0)


def value(emission):
    return emission.value if isinstance(emission, Emission) else emission


def plain(colour, width, height):
    return np.broadcast_to(np.array(colour, np.uint8), (4, height, width, 3))


@pytest.mark.parametrize("units", [1, 3])
def test_delay_gives_values_later_and_nothing_first(units):
    node = opened(Delay(units=units))
    state = node.new_state()
    values = [value(node.step(state, unit(k), value=f"v{k}")["delayed"]) for k in range(8)]
    assert values == [None] * units + [f"v{k}" for k in range(8 - units)]


def test_delay_loses_what_was_lost_and_keeps_its_length():
    node = opened(Delay(units=2))
    state = node.new_state()
    node.step(state, unit(0), value="v0")
    node.step(state, unit(1), value="v1")
    node.gap(state, [unit(2)])
    values = [value(node.step(state, unit(k), value=f"v{k}")["delayed"]) for k in range(3, 7)]
    assert values == ["v1", None, "v3", "v4"]


def test_delay_takes_several_units_in_at_once():
    node = opened(Delay(units=2))
    state = node.new_state()
    assert node.absorb(state, [(unit(k), {"value": f"v{k}"}) for k in range(3)]) is None
    assert value(node.step(state, unit(3), value="v3")["delayed"]) == "v1"


def test_delay_keeps_a_copy_and_the_mark():
    node = opened(Delay())
    state = node.new_state()
    array, several = np.arange(3), {"x": np.arange(2)}
    node.step(state, unit(0, value=packet(0, Validity.REPEATED)), value=array)
    array[:] = 9
    first = node.step(state, unit(1), value=several)["delayed"]
    several["x"][:] = 9
    assert first.validity is Validity.REPEATED
    assert first.value.tolist() == [0, 1, 2]
    assert value(node.step(state, unit(2))["delayed"])["x"].tolist() == [0, 1]


def test_tee_gives_everything_twice():
    node = opened(Tee())
    out = node.step(unit(0, value=packet(0, Validity.CONCEALED)), value="hello")
    assert out["a"] == out["b"] == Emission("hello", Validity.CONCEALED)
    assert node.step(unit(1)) == {"a": None, "b": None}


def test_two_sounds_are_one_within_full_scale_and_either_may_be_missing():
    mix = opened(Mix())
    one, other = np.array([0.5, 0.75, -0.75], np.float32), np.array([0.25, 0.75, -0.5], np.float32)
    assert mix.step(unit(0), one, other)["mixed"].tolist() == [0.75, 1.0, -1.0]
    assert mix.step(unit(1), None, other)["mixed"].tolist() == other.tolist()
    assert mix.step(unit(2), one, None)["mixed"].tolist() == one.tolist()
    assert mix.step(unit(3), None, None) == {"mixed": None}


def test_gate_follows_its_control_and_remembers_it():
    node = opened(Gate(is_open=False))
    state = node.new_state()
    controls = [None, np.array([1]), None, np.array([0]), None, "go", None, ""]
    passed = [value(node.step(state, unit(k), value=k, control=c)["passed"]) for k, c in enumerate(controls)]
    assert passed == [None, 1, 2, None, None, 5, 6, None]
    node.step(state, unit(8), value=8, control={"a": np.array([0, 1])})
    node.gap(state, [unit(9)])
    assert value(node.step(state, unit(10), value=10)["passed"]) == 10


@pytest.mark.parametrize("is_open", [True, False])
def test_gate_without_control_stays_as_it_began(is_open):
    node = opened(Gate(is_open=is_open))
    passed = value(node.step(node.new_state(), unit(0), value="x")["passed"])
    assert passed == ("x" if is_open else None)


@pytest.mark.parametrize("corner", ["top_left", "top_right", "bottom_left", "bottom_right"])
def test_an_inset_lies_in_its_corner_and_leaves_the_rest(corner):
    node = opened(PictureInPicture(corner=corner, inset_height=0.5, margin_px=2))
    image = node.step(unit(0), main=plain(RED, 64, 48), inset=plain(GREEN, 20, 20))["video"][0]
    is_green = image[..., 1] > 100
    ys, xs = np.nonzero(is_green)
    top = 2 if "top" in corner else 48 - 24 - 2
    left = 2 if "left" in corner else 64 - 24 - 2
    assert (ys.min(), ys.max() + 1, xs.min(), xs.max() + 1) == (top, top + 24, left, left + 24)
    assert (image[~is_green] == RED).all()


def test_side_by_side_brings_both_to_one_height():
    node = opened(PictureInPicture(layout="side_by_side"))
    frames = node.step(unit(0), main=plain(RED, 64, 48), inset=plain(GREEN, 40, 96))["video"]
    assert frames.shape == (4, 48, 84, 3)
    assert np.abs(frames[:, :, :63].astype(int) - RED).max() < 4
    assert np.abs(frames[:, :, 65:].astype(int) - GREEN).max() < 4


@pytest.mark.parametrize(
    ("params", "size"),
    [
        ({"layout": "side_by_side", "width": 100, "height": 100}, (100, 100)),
        ({"layout": "side_by_side", "width": 64}, (64, 32)),
        ({"layout": "corner", "height": 32}, (32, 32)),
        ({"layout": "corner"}, (64, 64)),
        ({"layout": "side_by_side"}, (128, 64)),
    ],
)
def test_the_whole_picture_has_the_size_asked_for(params, size):
    node = opened(PictureInPicture(**params))
    frames = node.step(unit(0), main=plain(RED, 64, 64), inset=plain(GREEN, 64, 64))["video"]
    assert frames.shape == (4, size[1], size[0], 3)
    assert (frames[..., 1] > 150).any()


@pytest.mark.parametrize(
    ("params", "shape"),
    [
        ({}, "[F H W 3] uint8"),
        ({"layout": "side_by_side"}, "[F H OW 3] uint8"),
        ({"layout": "side_by_side", "width": 64, "height": 32}, "[F 32 64 3] uint8"),
        ({"width": 64}, "[F OH 64 3] uint8"),
    ],
)
def test_the_contract_tells_what_of_the_size_is_known(params, shape):
    node = PictureInPicture(**params)
    assert str(node.ports(node.values)[1]["video"].specs[""]) == shape


def test_a_picture_that_is_not_there_is_black_and_the_size_stays():
    shapes = {"main": {"": (4, 64, 64, 3)}, "inset": {"": (4, 32, 32, 3)}}
    node = opened(PictureInPicture(layout="side_by_side"), input_shapes=shapes)
    frames = node.step(unit(0), inset=plain(GREEN, 32, 32))["video"]
    assert frames.shape == (4, 64, 128, 3)
    assert not frames[:, :, :64].any()
    frames = node.step(unit(1), main=plain(RED, 64, 64))["video"]
    assert (frames[:, :, :64] == RED).all()
    assert not frames[:, :, 64:].any()
    assert node.step(unit(2))["video"] is None


@pytest.mark.parametrize("size", [(64, 48), (16, 200), (7, 5), (200, 16)])
@pytest.mark.parametrize("layout", ["corner", "side_by_side"])
def test_any_two_sizes_fit_together(layout, size):
    for asked in ({}, {"width": 40}, {"height": 30}, {"width": 50, "height": 20}):
        node = opened(PictureInPicture(layout=layout, inset_height=1.0, margin_px=50, **asked))
        frames = node.step(unit(0), main=plain(RED, 64, 48), inset=plain(GREEN, *size))["video"]
        assert (frames[..., 1] > 150).any()
        for key, axis in (("width", 2), ("height", 1)):
            assert key not in asked or frames.shape[axis] == asked[key]


FUNCTIONS = """
import numpy as np

def louder(value):
    return value * 2

quieter = lambda value: value / 2
"""


@pytest.fixture
def functions(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FUNCTIONS)
    return path


@pytest.mark.parametrize(("name", "result"), [("louder", 6), ("quieter", 1.5)])
def test_a_function_is_called_on_every_value(functions, name, result):
    for params in ({"function": name, "file": functions}, {"function": f"{functions}:{name}"}):
        PythonFunction.check(params)
        node = opened(PythonFunction(**params))
        assert node.step(unit(0), value=3) == {"result": result}
        assert node.step(unit(1)) == {"result": None}


def test_a_function_may_come_from_an_installed_module():
    assert opened(PythonFunction(function="numpy:negative")).step(unit(0), value=3)["result"] == -3


def test_checking_does_not_run_the_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("raise SystemExit('ran')\ndef f(value): ...\n")
    PythonFunction.check({"function": "f", "file": path})


@pytest.mark.parametrize(
    ("function", "source", "message"),
    [
        ("loud", FUNCTIONS, "{path}: no function 'loud' (it has: louder); did you mean 'louder'?"),
        ("f", None, "{path}: no such file (expected a Python file), set params.file"),
        ("f", "def f(:\n", "{path}:1: invalid syntax (expected Python), correct it there"),
    ],
)
def test_what_is_wrong_with_a_function_is_found_before_the_run(tmp_path, function, source, message):
    path = tmp_path / "mine.py"
    if source is not None:
        path.write_text(source)
    with pytest.raises(GraphError) as error:
        PythonFunction.check({"function": function, "file": path})
    assert str(error.value) == "flow.python: " + message.format(path=path)


def test_a_name_that_no_file_can_have_is_no_file():
    with pytest.raises(GraphError, match=r"x: no such file \(expected a Python file\), set params.file"):
        PythonFunction.check({"function": "f", "file": Path(300 * "x")})


def test_a_name_without_a_file_is_refused():
    with pytest.raises(GraphError) as error:
        PythonFunction.check({"function": "louder"})
    assert str(error.value) == "flow.python: found function 'louder' (expected file.py:name), or set params.file"


def test_a_file_that_raises_is_named(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def f(value): ...\nraise ValueError('no luck')\n")
    with pytest.raises(GraphError) as error:
        opened(PythonFunction(function="f", file=path))
    told = f"flow.python: {path}: importing it raised ValueError: no luck, at {path}:2, correct it there"
    assert str(error.value) == told
