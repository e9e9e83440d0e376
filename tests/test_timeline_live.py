"""Following a run that goes on: what its followers get is what its trace holds."""

from __future__ import annotations

import http.client
import json
import re
import runpy
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import engine_toys as toys
import msgspec
import pytest
from click.testing import CliRunner

from wangraph import Graph
from wangraph.runtime.engine.options import Options
from wangraph.runtime.engine.run import Run
from wangraph.runtime.errors import UserError
from wangraph.runtime.observe import loopback
from wangraph.runtime.observe.follow import newest
from wangraph.runtime.observe.records import Footer, Header, Note, read_trace
from wangraph.runtime.observe.run_file import running
from wangraph.runtime.observe.statistics import Statistics
from wangraph.runtime.observe.status import StatusClient
from wangraph.runtime.plan.plan import from_plain
from wangraph.tools.timeline import following, serve
from wangraph.tools.timeline.columns import view_of
from wangraph.tools.timeline.facts import Run as Facts
from wangraph.tools.timeline.facts import misses
from wangraph.tools.timeline.serve import Feed, PageServer
from wangraph.tools.timeline.story import story
from wangraph.tools.verbs.timeline import command

MADE = runpy.run_path(str(Path(__file__).with_name("timeline_trace.py")))
RECORDS = MADE["trace_of"](60)[1:-1]


@pytest.fixture(autouse=True)
def own_runs(tmp_path, monkeypatch):
    """Run files of this test alone, and no waiting between questions."""
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setattr(following, "EVERY_S", 0.0)


def told(statistics, since, **more):
    return newest(statistics, MADE["header"](), since, **more)


