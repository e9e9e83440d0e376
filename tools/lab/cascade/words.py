"""Recognition of a user's words: a linear model of sound, and the best way through chains of words.

Each word is a chain of states, silence is one more. A state's score is linear in some frames of cepstra around a
moment (Gaussians of one covariance, in closed form), and the words of a turn are the chain that scores best
(Viterbi). Learned in seconds from phrases that training voices say in all kinds of rooms, and kept beside the voices.
"""

# T frames of 10 ms, D numbers in a frame's features, C states of all words and silence, W words, S states in a word

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..world.person import END_GLIDE, GO_ON_GLIDE, delivered
from ..world.room import Microphone, Room
from ..world.signal import MS, RATE, UNIT, Sound, warp_tract
from ..world.synthesis import espeak_release
from ..world.voices import Bank, Speaker, keep
from ..world.words import DIGITS, USER_WORDS

Plane = NDArray[np.float32]

RECIPE = 1
"""Counts changes of how the model is made, so that an older one is not read."""
HOP = 10 * MS
_WINDOW, _FFT, _BANDS, _CEPSTRA = 400, 512, 26, 13
_AROUND = (-9, -6, -3, 0, 3, 6, 9)
_STATES = 9
_SPEAKERS, _PHRASES, _ROUNDS = 35, 450, 3
_RIDGE = 1.0
_WORD_COST = 20.0  # of each word: no short words in a long one
_DIGIT_SHARE = 0.6


