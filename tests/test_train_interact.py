import math
from dataclasses import replace

import pytest
import torch
from train_toys import sequences

from wangraph.tools.lab.train.labels import HEADS
from wangraph.wan_core.checkpoint import save
from wangraph.wan_core.config import preset
from wangraph.wan_core.media.mel import LogMel
from wangraph.wan_core.model import DuplexModel
from wangraph.wan_core.train.interact import (
    INTERACT_RECIPE,
    OPENING_WEIGHT,
    InteractTask,
    Learner,
    Understanding,
    changes,
    decision_error,
    decision_losses,
    flow_losses,
    forgotten_before,
    load_understanding,
    noised,
    validate,
)
from wangraph.wan_core.train.loop import Loop
from wangraph.wan_core.train.roll import Rollout, in_step
from wangraph.wan_core.train.sequences import NOTHING, Corruption, Corruptor, prompt_track
from wangraph.wan_core.vocabulary import PAD

NANO = preset("nano")


@pytest.fixture
def learner():
    torch.manual_seed(0)
    return Learner(DuplexModel(NANO), scenarios=2, heads=HEADS)


def corruptor(**amounts):
    return Corruptor(LogMel(NANO.mel), replace(NOTHING, **amounts))


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def test_no_corruption_leaves_everything_as_it_is():
    batch, none = sequences(), corruptor()
    history, user, decisions = (make(batch, chance()) for make in (none.history, none.user, none.decisions))
    assert torch.equal(history.audio, batch.agent.audio) and torch.equal(history.video, batch.agent.video)
    mel = LogMel(NANO.mel)
    torch.testing.assert_close(user.mel, mel(batch.user_audio, mel.new_state(2))[0], atol=1e-5, rtol=0)
    assert not any(mask.any() for track in (history, user, decisions) for mask in track.absent.values())


def test_sound_is_not_learned_where_what_it_follows_is_forgotten(learner):
    batch, t = sequences(rows=4, units=12), torch.full((4, 12), 0.5)
    history = corruptor(forgetful_share=1.0, forget_response=0.5).history(batch, chance())
    is_open = forgotten_before(history)
    assert torch.equal(is_open[:, 1:], history.absent["y_audio"][:, :-1]) and not is_open[:, 0].any()
    found = learner.model(
        corruptor().user(batch, chance()), history, corruptor().decisions(batch, chance()),
        noised(batch.agent, t, chance()), t,
    )  # fmt: skip
    wrong = found.clean.audio + 10 * is_open[:, :, None, None]
    worse = replace(found, clean=found.clean._replace(audio=wrong))
    assert torch.equal(flow_losses(worse, batch, t, is_open=is_open)["audio"],
                       flow_losses(found, batch, t, is_open=is_open)["audio"])  # fmt: skip
    assert flow_losses(worse, batch, t)["audio"] > flow_losses(found, batch, t)["audio"]


@pytest.mark.parametrize(("is_prompted", "times"), [(True, OPENING_WEIGHT), (False, 1.0)])
def test_the_first_picture_of_an_agent_counts_more_if_it_was_told_who_to_be(learner, is_prompted, times):
    batch, t = sequences(rows=2, units=6), torch.full((2, 6), 0.5)
    batch = replace(
        batch, event=torch.zeros_like(batch.event), prefix=prompt_track(torch.full((2, 3), 4)) if is_prompted else None
    )
    found = learner.model(
        corruptor().user(batch, chance()), corruptor().history(batch, chance()), corruptor().decisions(batch, chance()),
        noised(batch.agent, t, chance()), t,
    )  # fmt: skip

    def loss_with_error_in(unit):
        wrong = batch.agent.video.clone()
        wrong[:, unit] += 1
        clean = found.clean._replace(video=wrong)
        return flow_losses(replace(found, clean=clean), batch, t)["video"]

    torch.testing.assert_close(loss_with_error_in(0), times * loss_with_error_in(3))


def test_holding_back_counts_as_much_as_a_change(learner):
    batch, none = sequences(rows=2, units=12), corruptor()
    batch = replace(batch, event=torch.zeros_like(batch.event))
    found = learner.model(none.user(batch, chance()), none.history(batch, chance()), none.decisions(batch, chance()))
    one_wrong = replace(found, state_logits=found.state_logits.clone())
    one_wrong.state_logits[0, 5, 1] += 9
    free, held = (replace(batch, holds=torch.zeros_like(batch.holds)) for _ in range(2))
    held.holds[0, 5] = True
    with torch.no_grad():
        rise = [decision_losses(one_wrong, b)["state"] - decision_losses(found, b)["state"] for b in (free, held)]
    assert rise[1] > 3 * rise[0] > 0


def test_history_is_noisy_and_has_holes_as_often_as_asked():
    batch = sequences(rows=8, units=64)
    history = corruptor(history_noise=0.4, noisy_share=1.0, forgetful_share=0.5, forget_response=0.5).history(
        batch, chance()
    )
    errors = (history.audio - batch.agent.audio).flatten(2).std(2)
    assert errors.max() < 0.5 and errors.mean() == pytest.approx(0.2, abs=0.03)
    forgotten = history.absent["y_audio"].float().mean(1)
    assert 0 in forgotten and forgotten[forgotten > 0].mean() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(history.absent["y_audio"], history.absent["y_video"])


