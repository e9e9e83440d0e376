from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from wangraph.wan_core.backbone import attention
from wangraph.wan_core.backbone.mask import visible
from wangraph.wan_core.config import BackboneConfig, preset
from wangraph.wan_core.embed import AgentTrack, DecisionTrack, PrefixTrack, UserTrack
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.flow import Latents
from wangraph.wan_core.model import DuplexModel

NANO = preset("nano")
B, U = 2, 9
CUT = 5


@pytest.fixture(scope="module")
def tracks():
    """A conversation, the flow's noisy latents, and their times."""
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape):
        return torch.randn(B, U, *shape, generator=generator)

    def tokens(size):
        return torch.randint(0, size, (B, U), generator=generator)

    user = UserTrack(numbers(*NANO.video.latent_shape), numbers(*NANO.mel.shape), tokens(64))
    agent = AgentTrack(numbers(*NANO.audio.latent_shape), numbers(*NANO.video.latent_shape))
    decisions = DecisionTrack(torch.stack([tokens(5), tokens(3)], -1), tokens(64), tokens(2).bool())
    noisy = Latents(numbers(*NANO.audio.latent_shape), numbers(*NANO.video.latent_shape))
    return user, agent, decisions, noisy, torch.rand(B, U, generator=generator)


@pytest.fixture(params=["added", "modulation"])
def model(randomise, request):
    return randomise(DuplexModel(replace(NANO, flow_time=request.param)))


@torch.inference_mode()
def said(model, user, agent, decisions, noisy=None, t=None, **options):
    """Everything predicted, by name, [B, U, ...]."""
    out = model(user, agent, decisions, noisy, t, **options)
    named = {"state": out.state_logits, "gesture": out.gesture_logits, "text": out.text_logits}
    return named if out.clean is None else {**named, "audio": out.clean.audio, "video": out.clean.video}


def changed(x, first, last=U):
    """x with other numbers (or other tokens, or flags) in units first..last-1."""
    y = x.clone()
    span = y[:, first:last]
    y[:, first:last] = ~span if x.dtype == torch.bool else span + 1.5 if x.is_floating_point() else (span + 1) % 3
    return y


def variations(user, agent, decisions):
    """Each field of each track, and how to change it from one unit to another."""

    def one(place, track, name):
        def vary(first, last=U):
            parts = [user, agent, decisions]
            parts[place] = replace(track, **{name: changed(getattr(track, name), first, last)})
            return parts

        return vary

    fields = [(0, user, ("video", "mel", "text")), (1, agent, ("audio", "video"))]
    fields.append((2, decisions, ("event", "text", "unplayed")))
    return {f"{place}.{name}": one(place, track, name) for place, track, names in fields for name in names}


def difference(one, other, units):
    return {name: float((one[name] - other[name])[:, units].abs().max()) for name in one}


def test_no_prediction_depends_on_a_later_unit(model, tracks):
    user, agent, decisions, noisy, t = tracks
    before = said(model, *tracks)
    for name, vary in variations(user, agent, decisions).items():
        after = said(model, *vary(CUT), noisy, t)
        assert max(difference(before, after, slice(0, CUT)).values()) < 1e-6, name


def test_every_prediction_depends_on_everything_earlier(model, tracks):
    user, agent, decisions, noisy, t = tracks
    before = said(model, *tracks)
    for name, vary in variations(user, agent, decisions).items():
        after = said(model, *vary(1, 2), noisy, t)
        for later in range(2, U):
            assert min(difference(before, after, later).values()) > 1e-6, (name, later)


def test_a_mask_that_shows_the_next_unit_is_found_out(model, tracks, monkeypatch):
    """The planted bug."""

    def leaky(queries, keys):
        return visible(queries, keys) | ((keys.order[None] <= queries.order[:, None] + 3) & (keys.noisy[None] == 0))

    monkeypatch.setattr(attention, "visible", leaky)
    user, agent, decisions, noisy, t = tracks
    before, vary = said(model, *tracks), variations(user, agent, decisions)["0.mel"]
    assert max(difference(before, said(model, *vary(CUT), noisy, t), slice(0, CUT)).values()) > 1e-3


def test_within_a_unit_the_event_precedes_the_text_and_the_text_the_latents(model, tracks):
    user, agent, decisions, noisy, t = tracks
    before, vary = said(model, *tracks), variations(user, agent, decisions)

    def moved(name):
        moves = difference(before, said(model, *vary[name](CUT), noisy, t), CUT)
        return {key for key, value in moves.items() if value > 1e-6}

    assert moved("0.video") == moved("0.mel") == moved("0.text") == {"state", "gesture", "text", "audio", "video"}
    assert moved("2.event") == {"text", "audio", "video"}
    assert moved("2.text") == moved("2.unplayed") == {"audio", "video"}
    assert moved("1.audio") == moved("1.video") == set()


def test_audio_and_video_are_denoised_jointly_and_unit_by_unit(model, tracks):
    user, agent, decisions, noisy, t = tracks
    before = said(model, *tracks)
    for other in (noisy._replace(audio=changed(noisy.audio, 3, 4)), noisy._replace(video=changed(noisy.video, 3, 4))):
        moves = difference(before, said(model, user, agent, decisions, other, t), 3)
        assert moves["audio"] > 1e-6 and moves["video"] > 1e-6 and moves["text"] == 0
        rest = [k for k in range(U) if k != 3]
        assert max(difference(before, said(model, user, agent, decisions, other, t), rest).values()) < 1e-6


