import base64
import itertools
import json
import random
import re
import runpy
import zlib
from pathlib import Path

import pytest
from click.testing import CliRunner

from wangraph.runtime.errors import UserError
from wangraph.runtime.observe.lateness import is_late
from wangraph.runtime.observe.records import Footer, Header, Note, TraceWriter, Transfer
from wangraph.runtime.packet import Validity
from wangraph.runtime.schedule.events import Firing, Settlement
from wangraph.tools.timeline.columns import LATE_SHIFT, LEVEL_SHIFT, MODES, view_of
from wangraph.tools.timeline.facts import lateness_ns, misses, model_latency_ns, read_run, skew_ns
from wangraph.tools.timeline.html import packed, page_of
from wangraph.tools.timeline.perfetto import chrome_trace
from wangraph.tools.verbs.timeline import command

MADE = runpy.run_path(str(Path(__file__).with_name("timeline_trace.py")))
UNIT_NS, LATENCY_NS = MADE["UNIT_NS"], MADE["LATENCY_NS"]
MS = 1_000_000


def write(path, records):
    writer = TraceWriter(path)
    writer.write(records)
    writer.close()
    return path


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    return write(tmp_path_factory.mktemp("trace") / "run.trace", MADE["trace_of"](150))


@pytest.fixture(scope="module")
def run(trace):
    return read_run(trace)


def run_of(tmp_path, *records, plan=None):
    header = MADE["header"](**({"plan": plan} if plan else {}))
    return read_run(write(tmp_path / "made.trace", [header, *records]))


def firing(node, unit, start_ms, end_ms, **changes):
    base = (unit + 1) * UNIT_NS
    values = {
        "node": node, "first": unit, "last": unit, "mode": "step", "level": 0, "ready_ns": base + start_ms * MS,
        "started_ns": base + start_ms * MS, "finished_ns": base + end_ms * MS, "due_ns": None, "verdict": "real",
    }  # fmt: skip
    return Firing(**(values | changes))


def settled(stream, unit, after_ms, validity=Validity.REAL):
    return Settlement(stream, unit, validity, (unit + 1) * UNIT_NS + after_ms * MS, 100)


def presented(unit, ready_ms, at_ms=240):
    ready = (unit + 1) * UNIT_NS + ready_ms * MS
    return firing("sync", unit, at_ms, at_ms + 1, ready_ns=ready, due_ns=(unit + 1) * UNIT_NS + LATENCY_NS)


def data_of(page):
    data = re.search(r'<script type="text/plain" id="trace">(.*?)</script>', page, re.S)
    assert data is not None
    return json.loads(zlib.decompress(base64.b64decode(data[1])))


def sums(deltas):
    return list(itertools.accumulate(deltas))


# facts


def test_model_latency_is_release_to_the_last_part_of_the_answer(tmp_path):
    made = run_of(
        tmp_path,
        settled("show.frames", 0, 90),
        settled("speak.samples", 0, 120),
        settled("think.text", 0, 40, Validity.EMPTY),
        presented(0, 120),
    )
    assert model_latency_ns(made) == [120 * MS]


def test_a_unit_that_came_too_late_keeps_the_latency_it_had(tmp_path):
    made = run_of(
        tmp_path,
        settled("show.frames", 0, 236, Validity.MISSING),
        settled("speak.samples", 0, 120),
        presented(0, 236),
        firing("show", 0, 290, 300, verdict="late"),
    )
    assert model_latency_ns(made) == [300 * MS]
    assert misses(made) == {0: "sync got no video from show.frames"}


def test_a_unit_that_never_came_has_no_latency(tmp_path):
    given_up = settled("show.frames", 0, 236, Validity.MISSING)
    made = run_of(tmp_path, firing("show", 0, 236, 237, mode="gap"), given_up, presented(0, 236))
    assert model_latency_ns(made) == [None]


def test_an_empty_packet_is_no_miss_and_the_end_is_none_either(tmp_path):
    made = run_of(
        tmp_path,
        presented(0, 40),
        settled("think.text", 0, 40, Validity.EMPTY),
        firing("sync", 1, 240, 240, verdict="end", mode="skip"),
        settled("think.text", 1, 40, Validity.END),
    )
    assert misses(made) == {}
    assert made.n_units == 1


def test_what_a_node_made_up_is_concealed_and_no_miss(tmp_path):
    made = run_of(tmp_path, settled("speak.samples", 0, 120, Validity.CONCEALED), presented(0, 120))
    assert misses(made) == {}
    facts = view_of(made).facts
    assert (facts["real"], facts["misses"], facts["concealed"], facts["p50_ms"]) == (0, 0, 1, None)


