"""A lane's mailbox: nothing that is put in waits for a lane that listens to other processes."""

from __future__ import annotations

import threading

import pytest

from wangraph.runtime.engine.mailbox import Mailbox


class FakePoller:
    """Waits as told: each entry of ``script`` is called in `wait`, with whatever takes messages in."""

    def __init__(self, *script) -> None:
        self.script, self.rings = [*script], 0

    def wait(self, take) -> None:
        self.script.pop(0)(take)

    def ring(self) -> None:
        self.rings += 1


def first() -> None:
    """A call of a lane."""


def second() -> None:
    """Another one."""


def after_listening(mailbox: Mailbox, poller, arrive) -> None:
    """Listen, and make the call that lets the lane look up."""
    mailbox.listen(poller, arrive)
    assert callable(mailbox.get())


def test_without_an_ear_calls_come_out_in_order_and_the_end_after_them():
    mailbox = Mailbox()
    mailbox.listen(None, lambda messages: pytest.fail("there is nothing to receive"))
    for item in (first, second, None):
        mailbox.put(item)
    assert [mailbox.get() for _ in range(3)] == [first, second, None]


def test_a_lane_that_waits_is_woken_to_listen():
    mailbox, got = Mailbox(), []
    thread = threading.Thread(target=lambda: got.append(mailbox.get()))
    thread.start()
    mailbox.listen(FakePoller(), lambda messages: None)
    thread.join(10)
    assert len(got) == 1 and callable(got[0])


def test_what_is_there_is_done_before_anything_is_received():
    mailbox = Mailbox()
    after_listening(mailbox, FakePoller(), lambda messages: pytest.fail("it waited"))
    mailbox.put(first)
    assert mailbox.get() is first


def test_what_is_put_in_while_it_waits_rings_its_ear():
    mailbox = Mailbox()
    poller = FakePoller(lambda take: mailbox.put(first))
    after_listening(mailbox, poller, lambda messages: None)
    assert mailbox.get() is first
    assert poller.rings == 1


def test_what_a_message_gives_a_lane_to_do_needs_no_bell():
    mailbox, taken = Mailbox(), []

    def arrive(messages) -> None:
        taken.extend(messages)
        if len(taken) == 2:
            mailbox.put(first)

    poller = FakePoller(lambda take: take(["for another lane"]), lambda take: take(["for this one"]))
    after_listening(mailbox, poller, arrive)
    assert mailbox.get() is first
    assert taken == ["for another lane", "for this one"]
    assert poller.rings == 0 and not poller.script


def test_what_is_put_in_between_the_look_and_the_wait_is_not_slept_over(monkeypatch):
    mailbox = Mailbox()
    poller = FakePoller(lambda take: pytest.fail("it slept") if not poller.rings else None)
    after_listening(mailbox, poller, lambda messages: None)
    real = mailbox._items

    class Late:
        """Lets another thread put something in just after it was looked for."""

        def get_nowait(self):
            return real.get_nowait()

        def put(self, item) -> None:
            real.put(item)

        def empty(self) -> bool:
            was_empty = real.empty()
            if was_empty:
                mailbox.put(first)
            return was_empty

    mailbox._items = Late()
    assert mailbox.get() is first