def test_a_blind_row_has_no_user_video_at_all():
    batch = sequences(rows=64, units=4)
    absent = corruptor(blind=0.5).user(batch, chance()).absent["u_video"]
    assert set(absent.sum(1).tolist()) == {0, 4}
    assert absent[:, 0].float().mean() == pytest.approx(0.5, abs=0.2)


def test_a_change_is_a_state_unlike_the_one_before():
    event = torch.tensor([[[0, 2], [0, 1], [3, 1], [3, 0], [0, 0]]])
    assert changes(event).tolist() == [[False, False, True, False, True]]


def test_units_out_of_step_do_not_count_in_the_decisions(learner):
    batch = sequences()
    none = corruptor()
    found = learner.model(none.user(batch, chance()), none.history(batch, chance()), none.decisions(batch, chance()))
    where = torch.zeros(batch.shape, dtype=torch.bool)
    where[:, :3] = True
    other = replace(batch, text=batch.text.clone())
    other.text[:, 4] = (other.text[:, 4] + 1) % 6
    assert decision_losses(found, batch, where) == decision_losses(found, other, where)
    assert decision_losses(found, batch)["text"] != decision_losses(found, other)["text"]


def test_the_model_is_in_step_again_once_both_are_silent():
    batch = sequences(rows=1, units=6)
    ideal = torch.tensor([[0, 3, 3, 0, 0, 3]])
    own = torch.tensor([[0, 0, 3, 3, 0, 3]])
    event, own_event = (torch.stack([state, torch.zeros_like(state)], -1) for state in (ideal, own))
    text = torch.tensor([[0, 5, 0, 0, 0, 5]])
    own_text = torch.tensor([[0, 0, 5, 0, 0, 5]])
    rollout = Rollout(replace(batch, event=event, text=text), batch.agent, own_event, own_text)
    assert in_step(rollout, speaking=[2, 3]).tolist() == [[True, True, False, False, False, True]]


def test_every_part_of_the_model_learns(learner):
    task = InteractTask(learner, lambda generator, progress, weights: sequences(4, 6), Corruption())
    task.loss(chance(), 0.0).total.backward()
    silent = [name for name, p in learner.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert silent == ["model.embed.told"]  # these dialogues have no prefix before them


def test_a_few_steps_make_every_loss_smaller(learner):
    batch = sequences(4, 8)
    task = InteractTask(learner, lambda generator, progress, weights: batch, NOTHING)
    loop = Loop(task, replace(INTERACT_RECIPE, rate=3e-3, bf16=False), 60, seed=0)
    rows = [loop.step() for _ in range(60)]
    for part in ("text", "state", "gesture", "audio", "video", "understood"):
        early, late = (sum(row[part] for row in some) for some in (rows[:5], rows[-5:]))
        assert late < early, part


def test_a_dialogue_is_harder_for_wrong_words_and_wrong_changes_and_for_nothing_else(learner):
    batch, none = sequences(rows=1, units=8), corruptor()
    batch = replace(batch, text=torch.tensor([[PAD, 5, PAD, PAD, PAD, PAD, PAD, PAD]]))
    batch.event[..., 0] = torch.tensor([[0, 0, 0, 0, 3, 3, 3, 3]])
    found = learner.model(none.user(batch, chance()), none.history(batch, chance()), none.decisions(batch, chance()))
    text, state = found.text_logits, found.state_logits
    error = decision_error(found, batch)
    assert decision_error(replace(found, text_logits=_wrong(text, 1)), batch) > error + 1
    assert decision_error(replace(found, state_logits=_wrong(state, 4)), batch) > error + 1
    assert decision_error(replace(found, text_logits=_wrong(text, 2)), batch) == error
    assert decision_error(replace(found, state_logits=_wrong(state, 6)), batch) == error


def _wrong(logits, unit):
    changed = logits.clone()
    changed[:, unit, 1] += 20
    return changed


def test_heads_that_an_older_checkpoint_lacks_are_no_fault(tmp_path, learner):
    older = Understanding(NANO.backbone.width, {"digit": 11, "hand": 2})
    save(tmp_path / "older.safetensors", {"understanding": older}, "nano")
    heads = load_understanding(tmp_path / "older.safetensors", HEADS)
    assert set(heads.heads) == {"digit", "hand"}
    learner.understanding.load_state_dict(heads.state_dict(), strict=False)
    assert torch.equal(learner.understanding.heads["digit"].weight, older.heads["digit"].weight)


def test_harder_scenarios_are_drawn_more_often(learner):
    difficulty = learner.difficulty
    difficulty.update(torch.tensor([1] * 50), torch.full((50,), 5.0))
    even, hard = difficulty.weights().tolist()
    assert hard > even > 0.5 - 1e-6


def test_validation_is_the_same_twice_and_knows_what_is_not_there(learner):
    batch = sequences()
    batch.labels["hand"][:] = 0
    first, second = validate(learner, batch), validate(learner, batch)
    assert math.isnan(first.pop("hand_right")) and math.isnan(second.pop("hand_right"))
    assert first == second


def test_noise_at_time_zero_is_none():
    batch = sequences()
    z = noised(batch.agent, torch.zeros(batch.shape), chance())
    assert torch.equal(z.audio, batch.agent.audio)
