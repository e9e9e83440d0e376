"""Who may come to a served graph, and in which order."""

from __future__ import annotations

import asyncio

import pytest

from wangraph.runtime.observe.loopback import new_token
from wangraph.tools.serve.access import Access, Allowance
from wangraph.tools.serve.admission import Admission, Full

HERE = "127.0.0.1"


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:9", "[::1]:8080", "127.0.0.1"])
def test_a_server_of_this_machine_answers_to_its_own_names(host):
    assert Access("t", HERE).refusal({"Host": host, "Origin": f"http://{host}"}) == ""


def test_a_name_that_only_leads_to_this_machine_is_refused():
    assert Access("t", HERE).refusal({"Host": "evil.example:8080"}) == (
        "Host: found 'evil.example:8080' (expected this machine's own name: localhost or 127.0.0.1)"
    )


def test_a_page_of_another_site_is_refused_wherever_the_server_listens():
    for host in (HERE, "0.0.0.0"):
        refusal = Access("t", host).refusal({"Host": "localhost:8080", "Origin": "https://evil.example"})
        assert refusal == "Origin: found 'https://evil.example' (expected the page of this server, localhost:8080)"


def test_a_server_for_a_network_answers_to_any_name_that_its_own_page_has():
    assert Access("t", "0.0.0.0").refusal({"Host": "talk.example", "Origin": "https://talk.example"}) == ""


def test_the_token_is_found_wherever_a_client_puts_it():
    access = Access("secret", HERE)
    for headers, query in [
        ({"X-Wangraph-Token": "secret"}, {}),
        ({"Authorization": "Bearer secret"}, {}),
        ({}, {"token": "secret"}),
    ]:
        assert access.knows(access.token_of(headers, query))
    assert not access.knows(access.token_of({}, {}))
    assert not access.knows("secreté")
    assert len({new_token() for _ in range(50)}) == 50


def test_an_allowance_admits_its_rate_and_a_burst():
    allowance = Allowance(per_s=10, burst=5)
    assert [allowance.spend(1, 100.0) for _ in range(6)] == [True] * 5 + [False]
    assert allowance.spend(1, 100.11)
    assert not allowance.spend(1, 100.12)
    assert sum(allowance.spend(1, 200 + i / 100) for i in range(1000)) == pytest.approx(5 + 100, abs=1)


# Places


class Waiter:
    """Somebody at the door: the places that they were told, and whether they are in."""

    def __init__(self, admission: Admission) -> None:
        self.places: list[tuple[int, int]] = []
        self.task = asyncio.ensure_future(admission.enter(lambda place, of: self.places.append((place, of))))

    @property
    def is_in(self) -> bool:
        return self.task.done() and not self.task.cancelled()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_visitors_are_let_in_in_the_order_in_which_they_came():
    async def story() -> None:
        admission = Admission(1)
        first, second, third = (Waiter(admission) for _ in range(3))
        await settle()
        assert (first.is_in, second.is_in, third.is_in) == (True, False, False)
        assert (second.places, third.places) == ([(1, 1), (1, 2)], [(2, 2)])
        admission.leave()
        await settle()
        assert second.is_in and not third.is_in
        assert third.places[-1] == (1, 1)
        assert (admission.taken, admission.waiting) == (1, 1)
        admission.leave()
        await settle()
        admission.leave()
        assert third.is_in and (admission.taken, admission.waiting) == (0, 0)

    asyncio.run(story())


def test_whoever_goes_away_while_waiting_makes_room_and_takes_no_place():
    async def story() -> None:
        admission = Admission(1)
        first, second, third = (Waiter(admission) for _ in range(3))
        await settle()
        second.task.cancel()
        await settle()
        assert third.places[-1] == (1, 1)
        admission.leave()
        third.task.cancel()  # at the moment when the place is theirs
        await settle()
        fourth = Waiter(admission)
        await settle()
        assert first.is_in and fourth.is_in and admission.taken == 1

    asyncio.run(story())


def test_a_queue_has_an_end():
    async def story() -> None:
        admission = Admission(1, max_waiting=1)
        waiters = [Waiter(admission) for _ in range(3)]
        await settle()
        assert isinstance(waiters[2].task.exception(), Full)
        waiters[1].task.cancel()
        await settle()

    asyncio.run(story())
