"""The alarm that a process's timer sleeps on."""

from __future__ import annotations

import threading

from wangraph.runtime.engine.alarm import Alarm

LONG_S = 60.0


def test_a_ring_before_the_sleep_is_not_lost_and_counts_once():
    alarm = Alarm()
    alarm.ring()
    alarm.ring()
    alarm.sleep(LONG_S)
    assert alarm._rings.locked(), "a second ring would end the next sleep, too"
    alarm.sleep(0)


def test_a_ring_from_another_thread_ends_a_sleep():
    alarm, woken = Alarm(), threading.Event()
    sleeper = threading.Thread(target=lambda: (alarm.sleep(None), woken.set()), daemon=True)
    sleeper.start()
    alarm.ring()
    assert woken.wait(LONG_S)
    sleeper.join()


def test_many_may_ring_at_a_time():
    alarm, failed = Alarm(), []

    def ring():
        try:
            for _ in range(2000):
                alarm.ring()
        except RuntimeError as error:
            failed.append(error)

    ringers = [threading.Thread(target=ring) for _ in range(3)]
    for ringer in ringers:
        ringer.start()
    while any(ringer.is_alive() for ringer in ringers):
        alarm.sleep(0)
    assert not failed


def test_a_negative_time_is_no_sleep():
    Alarm().sleep(-1.0)
