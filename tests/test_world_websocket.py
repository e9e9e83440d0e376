"""Agents behind a WebSocket: the protocol by its laws, and dialogues over the loopback with real servers."""

import json
import re
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.sync.server import serve
from world_toys import ONLY_TONES, tones

from wangraph.runtime.errors import MissingExtra, RunError, UserError
from wangraph.tools.lab.world.conversation import arrivals, warning_of
from wangraph.tools.lab.world.node import UserConfig, replayed
from wangraph.tools.lab.world.protocol import hello, packed, read_handshake, unpacked
from wangraph.tools.lab.world.tokens import TOKENS, VOCABULARY
from wangraph.tools.lab.world.websocket import check_agent, converse_over, converse_with_websocket
from wangraph.tools.verbs.evaluate import command

HELLO = {"type": "hello", "name": "toy"}


@contextmanager
def serving(talk):
    """An agent on the loopback; gives its URL."""
    with serve(talk, "127.0.0.1", 0, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def agent(answer, **hello):
    """An agent that sends what ``answer(header, body)`` gives, and a hello first."""

    def talk(line):
        line.recv()
        line.send(json.dumps({**HELLO, **hello}))
        for message in line:
            header = json.loads(message)
            if header["type"] == "end":
                return
            for part in answer(header, line.recv()):
                line.send(part)

    return talk


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tones(tmp_path_factory.mktemp("people"))
    return UserConfig(5, "digits", voices=folder, hold_out=ONLY_TONES, size=32)


# Messages -------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(0, 2**31), st.text(), st.sampled_from(["rgb", "none"]), st.integers(0, 2**32 - 1))
def test_a_unit_is_read_as_it_was_written(unit, text, coding, seed):
    rng = np.random.default_rng(seed)
    samples = (rng.integers(-32767, 32768, 2560) / np.float32(32767)).astype(np.float32)
    pictures = rng.integers(0, 256, (4, 8, 8, 3), np.uint8)
    header, body = packed(unit, samples, pictures, text, coding)
    sound, seen, said = unpacked("here", unit, header, body, coding, 8)
    assert np.array_equal(sound, samples) and said == text
    assert seen is None if coding == "none" else np.array_equal(seen, pictures)


def test_jpeg_keeps_pictures_to_a_few_shades_at_any_size():
    y, x = np.mgrid[0:96, 0:96]
    picture = np.stack([2 * x, 2 * y, x + y], axis=-1).astype(np.uint8)
    pictures = np.stack([np.roll(picture, 8 * k, axis=0) for k in range(4)])
    header, body = packed(3, np.zeros(2560, np.float32), pictures, None, "jpeg")
    seen = unpacked("here", 3, header, body, "jpeg", 1)[1]
    assert seen.shape == pictures.shape and np.abs(seen.astype(int) - pictures).mean() < 4
    assert len(body) < pictures.nbytes / 4


def test_sound_beyond_full_scale_is_clipped():
    sound = unpacked("", 0, *packed(0, np.full(2560, 3.0, np.float32), np.empty(0), None, "none"), "none", 8)[0]
    assert (sound == 1.0).all()


def test_the_greeting_tells_what_is_coming():
    assert json.loads(hello(200, 64)) == {
        "type": "hello", "protocol": 1, "fps": 25, "frames": 4, "rate_hz": 16000, "samples": 2560, "size": 64,
        "pictures": ["rgb", "jpeg", "none"], "units": 200,
    }  # fmt: skip


def unit_message(body_bytes=5120, **facts):
    return json.dumps({"type": "unit", "unit": 7, "text": "", "pictures": [], **facts}), bytes(body_bytes)


BAD_UNITS = [
    (("hello", b""), "none", """found 'hello' (expected a JSON text {"type": "unit", ...})"""),
    ((bytes(9), b""), "none", """found 9 bytes (expected a JSON text {"type": "unit", ...})"""),
    (unit_message(unit=6), "none", "found an answer to unit 6 (expected 7), answer each unit once, in order"),
    (unit_message(text=3), "none", "found text 3 (expected a string), send words or nothing"),
    (unit_message(pictures="4"), "rgb", "found pictures '4' (expected their lengths in bytes), send a list"),
    (unit_message(pictures=[5]), "none", "found 1 pictures (expected none, as its hello says), send so many"),
    (unit_message(pictures=[5, 5]), "rgb", "found 2 pictures (expected 4 or none), send so many"),
    (
        unit_message(5000),
        "none",
        "found 5000 bytes (expected 5120 bytes: 2560 samples of 16 bits, then the pictures), "
        "send one binary message after the header",
    ),
    (
        (unit_message()[0], "sound"),
        "none",
        "found a text (expected 5120 bytes: 2560 samples of 16 bits, then the pictures), "
        "send one binary message after the header",
    ),
    (
        unit_message(5124, pictures=[1] * 4),
        "rgb",
        "found a picture of 1 bytes (expected 192: 8x8 RGB), say its size in the hello",
    ),
    (
        unit_message(5128, pictures=[2] * 4),
        "jpeg",
        "found 2 bytes that are no picture (expected a JPEG of 2073600 pixels at most)",
    ),
]


@pytest.mark.parametrize(("messages", "coding", "message"), BAD_UNITS)
def test_what_is_no_answer_is_told(messages, coding, message):
    with pytest.raises(RunError) as caught:
        unpacked("ws://a, unit 7", 7, *messages, coding, 8)
    assert str(caught.value) == f"ws://a, unit 7: {message}"


@pytest.mark.parametrize(
    ("hello", "message"),
    [
        ({**HELLO, "takes": "gif"}, "found takes 'gif' (expected one of: jpeg, none, rgb), correct its hello"),
        ({**HELLO, "size": 0}, "found size 0 (expected 1 to 4096 pixels), correct its hello"),
        ({"type": "hi"}, """found '{"type": "hi"}' (expected a JSON text {"type": "hello", ...})"""),
    ],
)
def test_a_hello_that_is_none_is_told(hello, message):
    with pytest.raises(RunError) as caught:
        read_handshake("ws://a", json.dumps(hello), 64)
    assert str(caught.value) == f"ws://a: {message}"


# Dialogues ------------------------------------------------------------------------------------------------------------


def silence(header, body):
    return unit_message(unit=header["unit"])


def test_the_agent_of_the_document_talks_and_the_user_hears_it(config):
    document = (Path(__file__).parents[1] / "docs" / "benchmark.md").read_text()
    code = next(block for block in re.findall(r"```python\n(.*?)```", document, re.DOTALL) if "serve_forever" in block)
    names = {"__name__": "agent"}
    exec(code, names)
    with serving(names["talk"]) as url:
        talk = converse_over(url, arrivals([config]), 60, size=32)[0]
    again = replayed(config, talk.samples)
    for one, other in zip(again, talk.user, strict=True):
        assert np.array_equal(one.samples, other.samples) and np.array_equal(one.frames, other.frames)
        assert one.cues == other.cues
    assert np.array_equal(talk.frames, 255 - np.stack([unit.frames for unit in talk.user]))
    beeps = np.flatnonzero(talk.samples.any(axis=1))
    assert len(beeps) and talk.text[beeps].tolist() == [TOKENS["yes"]] * len(beeps)
    assert talk.waited_ms.shape == (60,) and (talk.waited_ms > 0).all()
    unanswered = replayed(config, np.zeros_like(talk.samples))
    assert any(not np.array_equal(a.samples, b.samples) for a, b in zip(unanswered, talk.user, strict=True))


def test_an_agent_that_takes_no_pictures_gets_none_and_one_that_takes_jpeg_gets_files(config):
    got = {}

    def record(coding):
        def answer(header, body):
            got.setdefault(coding, []).append((header, body))
            return silence(header, body)

        return agent(answer, takes=coding)

    for coding in ("none", "jpeg"):
        with serving(record(coding)) as url:
            talk = converse_over(url, arrivals([config]), 3, size=32)[0]
        assert talk.frames is None and not talk.samples.any()
    assert [(h["pictures"], len(b)) for h, b in got["none"]] == [([], 5120)] * 3
    for header, body in got["jpeg"]:
        assert len(header["pictures"]) == 4 and body[5120:5122] == b"\xff\xd8"


def test_every_dialogue_has_a_connection_of_its_own(config):
    begun = []

    def talk(line):
        begun.append(1)
        agent(silence)(line)

    with serving(talk) as url:
        talks = converse_with_websocket(
            url, [1, 2], 4, "digits", held_out=False, voices=config.voices, hold_out=ONLY_TONES, size=32
        )
    assert len(begun) == len(talks) == 2
    assert not np.array_equal(talks[0].user[0].samples, talks[1].user[0].samples)


def failure(talk, config, kind=RunError, units=4, deadline_s=10.0):
    with serving(talk) as url:
        with pytest.raises(kind) as caught:
            converse_over(url, arrivals([config]), units, size=32, deadline_s=deadline_s)
        return str(caught.value).replace(url, "ws://a")


def test_an_agent_that_does_not_answer_in_time_is_named_with_the_unit(config):
    message = failure(agent(lambda h, b: silence(h, b) if h["unit"] < 2 else ()), config, deadline_s=0.3)
    assert message == (
        "ws://a, unit 2: no answer within 0.3 s (expected one to every unit), "
        "see the agent's log or give it a longer deadline"
    )


def test_an_agent_that_hangs_up_is_named_with_the_unit(config):
    def talk(line):
        line.recv()
        line.send(json.dumps(HELLO))
        line.close()

    message = failure(talk, config)
    assert message.startswith("ws://a, unit 0: the agent hung up (")
    assert message.endswith("; expected an answer), see its log")


def test_an_agent_that_answers_something_else_is_told(config):
    message = failure(agent(lambda h, b: unit_message(10, unit=h["unit"])), config)
    assert message.startswith("ws://a, unit 0: found 10 bytes (expected 5120 bytes")


def test_pictures_that_change_their_size_are_refused(config):
    def answer(header, body):
        side = 16 + 16 * (header["unit"] > 1)
        return packed(header["unit"], np.zeros(2560), np.zeros((4, side, side, 3), np.uint8), "", "jpeg")

    assert failure(agent(answer, sends="jpeg"), config) == (
        "ws://a, unit 2: found pictures of another size than before (expected one size), scale them"
    )


def test_an_agent_may_leave_after_its_last_answer(config):
    def talk(line):
        line.recv()
        line.send(json.dumps(HELLO))
        for unit in range(2):
            line.recv(), line.recv()
            for part in unit_message(unit=unit):
                line.send(part)

    with serving(talk) as url:
        assert len(converse_over(url, arrivals([config]), 2, size=32)[0]) == 2


@pytest.fixture(params=["a dialogue", "a look"])
def meet(request, config):
    return check_agent if request.param == "a look" else lambda url: converse_over(url, arrivals([config]), 2)


def test_nobody_there_is_told(meet):
    with pytest.raises(UserError) as caught:
        meet("ws://127.0.0.1:1")
    message = str(caught.value)
    assert message.startswith("ws://127.0.0.1:1: cannot be reached (")
    assert message.endswith("; expected an agent that listens there), start it first")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "", "ws://", "ws://a:port", "ws://a:70000"])