def test_the_flow_time_matters(model, tracks):
    user, agent, decisions, noisy, t = tracks
    moves = difference(said(model, *tracks), said(model, user, agent, decisions, noisy, 1 - t), slice(0, U))
    assert moves["audio"] > 1e-3 and moves["text"] == 0


@pytest.mark.parametrize("first_unit", [1, 37, 100_000])
def test_unit_numbers_do_not_matter(model, tracks, first_unit):
    moves = difference(said(model, *tracks), said(model, *tracks, first_unit=first_unit), slice(0, U))
    assert max(moves.values()) < 1e-4


def test_the_oldest_unit_still_counts(model, tracks):
    user, agent, decisions, _, _ = tracks
    shorter = [
        UserTrack(user.video[:, 1:], user.mel[:, 1:], user.text[:, 1:]),
        AgentTrack(agent.audio[:, 1:], agent.video[:, 1:]),
        DecisionTrack(decisions.event[:, 1:], decisions.text[:, 1:], decisions.unplayed[:, 1:]),
    ]
    assert (
        said(model, user, agent, decisions)["text"][:, -1] - said(model, *shorter)["text"][:, -1]
    ).abs().max() > 1e-6


def test_rows_do_not_see_each_other(model, tracks):
    user, agent, decisions, _, _ = tracks
    alone = [
        UserTrack(user.video[1:], user.mel[1:], user.text[1:]),
        AgentTrack(agent.audio[1:], agent.video[1:]),
        DecisionTrack(decisions.event[1:], decisions.text[1:], decisions.unplayed[1:]),
    ]
    one, both = said(model, *alone), said(model, user, agent, decisions)
    for name in one:
        torch.testing.assert_close(one[name][0], both[name][1], atol=1e-5, rtol=0)


def test_what_is_absent_is_not_looked_at(model, tracks):
    user, agent, decisions, noisy, t = tracks
    where = torch.zeros(B, U, dtype=torch.bool)
    where[:, 2] = True
    names = {"0": ("u_video", "u_audio", "u_text"), "1": ("y_audio", "y_video"), "2": ("event", "text")}
    absent = [replace(x, absent=dict.fromkeys(names[str(i)], where)) for i, x in enumerate((user, agent, decisions))]
    before = said(model, *absent, noisy, t)
    assert max(difference(before, said(model, *tracks), U - 1).values()) > 1e-6
    for name, vary in variations(*absent).items():
        if name not in ("2.unplayed", "2.event"):
            assert max(difference(before, said(model, *vary(2, 3), noisy, t), slice(0, U)).values()) < 1e-6, name


def test_a_track_without_a_field_is_absent_everywhere(model, tracks):
    user, agent, decisions, _, _ = tracks
    everywhere = torch.ones(B, U, dtype=torch.bool)
    marked = said(model, replace(user, absent={"u_video": everywhere}), agent, decisions)
    left_out = said(model, replace(user, video=None), agent, decisions)
    assert max(difference(marked, left_out, slice(0, U)).values()) < 1e-6


def test_every_parameter_learns(tracks):
    model = DuplexModel(NANO)
    user, agent, decisions, noisy, t = tracks
    where = torch.zeros(B, U, dtype=torch.bool)
    where[:, 3] = True
    user = replace(user, absent=dict.fromkeys(("u_video", "u_audio", "u_text"), where))
    agent = replace(agent, absent=dict.fromkeys(("y_audio", "y_video"), where))
    decisions = replace(decisions, absent=dict.fromkeys(("event", "text"), where))
    out = model(user, agent, decisions, noisy, t, prefix=PrefixTrack(user, agent))
    parts = (out.state_logits, out.gesture_logits, out.text_logits, out.clean.audio, out.clean.video)
    sum(x.square().mean() for x in parts).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert silent == []


def test_mistakes_are_told_in_words(model, tracks):
    user, agent, decisions, noisy, _ = tracks
    cases = {
        "user video: found shape [2, 9, 2, 3, 16] (expected [2, 9, 2, 2, 16]), resize it or change the preset": (
            replace(user, video=torch.zeros(B, U, 2, 3, 16)), agent, decisions),
        "response audio: found NaN or infinity (expected finite numbers), check what produced it": (
            user, replace(agent, audio=agent.audio * float("nan")), decisions),
        "user text: found tokens 64..64 (expected 0..63)": (
            replace(user, text=torch.full((B, U), 64)), agent, decisions),
        "model: found noisy latents without flow times (expected t of shape [B, U])": (user, agent, decisions, noisy),
        "model: found no events (expected decisions.event, the text is predicted from them)": (
            user, agent, DecisionTrack()),
        "model: found tracks without any content (expected at least one field)": (
            UserTrack(), AgentTrack(), DecisionTrack()),
    }  # fmt: skip
    for message, arguments in cases.items():
        with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
            model(*arguments)


def test_impossible_shapes_are_refused():
    with pytest.raises(
        ModelError, match=re.escape("backbone.alibi_slopes: found 1 (expected one per head, 2, or none)")
    ):
        BackboneConfig(width=64, layers=2, heads=2, kv_heads=1, ffn_width=128, alibi_slopes=(0.5,))
    with pytest.raises(
        ModelError, match=re.escape("nano.slots.y_audio: found 3 tokens for 8 latents (expected a divisor of 8)")
    ):
        replace(NANO, slots=replace(NANO.slots, y_audio=3))
