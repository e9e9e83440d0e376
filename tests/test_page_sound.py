"""The page's sound: the ring that it is played from, and the microphone's samples at the rate of the protocol."""

import numpy as np
import pytest
from page_browser import browser_fixture, server_fixture, window_fixture  # noqa: F401

from wangraph.tools.serve.protocol import AUDIO, Media, read_media, write_media
from wangraph.tools.talk.ring import Ring

pytestmark = pytest.mark.browser

RATE_HZ, QUANTUM, PART = 16_000, 128, 320
RING = """async ({ steps, planted }) => {
  const { Ring } = await import("/page/ring.js");
  class Endless extends Ring { drop() {} }
  class Restless extends Ring { runDry() { this.underruns++; this.want = 0; } }
  class Mixed extends Ring { put(samples, ...where) { super.put(samples.toReversed(), ...where); } }
  const ring = new { Ring, Endless, Restless, Mixed }[planted ?? "Ring"](16000);
  const log = [];
  for (const [what, ...args] of steps) {
    const out = new Float32Array(128);
    if (what === "take") ring.take(out);
    else if (what === "put") ring.put(Float32Array.from(args[0]), args[1], args[2]);
    else if (what === "flush") ring.flush();
    log.push({ out: what === "take" ? [...out] : null, heldMs: ring.heldMs, wantMs: ring.want / 16, unit: ring.heard(0), underruns: ring.underruns, dropped: ring.dropped });
  }
  return log;
}"""


@pytest.fixture(name="ring")
def ring_fixture(window):
    page = window()
    return lambda steps, planted=None: page.evaluate(RING, {"steps": steps, "planted": planted})


