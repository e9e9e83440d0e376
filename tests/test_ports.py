"""Port contracts as they are written."""

from __future__ import annotations

import pytest

from wangraph import Input, Output
from wangraph.runtime.errors import GraphError
from wangraph.runtime.packet import WHOLE
from wangraph.runtime.ports import Dim, parse_shape


def test_a_shape_is_sizes_symbols_and_maxima():
    assert parse_shape("F H 3 N<=13") == (
        Dim(symbol="F"), Dim(symbol="H"), Dim(size=3), Dim(size=13, symbol="N", is_max=True),
    )  # fmt: skip
    assert parse_shape("...") is None
    assert [str(d) for d in parse_shape("F 3 N<=13") or ()] == ["F", "3", "N<=13"]


def test_a_word_that_is_no_dimension_is_refused():
    with pytest.raises(GraphError) as caught:
        Output("video", "F H W -3", "uint8")
    assert str(caught.value) == (
        "shape 'F H W -3': found '-3' (expected a size as 4, a symbol as H or a maximum as N<=13)"
    )


def test_a_text_port_travels_as_bytes_and_a_context_port_is_a_log():
    assert str(Output("text").specs[WHOLE]) == "[B<=4096] uint8"
    assert Output("context", "1", "int64").is_log
    assert not Output("latent", "1", "int64").is_log


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Input("vidio"),
            "port: found kind 'vidio' (expected one of: any, audio, context, latent, text, tokens, video)",
        ),
        (lambda: Input("any", "1", "floot"), "port: found dtype 'floot' (expected one of: bfloat16, bool, float16, "),
        (lambda: Input(late="never"), "input: found late 'never' (expected one of: empty, gap, hold, wait)"),
        (lambda: Input(look_ahead=-1), "input: found look_ahead -1 (expected 0 or more)"),
    ],
)
def test_a_port_that_cannot_be_is_refused(make, message):
    with pytest.raises(GraphError) as caught:
        make()
    assert str(caught.value).startswith(message)
