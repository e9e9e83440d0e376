"""Dialogues as batches of sequences, and what is done to them so that the model learns to look and listen.

# B batch, U units
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..embed import Absent, AgentTrack, DecisionTrack, PrefixTrack, UserTrack
from ..flow import Latents
from ..media.mel import LogMel
from .vtlp import perturbed


@dataclass(frozen=True)
class Sequences:
    """A batch of dialogues.

    Attributes:
        user_audio: samples in -1..1, [B, U, S].
        user_video: codec latents [B, U, h, w, channels].
        user_text: typed tokens [B, U].
        agent: codec latents of the ideal agent, [B, U, ...].
        event: [B, U, 2], and text: [B, U], its decisions.
        is_loud: [B, U] bool, where it is heard.
        labels: by auxiliary head, the class [B, U] that it should read; 0 is the common one.
        holds: [B, U] bool, where doing nothing is the decision.
        scenario: [B] number of the kind of dialogue.
        absent: by modality, [B, U] bool where the user has no camera, or no microphone.
        prefix: what all rows were told before unit 0; None: nothing.
        gap_units: units that lie between it and the first one here.
    """

    user_audio: Tensor
    user_video: Tensor
    user_text: Tensor
    agent: Latents
    event: Tensor
    text: Tensor
    is_loud: Tensor
    labels: dict[str, Tensor]
    holds: Tensor
    scenario: Tensor
    absent: Absent = field(default_factory=dict)
    prefix: PrefixTrack | None = None
    gap_units: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(B, U)."""
        return self.text.shape[0], self.text.shape[1]


def prompt_track(tokens: Tensor) -> PrefixTrack:
    """A prefix of typed tokens [B, P], and of nothing else."""
    return PrefixTrack(UserTrack(text=tokens), AgentTrack())


@dataclass(frozen=True)
class Corruption:
    """Amount of disturbance of a sequence; 0 everywhere leaves it alone.

    Attributes:
        history_noise: largest standard deviation of noise on the remembered response, in ``noisy_share`` of the rows.
        forgetful_share: share of the rows in which units are forgotten; the others go on as they do when it counts.
        forget_response: share of a forgetful row's units whose remembered response is absent, so that its own past
            alone tells too little: else "as before" would be learned, and what the user does would not.
        forget_decision: share of a forgetful row's units whose remembered decision is absent.
        lost: share of units in which a modality of the user is absent.
        blind: share of rows without any user video.
        gain: the user's loudness is changed by up to this factor, either way.
        noise_db: range of the noise that is added to the user's voice, in decibels below full scale.
        masked_bands: widest stripe of log-mel bands that is blanked.
        vtlp: the frequencies of a voice are stretched by up to this factor, either way (vocal tract length
            perturbation, Jaitly and Hinton 2013): more voices than there are speakers.
        tilt: the highest band is louder than the lowest by up to this factor (natural logarithm), or quieter.
    """

    history_noise: float = 0.4
    noisy_share: float = 0.8
    forgetful_share: float = 0.4
    forget_response: float = 0.4
    forget_decision: float = 0.2
    lost: float = 0.02
    blind: float = 0.1
    gain: float = 1.6
    noise_db: tuple[float, float] = (90.0, 52.0)
    masked_bands: int = 6
    vtlp: float = 1.2
    tilt: float = 1.0


NOTHING = Corruption(0, 0, 0, 0, 0, 0, 0, 1.0, (200.0, 200.0), 0, 1.0, 0.0)
"""Leaves a sequence as it is (but for noise 200 dB down)."""


class Corruptor:
    """Turns sequences into what the model is given.

    Args:
        mel: the front end.
        corruption: how much.
    """

    def __init__(self, mel: LogMel, corruption: Corruption) -> None:
        self.mel, self.corruption = mel, corruption

    def user(self, batch: Sequences, generator: torch.Generator) -> UserTrack:
        """The user's side, heard through a worse line and now and then not at all."""
        amount, (rows, units) = self.corruption, batch.shape
        absent = {
            name: self._chance((rows, units), amount.lost, batch, generator)
            for name in ("u_video", "u_audio", "u_text")
        }
        absent["u_video"] |= self._chance((rows, 1), amount.blind, batch, generator)
        for name, missing in batch.absent.items():
            absent[name] |= missing
        return UserTrack(batch.user_video, self._degraded(batch.user_audio, generator), batch.user_text, absent)

    def history(self, batch: Sequences, generator: torch.Generator) -> AgentTrack:
        """History of its own responses as the model remembers it: noisy, and with holes."""
        amount, (rows, units) = self.corruption, batch.shape
        sigma = amount.history_noise * self._uniform((rows, units), batch, generator)
        sigma = sigma * self._chance((rows, 1), amount.noisy_share, batch, generator)
        audio, video = (self._blurred(x, sigma, generator) for x in batch.agent)
        forgotten = self._forgotten(amount.forget_response, batch, generator)
        return AgentTrack(audio, video, {"y_audio": forgotten, "y_video": forgotten})

    def decisions(self, batch: Sequences, generator: torch.Generator) -> DecisionTrack:
        """The true decisions, some of them not remembered."""
        forgotten = self._forgotten(self.corruption.forget_decision, batch, generator)
        return DecisionTrack(batch.event, batch.text, absent={"event": forgotten, "text": forgotten})

    def _degraded(self, audio: Tensor, generator: torch.Generator) -> Tensor:
        """Log-mel of the samples with another gain, some noise, another vtlp, and a stripe of bands missing."""
        amount, rows = self.corruption, len(audio)
        drawn = torch.rand(rows, 6, generator=generator, device=audio.device)
        gain = amount.gain ** (2 * drawn[:, 0] - 1)
        low, high = amount.noise_db
        level = 10 ** (-(low + (high - low) * drawn[:, 1]) / 20)
        noise = torch.randn(audio.shape, generator=generator, device=audio.device)
        worse = audio * gain[:, None, None] + noise * level[:, None, None]
        with torch.autocast(audio.device.type, enabled=False):
            mel, _ = self.mel(worse, self.mel.new_state(rows))
            factor, tilt = amount.vtlp ** (2 * drawn[:, 4] - 1), amount.tilt * (2 * drawn[:, 5] - 1)
            mel = perturbed(mel, factor, tilt, self.mel.config)
        bands = torch.arange(mel.shape[-1], device=mel.device)
        first, width = drawn[:, 2:3] * mel.shape[-1], drawn[:, 3:4] * amount.masked_bands
        stripe = (bands >= first) & (bands < (first + width).floor())
        masked: Tensor = mel.masked_fill(stripe[:, None, None], 0.0)
        return masked

    @staticmethod
    def _blurred(x: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        return x + noise * sigma.reshape(*sigma.shape, *(1,) * (x.dim() - 2))

    @staticmethod
    def _uniform(shape: tuple[int, ...], batch: Sequences, generator: torch.Generator) -> Tensor:
        return torch.rand(shape, generator=generator, device=batch.text.device)

    def _forgotten(self, share: float, batch: Sequences, generator: torch.Generator) -> Tensor:
        rows, units = batch.shape
        is_forgetful = self._chance((rows, 1), self.corruption.forgetful_share, batch, generator)
        return is_forgetful & self._chance((rows, units), share, batch, generator)

    def _chance(self, shape: tuple[int, ...], share: float, batch: Sequences, generator: torch.Generator) -> Tensor:
        return self._uniform(shape, batch, generator) < share