def test_an_address_that_is_none_is_told(meet, url):
    with pytest.raises(UserError) as caught:
        meet(url)
    assert str(caught.value) == (
        f"agent: found '{url}' (expected ws://HOST:PORT or wss://HOST:PORT), correct its address"
    )


def test_an_agent_is_looked_at_in_a_dialogue_of_no_unit():
    got = []

    def talk(line):
        got.append(json.loads(line.recv()))
        line.send(json.dumps(HELLO))
        got.extend(json.loads(message) for message in line)

    with serving(talk) as url:
        check_agent(url)
    assert (got[0]["type"], got[0]["units"], got[1:]) == ("hello", 0, [{"type": "end"}])


def test_an_agent_that_greets_otherwise_is_told_at_once():
    with serving(agent(silence, takes="gif")) as url, pytest.raises(RunError) as caught:
        check_agent(url)
    assert str(caught.value) == f"{url}: found takes 'gif' (expected one of: jpeg, none, rgb), correct its hello"


@pytest.mark.parametrize("wanted", [2, 3])
def test_an_agent_that_holds_fewer_dialogues_at_once_is_told(wanted):
    room = threading.Semaphore(2)

    def talk(line):
        if room.acquire(blocking=False):
            agent(silence)(line)

    with serving(talk) as url:
        if wanted == 2:
            check_agent(url, 2)
            return
        with pytest.raises(UserError) as caught:
            check_agent(url, 3)
    found = str(caught.value)
    assert found.startswith(
        f"{url}: holds 2 of 3 dialogues at once (expected one for each of --processes; {url}: the agent hung up ("
    )
    assert found.endswith("), use --processes 2")