def test_weights_are_told_once_each_after_the_parts_that_have_them(run):
    assert view_of(run).facts["weights"] == "model, video_codec: random, seed 0; audio_codec: tiny"


def test_lateness_is_the_worst_node_and_leaves_playout_out(tmp_path):
    due = UNIT_NS + 100 * MS
    made = run_of(
        tmp_path,
        firing("see", 0, 0, 60, due_ns=due),
        firing("hear", 0, 0, 130, due_ns=due, verdict="late"),
        firing("sync", 0, 240, 241, due_ns=UNIT_NS + LATENCY_NS),
    )
    assert lateness_ns(made) == [30 * MS]


def test_a_presentation_that_began_late_is_counted_and_its_lateness_shown(tmp_path):
    deadline = UNIT_NS + LATENCY_NS
    made = run_of(
        tmp_path,
        firing("see", 0, 0, 60, due_ns=UNIT_NS + 100 * MS),
        firing("sync", 0, 320, 321, due_ns=deadline),
        firing("see", 1, 0, 60, due_ns=2 * UNIT_NS + 100 * MS),
        firing("sync", 1, 244, 260, due_ns=deadline + UNIT_NS),
    )
    assert lateness_ns(made) == [80 * MS, -40 * MS]
    assert made.n_late == 1


def test_each_repeated_picture_is_one_unit_of_skew_beside_sound_and_none_beside_silence(tmp_path):
    pictures = [Validity.REAL, Validity.REPEATED, Validity.REPEATED, Validity.REPEATED, Validity.REAL]
    sounds = [Validity.REAL, Validity.REAL, Validity.REAL, Validity.CONCEALED, Validity.REAL]
    played = [settled("sync.video", u, 240, v) for u, v in enumerate(pictures)]
    played += [settled("sync.audio", u, 240, v) for u, v in enumerate(sounds)]
    made = run_of(tmp_path, *(presented(u, 100) for u in range(5)), *played)
    assert skew_ns(made) == [0, UNIT_NS, 2 * UNIT_NS, 0, 0]


def test_without_a_paced_node_the_sinks_are_where_answers_arrive(tmp_path):
    plan = MADE["plan"]()
    for node in plan["nodes"].values():
        node["paced"] = False
    made = run_of(tmp_path, plan=plan)
    assert [row.name for row in view_of(made).rows if row.presents] == ["file"]
    assert skew_ns(made) == []


def test_a_source_called_ahead_is_finished_at_release(tmp_path):
    ahead = firing("user", 0, -300, -290, ready_ns=UNIT_NS, due_ns=UNIT_NS + 100 * MS)
    assert lateness_ns(run_of(tmp_path, ahead)) == [-100 * MS]


def test_percentiles_are_of_units_that_were_presented_real(tmp_path):
    plan = MADE["plan"]()
    plan["nodes"]["sync"]["inputs"] = [{"port": "video", "stream": "show.frames", "delay": 0}]
    real = [settled("show.frames", 0, 100), firing("show", 0, 90, 100), presented(0, 100)]
    lost = [settled("show.frames", 1, 236, Validity.MISSING), firing("show", 1, 290, 300, verdict="late")]
    facts = view_of(run_of(tmp_path, *real, *lost, presented(1, 236), plan=plan)).facts
    assert (facts["real"], facts["misses"], facts["late"], facts["max_ms"]) == (1, 1, 1, 100)


# columns


def test_columns_added_up_again_are_the_firings(run):
    view = view_of(run)
    assert {row.name for row in view.rows} == set(run.plan.nodes)
    for row in view.rows:
        bars, firings = row.bars, run.firings[row.name]
        spans = dict(bars.spans)
        assert sums(bars.unit_delta) == [f.first for f in firings]
        assert [spans.get(i, 1) for i in range(len(firings))] == [f.last - f.first + 1 for f in firings]
        assert [MODES[flag & 3] for flag in bars.flags] == [f.mode for f in firings]
        assert [bool(flag >> LATE_SHIFT & 1) for flag in bars.flags] == [
            is_late(run.plan.nodes[row.name], f) for f in firings
        ]
        assert [flag >> LEVEL_SHIFT for flag in bars.flags] == [f.level for f in firings]
        for start, waited, busy, f in zip(sums(bars.start_delta), bars.waited, bars.busy, firings, strict=True):
            assert abs(start * 1000 - f.started_ns) <= 500
            assert abs((start - waited) * 1000 - f.ready_ns) <= 1000
            assert abs((start + busy) * 1000 - f.finished_ns) <= 1000