@dataclass(frozen=True)
class WordModel:
    """Scores of all states, linear in the features of a moment: ``features @ weights + bias``.

    Attributes:
        weights: [D, C]; state ``w * S + s`` is state s of word w, the last one is silence.
        bias: [C].
    """

    weights: Plane
    bias: Plane

    @classmethod
    def of(cls, bank: Bank, seed: int = 0) -> WordModel:
        """The model of a bank's training voices, from disk where it was made before.

        Raises:
            MissingExtra: the package that carries espeak-ng is not installed.
        """
        speakers = [speaker for speaker in bank.split("train") if speaker.synthesiser == "espeak-ng"]
        speakers = speakers[:: max(1, len(speakers) // _SPEAKERS)]
        path = bank.cache / f"words-{_key(speakers, seed)}-{espeak_release(speakers[0].name)}.npz"
        if path.exists():
            with np.load(path) as kept:
                return cls(kept["weights"], kept["bias"])
        model = _learned(list(_phrases(bank, speakers, seed)))
        keep(path, {"weights": model.weights, "bias": model.bias})
        return model

    def words(self, sound: Sound) -> list[str]:
        """The words that are said in ``sound``, at 16 kHz."""
        if len(sound) < _WINDOW:
            return []
        return [USER_WORDS[number] for number in _best_chain(features(sound) @ self.weights + self.bias)]


def features(sound: Sound) -> Plane:
    """Cepstra around each moment, without what all moments have in common: [T, D]."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, (_WINDOW // 2, _WINDOW // 2)), _WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), _FFT)) ** 2
    logs = np.log(power @ _filters().T + 1e-3)
    cepstra = logs @ _cosines()
    loud = cepstra[:, 0] > np.quantile(cepstra[:, 0], 0.9) - 25.0
    cepstra = cepstra - cepstra[loud].mean(axis=0)
    place = np.clip(np.arange(len(cepstra))[:, None] + _AROUND, 0, len(cepstra) - 1)
    around: Plane = cepstra[place].reshape(len(cepstra), -1).astype(np.float32)
    return around


def _filters() -> NDArray[np.float64]:
    """Triangles on the mel scale [bands, bins]."""
    mels = np.linspace(_mel(100.0), _mel(7000.0), _BANDS + 2)
    edges = 700.0 * (np.exp(mels / 1127.0) - 1.0)
    hz = np.arange(_FFT // 2 + 1) * RATE / _FFT
    rise = (hz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - hz) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0.0, np.minimum(rise, fall))


def _mel(hz: float) -> float:
    return 1127.0 * float(np.log(1.0 + hz / 700.0))


def _cosines() -> NDArray[np.float64]:
    """From log bands to cepstra [bands, cepstra]."""
    bands, order = np.arange(_BANDS) + 0.5, np.arange(_CEPSTRA)
    cosines: NDArray[np.float64] = np.cos(np.pi * bands[:, None] * order / _BANDS)
    return cosines


# Searching ------------------------------------------------------------------------------------------------------------


def _best_chain(scores: Plane) -> list[int]:
    """Words of the best way through ``scores`` [T, C]: any words, with or without silence between them."""
    n_words, (n_frames, _) = len(USER_WORDS), scores.shape
    inside = scores[:, :-1].reshape(n_frames, n_words, _STATES)
    best = np.full((n_words, _STATES), -np.inf)
    history: list[tuple[int, int]] = [(-1, -1)]  # (word that ended, the entry before it)
    since = np.zeros((n_words, _STATES), np.int64)  # entry of `history` that a way began with
    silent, silent_since = float(scores[0, -1]), 0
    best[:, 0] = inside[0, :, 0] - _WORD_COST
    for t in range(1, n_frames):
        ended = int(np.argmax(best[:, -1]))
        entry = max(silent, float(best[ended, -1]))
        entry_since = silent_since
        if best[ended, -1] > silent:
            history.append((ended, int(since[ended, -1])))
            entry_since = len(history) - 1
        moved = np.empty_like(best)
        moved[:, 0] = entry - _WORD_COST
        moved[:, 1:] = best[:, :-1]
        goes = moved > best
        from_before = np.empty_like(since)
        from_before[:, 0] = entry_since
        from_before[:, 1:] = since[:, :-1]
        best = np.where(goes, moved, best) + inside[t]
        since = np.where(goes, from_before, since)
        silent, silent_since = entry + float(scores[t, -1]), entry_since
    ended = int(np.argmax(best[:, -1]))
    place = silent_since
    words: list[int] = []
    if best[ended, -1] > silent:
        words.append(ended)
        place = int(since[ended, -1])
    while place > 0:
        word, place = history[place]
        words.append(word)
    return words[::-1]


def _aligned(scores: Plane) -> NDArray[np.int64]:
    """The state of each moment of one word, from ``scores`` [T, S] of its states, in order."""
    n = len(scores)
    best, came = np.full(_STATES, -np.inf), np.zeros((n, _STATES), bool)
    best[0] = scores[0, 0]
    for t in range(1, n):
        before = np.concatenate([[-np.inf], best[:-1]])
        came[t] = before > best
        best = np.where(came[t], before, best) + scores[t]
    state, states = _STATES - 1, np.zeros(n, np.int64)
    for t in range(n - 1, -1, -1):
        states[t] = state
        state -= int(came[t, state])
    return states


# Learning -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Phrase:
    """Sound, and of each word in it (number, first frame, frame after the last)."""

    sound: Sound
    spans: tuple[tuple[int, int, int], ...]

    @cached_property
    def features(self) -> Plane:
        """Features of the sound."""
        return features(self.sound)


def _phrases(bank: Bank, speakers: list[Speaker], seed: int) -> Iterator[_Phrase]:
    """Phrases as users say them."""
    rng = np.random.default_rng((seed, 61))
    for number in range(_PHRASES):
        takes = bank.takes(speakers[number % len(speakers)])
        tract, rate = float(rng.uniform(0.9, 1.12)), float(rng.uniform(0.88, 1.14))
        microphone, spans = Microphone(Room.sample(rng), int(rng.integers(2**31))), []
        at = int(rng.uniform(100, 300)) * MS
        count = int(rng.integers(1, 5))
        for place in range(count):
            word = str(rng.choice(DIGITS if rng.random() < _DIGIT_SHARE else USER_WORDS))
            melody = END_GLIDE if place == count - 1 else GO_ON_GLIDE
            sound = delivered(warp_tract(takes[word][0], tract), melody, rate) * np.float32(rng.uniform(0.85, 1.15))
            microphone.add(sound, at)
            spans.append((USER_WORDS.index(word), at // HOP, (at + len(sound)) // HOP))
            at += len(sound) + int(rng.uniform(20, 110)) * MS
        units = (at + int(rng.uniform(100, 500)) * MS) // UNIT + 1
        whole = np.concatenate([microphone.take(np.zeros(UNIT, np.float32)) for _ in range(units)])
        yield _Phrase(whole, tuple(spans))


def _learned(phrases: list[_Phrase]) -> WordModel:
    """Gaussians of one covariance, from words cut evenly, then cut anew by what was learned."""
    model: WordModel | None = None
    for _ in range(_ROUNDS):
        labels = [_labels(phrase, model) for phrase in phrases]
        model = _gaussians(np.concatenate([phrase.features for phrase in phrases]), np.concatenate(labels))
    assert model is not None
    return model


def _labels(phrase: _Phrase, model: WordModel | None) -> NDArray[np.int64]:
    """The state of each moment; silence is the last one."""
    labels = np.full(len(phrase.features), len(USER_WORDS) * _STATES)
    for word, first, end in phrase.spans:
        if model is None:
            states = np.arange(end - first) * _STATES // (end - first)
        else:
            own = slice(word * _STATES, (word + 1) * _STATES)
            states = _aligned(phrase.features[first:end] @ model.weights[:, own] + model.bias[own])
        labels[first:end] = word * _STATES + states
    return labels


def _gaussians(x: Plane, labels: NDArray[np.int64]) -> WordModel:
    n_states = len(USER_WORDS) * _STATES + 1
    counts = np.bincount(labels, minlength=n_states).astype(np.float64)
    sums = np.stack([np.bincount(labels, column, n_states) for column in x.T.astype(np.float64)], axis=1)
    means = sums / np.maximum(counts, 1.0)[:, None]
    rest = x - means[labels]
    covariance = rest.T @ rest / len(x)
    covariance += _RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    weights = np.linalg.solve(covariance, means.T)
    bias = -0.5 * np.einsum("cd,dc->c", means, weights)
    return WordModel(weights.astype(np.float32), bias.astype(np.float32))


def _key(speakers: list[Speaker], seed: int) -> str:
    facts = (RECIPE, seed, _STATES, _AROUND, _PHRASES, _ROUNDS, _RIDGE, _BANDS, _CEPSTRA, USER_WORDS, speakers)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