def fed(records=RECORDS, pieces=7):
    """A feed that got these records in pieces, as a follower does."""
    header = MADE["header"]()
    statistics, feed, since = Statistics(from_plain(header.plan)), Feed(header, "made-1"), 0
    for k in range(pieces):
        statistics.add(records[len(records) * k // pieces : len(records) * (k + 1) // pieces])
        feed.take(news := told(statistics, since, has_ended=k == pieces - 1))
        since = news.n_records
    return feed


def whole(records=RECORDS):
    run = Facts(MADE["header"](), from_plain(MADE["plan"]()))
    run.add(records)
    run.sort()
    return run


# What a run tells


def test_who_asks_again_and_again_gets_every_record_once():
    statistics, got, since = Statistics(from_plain(MADE["plan"]())), [], 0
    for k in range(0, len(RECORDS), 97):
        statistics.add(RECORDS[k : k + 97])
        news = told(statistics, since)
        got += news.records
        since = news.n_records
    assert got == RECORDS
    assert told(statistics, since).records == []


def test_records_that_are_kept_no_more_are_counted():
    statistics = Statistics(from_plain(MADE["plan"]()))
    notes = [Note(k, "main", "warning", str(k)) for k in range(statistics.recent.maxlen + 500)]
    statistics.add(notes)
    late, new = told(statistics, 200), told(statistics, 600)
    assert (late.n_skipped, late.records[0].text, len(late.records)) == (300, "500", statistics.recent.maxlen)
    assert (new.n_skipped, new.records[0].text) == (0, "600")


def straight(out):
    graph = Graph("straight", latency_ms=600)
    numbers = graph.add("numbers", toys.Numbers)
    play = graph.add("play", toys.Play, inputs={"video": numbers["video"]})
    graph.add("digest", toys.Digest, inputs={"video": play["shown"]}, path=str(out))
    return graph.plan()


class Beside:
    """Does something in a thread once a run goes on, and ends the run when that is ``ready``."""

    def __init__(self, run, act):
        self.run, self.act, self.ready = run, act, threading.Event()
        self.pool, self.future = ThreadPoolExecutor(1), None

    def poll(self, statistics, usage):
        if self.future is None and statistics.units_presented >= 2:
            self.future = self.pool.submit(self.act)
        if self.ready.is_set() and not self.run.is_stopped and statistics.units_presented >= 6:
            self.run.stop()


def beside(plan, act, **options):
    """Run until ``act``, which gets the event to set, is ready; what it gives."""
    run = Run(plan, Options(**options))
    watcher = run.collector.watcher = Beside(run, lambda: act(watcher.ready))
    run.start().wait()
    return watcher.future.result()


@pytest.mark.parametrize("serial", [True, False])
def test_a_follower_gets_what_the_trace_holds(tmp_path, serial):
    def follow(ready):
        client, got, since, header = StatusClient(running()[0]), [], 0, None
        try:
            while (news := client.records(since)) is not None:
                ready.set()
                assert news.n_skipped == 0
                got, since, header = got + news.records, news.n_records, news.header
                if news.has_ended:
                    break
        finally:
            client.close()
        return header, got

    header, got = beside(straight(tmp_path / "out"), follow, serial=serial, trace=tmp_path / "run.trace")
    kept = [r for r in read_trace(tmp_path / "run.trace") if not isinstance(r, Header | Footer)]
    assert got == kept
    assert header.plan == next(read_trace(tmp_path / "run.trace")).plan


# What a feed makes of it


@pytest.mark.parametrize("pieces", [1, 7, 60])
def test_a_page_made_of_pieces_is_the_page_of_the_whole(pieces):
    run = whole()
    expected = view_of(run, name="made-1", blamed=story(run, misses(run)))
    made = fed(pieces=pieces)
    blamed = [b for unit in sorted(made._blamed) for b in made._blamed[unit]]
    found = view_of(made._run, name="made-1", blamed=blamed)
    assert {b.unit for b in blamed} == set(misses(run))
    assert msgspec.structs.replace(found, blamed=[]) == msgspec.structs.replace(expected, blamed=[])


def test_what_the_run_was_too_fast_to_tell_is_noted():
    header, plan = MADE["header"](), from_plain(MADE["plan"]())
    statistics, feed = Statistics(plan), Feed(header, "made-1")
    statistics.add(RECORDS[:50])
    feed.take(told(statistics, 0))
    statistics.add(RECORDS[50:] * 5)
    feed.take(news := told(statistics, 50))
    assert news.n_skipped > 0
    said = [note.text for note in feed._run.notes if note.process == "timeline"]
    assert said == [f"{news.n_skipped} records were not told: the run was faster than its timeline"]


def events(feed, after):
    """Kinds of events, until the end."""
    return [re.search(rb"event: (\w+)", event)[1].decode() for event in feed.events(after)]


def test_a_page_gets_the_steps_it_lacks_and_the_end():
    feed = fed(pieces=5)
    assert events(feed, 0) == ["step"] * 5 + ["end"]
    assert events(feed, 3) == ["step"] * 2 + ["end"]
    assert events(feed, 5) == ["end"]


def test_a_page_that_fell_behind_or_is_of_another_run_loads_again(monkeypatch):
    assert events(fed(pieces=5), 9) == ["again"]
    monkeypatch.setattr(serve, "STEPS", 3)
    assert events(fed(pieces=5), 1) == ["again"]
    assert events(fed(pieces=5), 2) == ["step"] * 3 + ["end"]


def test_what_is_kept_is_bounded_and_pages_load_again(monkeypatch):
    monkeypatch.setattr(serve, "KEPT_RECORDS", 800)
    feed = fed(pieces=40)
    assert len(feed._run.records) <= 800
    assert feed._run.first_unit > 0
    assert feed.n_units == 60
    assert events(feed, 1) == ["again"]
    assert all(unit >= feed._run.first_unit for unit in feed._blamed)


# The server


@contextmanager
def served(feed):
    server = PageServer(feed)
    try:
        yield urlsplit(server.url)
    finally:
        server.close(grace_s=0)


def get(where, path, host=None, cookie=None):
    """An answer's status and body; with the token unless it goes by a cookie."""
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
    headers = {**({"Host": host} if host else {}), **({"Cookie": cookie} if cookie is not None else {})}
    asked = path if cookie is not None else f"{path}{'&' if '?' in path else '?'}{where.query}"
    connection.request("GET", asked, headers=headers)
    answer = connection.getresponse()
    get.cookie = (answer.headers.get("Set-Cookie") or "").partition(";")[0]
    return answer.status, answer.read()


def test_the_server_gives_the_page_and_its_steps_on_the_loopback_interface():
    with served(fed()) as where:
        assert where.hostname == "127.0.0.1"
        status, page = get(where, "/")
        assert (status, page[:15]) == (200, b"<!doctype html>")
        status, steps = get(where, "/steps?after=5")
        assert (status, steps.count(b"event: step"), steps.count(b"event: end")) == (200, 2, 1)
        assert get(where, "/etc/passwd")[0] == 404


def test_a_page_of_another_host_cannot_read_the_run():
    with served(fed()) as where:
        assert get(where, "/", host="evil.example")[0] == 403
        assert get(where, "/", host=f"localhost:{where.port}")[0] == 200


def test_who_does_not_know_the_address_reads_nothing():
    with served(fed()) as where:
        for cookie in ("", f"wangraph-{where.port}=guessed", "other=1"):
            assert [get(where, path, cookie=cookie)[0] for path in ("/", "/steps?after=5", "/x")] == [403, 403, 403]
        assert get(where, "/")[0] == 200
        assert get(where, "/steps?after=5", cookie=f"a=1; {get.cookie}")[0] == 200, "the page's own request"


@pytest.mark.parametrize("after", ["%C2%B2", "9" * 40, "-1", "x"])
def test_a_number_that_is_none_begins_at_the_beginning(after):
    with served(fed()) as where:
        status, steps = get(where, f"/steps?after={after}")
        assert status == 200 and b"event: " in steps


def test_connections_are_bounded(monkeypatch):
    monkeypatch.setattr(loopback, "MAX_CONNECTIONS", 2)
    with served(fed()) as where:
        silent = [socket.create_connection((where.hostname, where.port)) for _ in range(2)]
        silent[0].sendall(b"GET /x HTTP/1.1\r\n")
        try:
            with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
                get(where, "/")
        finally:
            for line in silent:
                line.close()


def test_a_port_that_is_taken_is_the_users_mistake():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = f"--port: {port}: Address already in use (expected a free port), name another one"
        with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
            PageServer(fed(), port)


# The command


def invoke(*words):
    return CliRunner().invoke(command, [str(w) for w in words], standalone_mode=False)


def test_the_command_follows_a_run_to_its_end_and_keeps_the_page(tmp_path, monkeypatch):
    class Told(PageServer):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            waiting.append(self)
            ready[0].set()

    waiting, ready = [], []
    monkeypatch.setattr(following, "PageServer", Told)

    def follow(event):
        ready.append(event)
        return invoke("--live", "straight", "-o", tmp_path / "live.html")

    result = beside(straight(tmp_path / "out"), follow, serial=True)
    assert result.exception is None
    first, last, page = result.output.splitlines()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{24}  follows straight-\d+; Ctrl-C ends it", first)
    assert re.fullmatch(r"the run has ended, (\d+) units", last)
    assert page == str(tmp_path / "live.html")
    text = (tmp_path / "live.html").read_text()
    assert "EventSource" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--live"], "timeline: no run found (expected one that goes on), start one with: wangraph run GRAPH"),
        (["--live", "gone"], "timeline: no run 'gone' (running: none)"),
        (["--live", "a", "b"], "--live: found 2 runs (expected one at most), name one: see wangraph top"),
        (
            ["--live", "--format", "perfetto"],
            "--live: found --format perfetto (expected html), run with --trace and make it afterwards",
        ),
        (
            ["a.trace", "--port", "80"],
            "--port: found no --live (expected both: a page in a file needs no port), leave it out",
        ),
    ],
)
def test_what_cannot_be_followed_is_said(words, message):
    assert str(invoke(*words).exception) == message


def test_the_steps_of_a_feed_are_json_that_a_page_can_read():
    first = next(fed(pieces=3).events(0))
    view = json.loads(first.partition(b"data: ")[2])
    assert {row["name"] for row in view["rows"]} == set(MADE["NODES"])
