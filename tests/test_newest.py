"""Pictures of another clock: at each instant the newest is shown, and every one that came is accounted for."""

from __future__ import annotations

import numpy as np
import pytest

from wangraph.nodes.media.newest import STALE_NS, Image, NewestPictures

MS = 1_000_000


def image(number: int) -> Image:
    return np.full((1, 1, 3), number, np.uint8)


def numbers(images: list[Image] | None) -> list[int] | None:
    return None if images is None else [int(found[0, 0, 0]) for found in images]


def newest(came: list[tuple[int, int]], instant: int) -> int | None:
    return next((number for at, number in reversed(came) if at <= instant), None)


class Lagging(NewestPictures):
    """Shows the picture before the newest."""

    def put(self, image: Image, at_ns: int) -> None:
        super().put(image, at_ns + 45 * MS)


def the_newest_is_shown(kind: type[NewestPictures], fps: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.uniform(0.7, 1.3, int(4.2 * fps)) * 1e9 / fps).astype(np.int64)
    came = [(int(t), number) for number, t in enumerate(at)]
    pictures, waiting = kind(most=64), list(came)
    for unit in range(1, 26):
        instants = [unit * 160 * MS - j * 40 * MS for j in (3, 2, 1, 0)]
        while waiting and waiting[0][0] <= instants[-1]:
            at_ns, number = waiting.pop(0)
            pictures.put(image(number), at_ns)
        shown = numbers(pictures.read(instants))
        if newest(came, instants[0]) is not None:
            assert shown == [newest(came, instant) for instant in instants]
    n_shown = len({newest(came, 40 * MS * (j + 1)) for j in range(100)} - {None})
    assert pictures.n_put == n_shown + pictures.n_dropped + len(pictures._waiting)


@pytest.mark.parametrize("fps", [7.5, 15, 25, 30, 60])
@pytest.mark.parametrize("seed", range(3))
def test_at_each_instant_the_newest_is_shown_whatever_the_camera_gives(fps, seed):
    the_newest_is_shown(NewestPictures, fps, seed)


def test_pictures_that_lag_are_noticed():
    with pytest.raises(AssertionError):
        the_newest_is_shown(Lagging, 25, 0)


def test_instants_before_the_first_picture_show_that_one():
    pictures = NewestPictures(most=8)
    pictures.put(image(7), 100 * MS)
    assert numbers(pictures.read([40 * MS, 80 * MS, 120 * MS, 160 * MS])) == [7, 7, 7, 7]


def test_nothing_is_shown_where_nothing_came_or_it_is_stale():
    pictures = NewestPictures(most=8)
    assert pictures.read([0, 40 * MS]) is None
    pictures.put(image(7), 100 * MS)
    assert numbers(pictures.read([100 * MS + STALE_NS - 1])) == [7]
    assert pictures.read([100 * MS + STALE_NS]) is None


def test_a_picture_of_the_next_unit_waits_for_it():
    pictures = NewestPictures(most=8)
    pictures.put(image(1), 30 * MS)
    pictures.put(image(2), 170 * MS)
    assert numbers(pictures.read([40 * MS, 160 * MS])) == [1, 1]
    assert numbers(pictures.read([200 * MS])) == [2]
    assert (pictures.n_dropped, pictures.n_held) == (0, 1)


def test_of_too_many_the_oldest_are_dropped_and_counted():
    pictures = NewestPictures(most=3)
    for number in range(10):
        pictures.put(image(number), number * MS)
    assert pictures.n_dropped == 7 and len(pictures._waiting) == 3


def test_clearing_leaves_nothing_to_show():
    pictures = NewestPictures(most=8)
    pictures.put(image(1), 0)
    assert pictures.read([1]) is not None
    pictures.clear()
    assert pictures.read([2]) is None