def test_words_that_the_world_does_not_know_are_named_once(config, caplog):
    said = {0: "eight", 1: "eleven, Uh!", 3: "uh ?", 4: "42 OK —"}

    def answer(header, body):
        return unit_message(unit=header["unit"], text=said.get(header["unit"], ""))

    with serving(agent(answer)) as url:
        talks = converse_with_websocket(
            url, [1, 2], 8, "digits", held_out=False, voices=config.voices, hold_out=ONLY_TONES, size=32
        )
    words = ["eight", "<unknown>", "<unknown>", "<unknown>", "<unknown>", "four", "two", "okay"]
    assert [VOCABULARY.words[token] for token in talks[0].text] == words
    assert [talk.unknown for talk in talks] == [("eleven", "uh")] * 2
    assert [record.getMessage() for record in caplog.records if record.name == "wangraph.world"] == [
        f"{url}: found 'eleven', 'uh' in the agent's text (expected words of the world, see docs/benchmark.md), write those: "
        "each other is read as <unknown> and counts as a wrong word"
    ]


def test_of_many_words_some_are_named():
    assert warning_of("ws://a", [f"w{n}" for n in range(11)]).startswith(
        "ws://a: found 'w0', 'w1', 'w2', 'w3', 'w4', 'w5', 'w6', 'w7' and 3 more in the agent's text ("
    )