def part(k, loud=True):
    """20 ms whose samples tell their own number, so close to 0.5 that none is there while sound fades in; or silence."""
    number = np.arange(k * PART, (k + 1) * PART)
    return ["put", (0.5 + number / 2**23 if loud else number * 0).tolist(), k // 8, k % 8]


def numbers(log):
    """Which samples were heard at full gain, by number."""
    heard = np.concatenate([entry["out"] for entry in log if entry["out"] is not None])
    return np.round((heard[heard >= 0.5] - 0.5) * 2**23).astype(int)


def jittery(seed, parts=120):
    """Parts that come up to 60 ms late, in order, between quanta of 8 ms that are taken in time."""
    jitter = np.random.default_rng(seed).uniform(0, 0.06, parts)
    arrivals = np.maximum.accumulate(0.02 * np.arange(parts) + jitter)
    events = [(at, part(k)) for k, at in enumerate(arrivals)]
    events += [(t * QUANTUM / RATE_HZ, ["take"]) for t in range(int(parts * 2.5))]
    return [event for _, event in sorted(events, key=lambda e: e[0])]


def test_sound_begins_when_36_ms_are_there_and_comes_out_in_order(ring):
    log = ring([part(0), ["take"], part(1), *[["take"]] * 5])
    assert not any(log[1]["out"])
    assert numbers(log).tolist() == list(range(64 + 32, 640))
    assert [entry["unit"] for entry in log] == [-1, -1, -1, -1, 0, 0, 0, 0]


def test_sound_that_runs_dry_waits_longer_before_it_goes_on_up_to_150_ms(ring):
    steps = []
    for _ in range(6):
        steps += [part(k) for k in range(8)] + [["take"]] * 22
    log = ring(steps)
    assert [entry["underruns"] for entry in log[29::30]] == [1, 2, 3, 4, 5, 6]
    assert [entry["wantMs"] for entry in log[29::30]] == [66, 96, 126, 150, 150, 150]


def test_a_flush_forgets_everything_at_once(ring):
    log = ring([part(0), part(1), ["take"], ["flush"], ["take"], part(9), ["take"], part(10), ["take"]])
    assert [entry["heldMs"] for entry in log[3:5]] == [0, 0]
    assert not any(log[4]["out"]) and not any(log[6]["out"])
    assert numbers(log[7:]).min() > 9 * PART


def test_a_delay_that_grew_is_made_up_for_in_silence(ring):
    quiet, loud = (ring([part(k, loud) for k in range(5)] + [["take"]] * 3)[-1] for loud in (False, True))
    assert [quiet["dropped"], loud["dropped"]] == [64 + 3 * QUANTUM, 64], "40 ms were there when 36 would do"
    assert [quiet["heldMs"], loud["heldMs"]] == [96 - 6 * 8, 96 - 3 * 8]


CALM = """async () => {
  const { Ring } = await import("/page/ring.js");
  const ring = new Ring(16000);
  const [quiet, out] = [new Float32Array(320), new Float32Array(128)];
  const play = (parts, takes) => {
    for (let i = 0; i < parts; i++) ring.put(quiet, 0, 0);
    for (let i = 0; i < takes; i++) ring.take(out);
  };
  for (let i = 0; i < 6; i++) play(8, 22);
  const worst = ring.want / 16;
  play(8, 0);
  for (let i = 0; i < 120 * 25; i++) [2, 3].forEach((takes) => play(1, takes)); // two minutes
  return [worst, ring.want / 16, ring.heldMs];
}"""


def test_after_two_calm_minutes_sound_waits_no_longer_than_an_even_way_needs(window):
    worst, want, held = window().evaluate(CALM)
    assert (worst, want) == (150, 34), "10 ms to spare when it is lowest"
    assert held <= 40


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_network_does_sound_keeps_its_order_and_its_delay(ring, seed):
    assert breach(ring(jittery(seed))) == ""


@pytest.mark.parametrize("is_loud", [True, False])
def test_the_page_and_a_client_in_python_hold_sound_by_the_same_rule(ring, is_loud):
    even = [part(0), *[["take"]] * 2, part(0), *[["take"]] * 3] * 300  # 12 s
    steps = [*jittery(3), *jittery(4, 60), ["flush"], *jittery(5), *even]
    steps = [part(k, is_loud) if step[0] == "put" else step for k, step in enumerate(steps)]
    ours, held = Ring(RATE_HZ), []
    for what, *args in steps:
        if what == "take":
            ours.take(QUANTUM)
        elif what == "put":
            ours.put(np.round(np.array(args[0]) * 32767).astype(np.int16), args[1], args[2])
        else:
            ours.flush()
        held.append((ours.held / 16, ours.want / 16, ours.underruns, ours.dropped))
    log = ring(steps)
    assert [(e["heldMs"], e["wantMs"], e["underruns"], e["dropped"]) for e in log] == held
    assert held[-1][2] > 0 and held[-1][1] < max(want for _, want, *_ in held), "it ran dry, grew and shrank"


@pytest.mark.parametrize("planted, broken", [("Endless", "delay"), ("Restless", "dry"), ("Mixed", "order")])
def test_a_planted_bug_breaks_the_law(ring, planted, broken):
    steps = jittery(0)
    if planted == "Endless":
        steps += [part(k) for k in range(200, 220)]
    assert breach(ring(steps, planted)) == broken


def breach(log):
    """The law that a log breaks: order, a bounded delay, or not to run dry again and again."""
    heard = numbers(log)
    if (np.diff(heard) <= 0).any():
        return "order"
    if max(entry["heldMs"] - entry["wantMs"] for entry in log) > 60:
        return "delay"
    return "dry" if log[-1]["underruns"] > 4 else ""


RESAMPLE = """async ({ samples, from, piece }) => {
  const { Resampler } = await import("/page/resampler.js");
  const resampler = new Resampler(from, 16000);
  const made = [];
  for (let i = 0; i < samples.length; i += piece) made.push(...resampler.push(Float32Array.from(samples.slice(i, i + piece))));
  return made;
}"""


def resampled(page, hz, rate, piece=128):
    samples = np.sin(2 * np.pi * hz * np.arange(rate // 4) / rate)
    return np.array(page.evaluate(RESAMPLE, {"samples": samples.tolist(), "from": rate, "piece": piece}))


@pytest.mark.parametrize("rate", [48_000, 44_100])
def test_a_tone_stays_a_tone_and_what_16_khz_cannot_hold_is_not_heard(window, rate):
    page = window()
    kept = resampled(page, 1000, rate)[200:-200]
    t = 2 * np.pi * 1000 * np.arange(len(kept)) / RATE_HZ
    basis = np.stack([np.sin(t), np.cos(t)], 1)
    weights = np.linalg.lstsq(basis, kept, rcond=None)[0]
    assert np.hypot(*weights) == pytest.approx(1, abs=0.01)
    assert np.std(kept - basis @ weights) < 10 ** (-55 / 20)
    assert np.abs(resampled(page, 9500, rate)[200:-200]).max() < 10 ** (-40 / 20)


def test_pieces_of_any_size_make_the_same_sound(window):
    page = window()
    whole, pieces = (resampled(page, 700, 48_000, piece) for piece in (48_000, 97))
    assert len(whole) == len(pieces)
    assert np.abs(whole - pieces).max() < 1e-6


def test_both_halves_of_the_protocol_write_the_same_bytes(window):
    page = window()
    media = Media(AUDIO, True, 3, 4_000_000_000, 1 << 40, b"\x01\x02\x03")
    written = page.evaluate(
        """async (bytes) => {
          const { readMedia, writeMedia } = await import("/page/protocol.js");
          const media = readMedia(Uint8Array.from(bytes).buffer);
          return [...writeMedia(media, media.data)];
        }""",
        list(write_media(media)),
    )
    assert read_media(bytes(written)) == media