def test_what_a_flight_recorder_kept_begins_where_it_begins(tmp_path):
    made = run_of(tmp_path, *(firing("see", unit, 0, 5, due_ns=(unit + 2) * UNIT_NS) for unit in (100, 101, 102)))
    view = view_of(made)
    assert (view.first, view.units) == (100, 103)
    assert [(curve.first, len(curve.values)) for curve in view.curves] == [(100, 3)] * len(view.curves)
    assert view.curves[1].values == [5_000 - 160_000] * 3


def test_only_dues_that_differ_from_the_plan_are_kept(tmp_path):
    planned = firing("see", 0, 0, 5, due_ns=UNIT_NS + 120 * MS)
    moved = firing("see", 1, 0, 5, due_ns=2 * UNIT_NS + 90 * MS)
    without = firing("see", 2, 0, 5)
    view = view_of(run_of(tmp_path, planned, moved, without))
    row = next(row for row in view.rows if row.name == "see")
    assert row.bars.dues == [(1, 2 * UNIT_NS // 1000 + 90_000), (2, None)]


def test_rows_of_one_process_and_lane_stand_together(run):
    places = [(row.process, row.lane) for row in view_of(run).rows]
    assert len([place for place, _ in itertools.groupby(places)]) == len(set(places))


def test_inputs_name_the_row_that_makes_them(run):
    rows = view_of(run).rows
    for row in rows:
        for _, source, _, stream, _ in row.inputs:
            assert rows[source].name == stream.split(".")[0]


def test_outcomes_that_do_not_follow_from_bodies_and_packets_are_kept(run):
    view = view_of(run)
    for column in view.settled:
        odd = dict(zip(sums(column.unit_delta), zip(column.after, column.validity, strict=True), strict=True))
        source = run.plan.streams[column.stream].node
        for unit, outcome in run.settled[column.stream].items():
            if unit in odd:
                after, validity = odd[unit]
                assert validity == outcome.validity
                assert abs(run.release_ns(unit) + after * 1000 - outcome.at_ns) <= 500
            else:
                assert outcome.validity in (Validity.REAL, Validity.EMPTY)
                arrived = run.arrived.get((column.stream, column.settler), {}).get(unit)
                assert abs((arrived or run.bodies[source][unit].finished_ns) - outcome.at_ns) <= 1000


def test_a_bar_costs_less_than_10_bytes_of_the_page(run):
    n_bars = sum(map(len, run.firings.values())) + len(run.transfers)
    assert len(packed([view_of(run)], None)) < 10 * n_bars


# page


def test_the_page_asks_nothing_of_the_network(run):
    page = page_of(view_of(run))
    assert re.findall(r"""(?:src|href)\s*=|@import|url\(|https?://|fetch\(|\{\{""", page) == []


def test_text_of_a_trace_cannot_become_markup(tmp_path):
    plan = MADE["plan"]({"name": "</script><script>alert(1)</script>"})
    evil = Note(0, "main", "stall", "<!-- </script> \u2028 &")
    page = page_of(view_of(run_of(tmp_path, evil, plan=plan)))
    assert page.count("<script") == page.count("</script>") == 2
    decoded = data_of(page)["runs"][0]
    assert decoded["graph"] == plan["name"]
    assert decoded["notes"][0][3] == evil.text


# Perfetto


@pytest.fixture(scope="module")
def events(run):
    return json.loads(chrome_trace(run))["traceEvents"]


def of(events, phase):
    return [event for event in events if event["ph"] == phase]


def test_no_process_or_thread_is_number_zero_and_all_have_names(events):
    named = {(e["pid"], e["tid"]) for e in of(events, "M") if e["name"] == "thread_name"}
    used = {(e["pid"], e["tid"]) for e in events if e["ph"] != "M"}
    assert used <= named
    assert all(pid > 0 and tid > 0 and pid != tid for pid, tid in used | named)


def test_bars_of_a_thread_follow_each_other(events):
    threads = {}
    for bar in of(events, "X"):
        threads.setdefault((bar["pid"], bar["tid"]), []).append((bar["ts"], bar["ts"] + bar["dur"]))
    for bars in threads.values():
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(sorted(bars)))


def test_every_firing_is_a_bar(run, events):
    assert len([e for e in of(events, "X") if e["cat"] == "computing"]) == sum(map(len, run.firings.values()))


def test_arrows_leave_inside_a_bar_and_arrive_where_one_starts(events):
    bars = {}
    for bar in of(events, "X"):
        bars.setdefault((bar["pid"], bar["tid"]), []).append((bar["ts"], bar["ts"] + bar["dur"]))
    starts, ends = ({e["id"]: e for e in of(events, phase)} for phase in "sf")
    assert starts.keys() == ends.keys()
    assert starts
    for number, start in starts.items():
        end = ends[number]
        assert start["ts"] <= end["ts"]
        assert any(a <= start["ts"] <= b for a, b in bars[start["pid"], start["tid"]])
        assert any(a == end["ts"] for a, _ in bars[end["pid"], end["tid"]])


def test_misses_are_instants_of_the_whole_trace(run, events):
    marks = [e["args"]["unit"] for e in of(events, "i") if e["name"].startswith("miss ")]
    assert marks == list(misses(run))
    assert marks


def test_latency_is_a_counter(run, events):
    values = [e["args"]["ms"] for e in of(events, "C") if e["name"] == "model latency"]
    assert values == [v / 1e6 for v in model_latency_ns(run) if v is not None]


def test_times_before_the_origin_become_positive(tmp_path):
    early = firing("user", 0, -400, -390)
    events = json.loads(chrome_trace(run_of(tmp_path, early)))["traceEvents"]
    assert min(e["ts"] for e in events if "ts" in e) == 0


def test_every_sent_packet_is_a_bar_of_its_stream(run, events):
    sent = [e for e in of(events, "X") if e["cat"] == "sending"]
    assert sorted(e["args"]["unit"] for e in sent) == sorted(t.unit for t in run.transfers)
    assert len({e["tid"] for e in sent}) == len({(t.stream, t.reader) for t in run.transfers})


# traces that are cut, foreign or odd


def test_a_cut_trace_is_shown_as_far_as_it_goes(trace, tmp_path):
    cut = tmp_path / "cut.trace"
    cut.write_bytes(trace.read_bytes()[:-5000])
    made = read_run(cut)
    assert not made.is_whole
    assert 100 < made.n_units <= 150
    assert view_of(made).facts["is_whole"] is False


@pytest.mark.parametrize("seed", range(12))
def test_wherever_a_trace_is_cut_the_whole_lines_before_are_read(tmp_path, seed):
    path = write(tmp_path / "whole.trace", MADE["trace_of"](6, accidents=False))
    text = path.read_bytes()
    header_end = text.index(b"\n")
    cut = random.Random(seed).randrange(header_end + 1, len(text) - 1)
    path.write_bytes(text[:cut])
    made = read_run(path)
    n_records = sum(map(len, made.firings.values())) + sum(map(len, made.settled.values())) + len(made.transfers)
    assert n_records == text[:cut].count(b"\n") - 1
    assert not made.is_whole
    assert page_of(view_of(made))
    assert json.loads(chrome_trace(made))["traceEvents"]


def test_a_run_that_never_fired_still_makes_a_page_and_a_trace(tmp_path):
    made = run_of(tmp_path, Footer({}))
    assert view_of(made).units == 0
    assert "<canvas" in page_of(view_of(made))
    assert json.loads(chrome_trace(made))["traceEvents"]


def test_a_transfer_of_an_unknown_stream_is_left_out(tmp_path):
    made = run_of(tmp_path, Transfer("ghost.out", 0, "main", "performer", 0, 1, 10, "shared"))
    assert view_of(made).sends == []


def test_the_end_of_a_stream_is_not_drawn_as_a_packet(tmp_path):
    packets = [Transfer("think.context", unit, "main", "performer", 0, 1, 10, "shared") for unit in (0, 1)]
    made = run_of(tmp_path, firing("think", 0, 0, 10), *packets)
    assert [send.unit_delta for send in view_of(made).sends] == [[0]]


def test_a_firing_of_a_node_that_the_plan_lacks_is_named(tmp_path):
    path = write(tmp_path / "odd.trace", [MADE["header"](), firing("ghost", 0, 0, 1)])
    message = (
        f"{path}: found a firing of 'ghost' (the plan has: file, hear, perform, see, show, side, speak, sync, think, "
        "user), record it again"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        read_run(path)


def test_an_empty_file_is_no_trace(tmp_path):
    path = tmp_path / "empty.trace"
    path.touch()
    message = f"{path}: found an empty file (expected a trace), make one with: wangraph run GRAPH --trace FILE"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        read_run(path)


def test_a_plan_without_a_clock_is_told(tmp_path):
    plan = MADE["plan"]()
    del plan["clock"]
    path = write(tmp_path / "odd.trace", [MADE["header"](plan=plan)])
    message = (
        f"{path}:1: plan: Object missing required field `clock` "
        "(expected the plan of this version of wangraph), make it again"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        read_run(path)


def test_a_header_that_was_cut_is_told_from_a_foreign_file(trace, tmp_path):
    path = tmp_path / "cut.trace"
    path.write_bytes(trace.read_bytes()[:300])
    message = (
        f"{path}: found a header that is cut (expected a whole first line): the file is not complete, "
        "copy it or record it again"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        read_run(path)


def test_a_rate_that_is_no_number_is_told(tmp_path):
    plan = MADE["plan"]()
    plan["clock"]["fps"] = "1/0"
    path = write(tmp_path / "odd.trace", [MADE["header"](plan=plan)])
    message = (
        f"{path}:1: plan: found '1/0' (expected a fraction) - at `$.clock.fps` "
        "(expected the plan of this version of wangraph), make it again"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        read_run(path)


def test_a_unit_number_that_cannot_be_is_told(tmp_path):
    far = firing("see", 0, 0, 5, first=10**9, last=10**9)
    path = write(tmp_path / "odd.trace", [MADE["header"](), far])
    message = (
        f"{path}: found units 1000000000 to 1000000000 of 'see' at 0.165 s (expected units of that time): "
        "the file is damaged, record it again"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        read_run(path)


@pytest.mark.parametrize("n", [0, 3])
def test_one_trace_or_two_are_asked_for(trace, n):
    assert str(invoke(*[trace] * n).exception) == (
        f"timeline: found {n} traces (expected one, or two to compare), make one with: wangraph run GRAPH --trace FILE"
    )


def test_two_runs_make_one_page_named_after_both(trace, tmp_path):
    paths = [tmp_path / "before.trace", tmp_path / "after.trace"]
    for path in paths:
        path.write_bytes(trace.read_bytes())
    assert invoke(*paths).output == f"{tmp_path / 'before-after.html'}\n"
    runs = data_of((tmp_path / "before-after.html").read_text("utf-8"))["runs"]
    assert [run["name"] for run in runs] == ["before.trace", "after.trace"]


def test_runs_of_different_units_cannot_be_compared(trace, tmp_path):
    plan = MADE["plan"]()
    plan["clock"]["unit_frames"] = 2
    other = write(tmp_path / "short.trace", [MADE["header"](plan=plan)])
    assert str(invoke(trace, other).exception) == (
        f"{other}: found units of 80 ms (expected 160 ms, as in {trace}), "
        "compare runs of one clock, or make a page of each"
    )


def test_two_runs_in_one_file_are_refused(tmp_path):
    path = write(tmp_path / "two.trace", [MADE["header"](), MADE["header"]()])
    message = f"{path}: found a second header (expected one run), split the file"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        read_run(path)


def test_a_file_of_another_kind_is_no_trace(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 not json\n")
    with pytest.raises(UserError, match="expected a trace"):
        read_run(path)


# command


def invoke(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments], standalone_mode=False)


def test_the_page_lies_beside_the_trace(trace, tmp_path):
    copy = tmp_path / "talk.trace"
    copy.write_bytes(trace.read_bytes())
    result = invoke(copy)
    assert result.exception is None
    assert result.output == f"{tmp_path / 'talk.html'}\n"
    assert (tmp_path / "talk.html").read_text("utf-8").startswith("<!doctype html>")


def test_perfetto_json_is_written_where_it_is_told(trace, tmp_path):
    target = tmp_path / "out.json"
    assert invoke(trace, "--format", "perfetto", "-o", target).exception is None
    assert json.loads(target.read_text())["traceEvents"]


def test_the_trace_is_never_written_over(trace):
    result = invoke(trace, "-o", trace)
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == f"{trace}: found the trace itself (expected another file to write), give -o FILE"
    assert isinstance(next(iter(read_run(trace).header.plan)), str)


def test_a_folder_that_is_not_there_is_the_users_mistake(trace, tmp_path):
    target = tmp_path / "nowhere" / "page.html"
    result = invoke(trace, "-o", target)
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == (
        f"{target}: No such file or directory (expected a file to write), give another with -o"
    )


def test_perfetto_json_does_not_open_by_itself(trace):
    result = invoke(trace, "--format", "perfetto", "--open")
    assert str(result.exception) == (
        "--open: found --format perfetto (expected html), open the file at https://ui.perfetto.dev"
    )


def test_the_header_of_a_trace_may_hold_more_than_is_known(tmp_path):
    plan = MADE["plan"]({"colour": "blue"})
    plan["nodes"]["think"]["mood"] = "calm"
    assert isinstance(run_of(tmp_path, plan=plan).header, Header)