def test_the_words_of_the_document_are_those_that_text_may_use():
    document = (Path(__file__).parents[1] / "docs" / "benchmark.md").read_text()
    words = next(block for block in re.findall(r"```text\n(.*?)```", document, re.DOTALL) if "mm-hmm" in block)
    assert tuple(words.split()) == VOCABULARY.known_words


def test_a_missing_library_is_named_with_its_extra(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "websockets.exceptions", None)
    with pytest.raises(MissingExtra) as caught:
        converse_over("ws://127.0.0.1:1", arrivals([config]), 2)
    assert str(caught.value) == (
        "world: found no package 'websockets' (expected the extra 'world'), install it: pip install 'wangraph[world]'"
    )


@pytest.mark.slow
def test_an_agent_behind_a_websocket_is_evaluated_like_the_model():
    with serving(agent(silence)) as url:
        result = CliRunner().invoke(command, ["agent", url, "--only", "cards", "--dialogues", "2", "--json"])
    assert result.exit_code == 0, result.exception
    told = json.loads(result.stdout)
    assert told["not judged"] == (
        "words in sound, lips, blinks and nods: they are read by what was learned from the shipped voices and faces, "
        "and say little of others"
    )
    rows = told["rows"]
    assert list(rows) == ["agent", "reference"]
    named = "card named, text"
    assert (rows["agent"][named]["value"], rows["reference"][named]["value"]) == (0.0, 1.0)
