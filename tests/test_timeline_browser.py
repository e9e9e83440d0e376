import re

import pytest
from observe_toys import recorded
from schedule_toys import Sink, Source, Stateless
from timeline_pages import (  # noqa: F401
    MADE,
    SETTLE,
    address,
    browser_fixture,
    ink,
    opened_fixture,
    place,
    selected,
    shown_fixture,
    simulated,
    window,
    write,
)

from wangraph import Graph
from wangraph.runtime.observe.explain import path as explained
from wangraph.runtime.observe.history import History
from wangraph.runtime.observe.lateness import is_late
from wangraph.runtime.observe.records import Footer
from wangraph.runtime.packet import Validity
from wangraph.runtime.plan.plan import to_plain
from wangraph.tools.timeline.facts import misses

pytestmark = pytest.mark.browser


def test_the_page_draws_every_part_and_asks_nothing_of_the_network(opened):
    page = opened()
    for canvas in ("overview", "ruler", "lanes", "curves"):
        assert ink(page, canvas) > 10
    assert page.title() == "duplex · wangraph timeline"


def test_decoded_columns_are_the_firings(opened, shown):
    page = opened()
    rows = page.evaluate(
        "timeline.run.rows.map(({ name, bars }) => [name, ...[bars.last, bars.end, bars.due].map((c) => [...c])])"
    )
    for name, last, end, due in rows:
        firings = shown[1].firings[name]
        assert last == [f.last for f in firings]
        assert all(abs(e * 1000 - f.finished_ns) <= 1000 for e, f in zip(end, firings, strict=True))
        paired = zip(due, firings, strict=True)
        assert all(f.due_ns is None if d != d else abs(d * 1000 - f.due_ns) <= 1000 for d, f in paired)


def test_the_header_counts_misses(opened, shown):
    page = opened()
    assert page.locator("#numbers .bad dd").inner_text() == str(len(misses(shown[1])))


def test_a_click_on_a_bar_follows_its_unit_and_another_beside_it_lets_go(opened):
    page = opened()
    unit = round(sum(window(page)) / 2 / 160_000) - 2
    page.mouse.click(*place(page, "think", unit))
    page.evaluate(SETTLE)
    assert selected(page) == unit
    assert page.locator("#panel h2").inner_text() == f"Unit {unit}"
    assert page.locator("#panel table.nodes tbody tr").count() == 10
    assert address(page).endswith(f"#unit={unit}")
    x, y = place(page, "side", unit)
    page.mouse.click(x + 60, y)
    page.evaluate(SETTLE)
    assert selected(page) is None
    assert page.locator("#panel").is_hidden()


def test_the_panel_tells_ready_start_finish_due_and_slack(opened, shown):
    page = opened(address="#unit=3")
    firing = next(f for f in shown[1].firings["perform"] if f.last == 3)
    release = 4 * MADE["UNIT_NS"]
    times = [firing.ready_ns, firing.started_ns, firing.finished_ns, firing.due_ns]
    expected = [(t - release) / 1e6 for t in times] + [(firing.due_ns - firing.finished_ns) / 1e6]
    row = page.locator("#panel .nodes tbody tr", has_text="perform").first
    found = [float(text) for text in row.locator("td").all_inner_texts()[1:]]
    assert found == pytest.approx(expected, abs=0.06)


def test_keys_walk_through_the_misses(opened, shown):
    page = opened()
    lost = list(misses(shown[1]))
    page.keyboard.press("Home")
    page.evaluate("timeline.select(0)")
    seen = []
    for _ in lost:
        page.keyboard.press("n")
        seen.append(selected(page))
    assert seen == lost
    page.keyboard.press("p")
    assert selected(page) == lost[-2]
    page.keyboard.press("]")
    assert selected(page) == lost[-2] + 1
    page.keyboard.press("Escape")
    assert selected(page) is None


def test_plus_and_minus_zoom_arrows_pan_and_home_shows_everything(opened):
    page = opened()
    start, end = window(page)
    page.keyboard.press("+")
    assert window(page)[1] - window(page)[0] == pytest.approx((end - start) / 1.6)
    page.keyboard.press("-")
    assert window(page) == pytest.approx([start, end])
    page.keyboard.press("ArrowRight")
    assert window(page) == pytest.approx([start + (end - start) * 0.2, end + (end - start) * 0.2])
    page.keyboard.press("Home")
    whole = window(page)
    assert whole[0] <= page.evaluate("timeline.run.begin")
    assert whole[1] >= page.evaluate("timeline.run.end")


def test_the_wheel_zooms_around_the_pointer(opened):
    page = opened()
    x, y = place(page, "think", 30)
    before = window(page)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)
    page.wait_for_function("(length) => timeline.view.to - timeline.view.from < length", arg=before[1] - before[0])
    assert place(page, "think", 30)[0] == pytest.approx(x, abs=2)


def test_dragging_pans_and_selects_nothing(opened):
    page = opened()
    start, end = window(page)
    box = page.locator("#lanes").bounding_box()
    x, y = box["x"] + 800, box["y"] + 200
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 200, y, steps=4)
    page.mouse.up()
    assert window(page)[0] > start
    assert window(page)[1] - window(page)[0] == pytest.approx(end - start)
    assert selected(page) is None


def test_the_window_in_the_overview_can_be_dragged(opened):
    page = opened()
    box = page.locator("#overview").bounding_box()
    page.mouse.move(box["x"] + 1000, box["y"] + 20)
    page.mouse.down()
    there = window(page)
    page.mouse.move(box["x"] + 1100, box["y"] + 20, steps=4)
    page.mouse.up()
    assert window(page)[0] > there[0]
    assert window(page)[1] - window(page)[0] == pytest.approx(there[1] - there[0])


def test_a_unit_can_be_jumped_to_by_number(opened):
    page = opened()
    page.keyboard.press("g")
    page.keyboard.type("140")
    page.keyboard.press("Enter")
    page.evaluate(SETTLE)
    assert selected(page) == 140
    start, end = window(page)
    assert start < 141 * 160_000 < end


def test_hovering_tells_of_a_bar(opened):
    page = opened()
    unit = round(sum(window(page)) / 2 / 160_000) - 2
    page.mouse.move(*place(page, "perform", unit))
    page.wait_for_selector("#tip:not([hidden])")
    text = page.locator("#tip").inner_text()
    assert f"perform · unit {unit}" in text
    assert "waited" in text
    assert "slack" in text


def test_the_question_mark_shows_the_keys_and_escape_hides_them(opened):
    page = opened()
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    assert "next, previous miss" in page.locator("#help").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()


def test_dark_and_light_follow_the_system(opened):
    grounds = [
        opened(color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    ]
    assert grounds[0] != grounds[1]


def test_a_phone_shows_it_all_without_scrolling_sideways_and_a_tap_selects(opened):
    page = opened(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    unit = round(sum(window(page)) / 2 / 160_000) - 1
    page.touchscreen.tap(*place(page, "user", unit))
    page.evaluate(SETTLE)
    assert selected(page) is not None
    assert page.locator("#panel").is_visible()


def test_an_hour_of_a_tenth_keeps_every_bar_and_draws_from_afar(opened, tmp_path):
    path, run = write(tmp_path, MADE["trace_of"](2200))
    page = opened(path)
    bars = page.evaluate("timeline.run.rows.reduce((sum, row) => sum + row.bars.n, 0)")
    assert bars == sum(map(len, run.firings.values())) > 20_000
    page.keyboard.press("Home")
    page.evaluate(SETTLE)
    assert ink(page, "lanes") > 10
    x, y = page.evaluate("[timeline.view.width / 2, timeline.run.rows[0].y + 10]")
    box = page.locator("#lanes").bounding_box()
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.wait_for_selector("#tip:not([hidden])")
    assert "busy" in page.locator("#tip").inner_text()


@pytest.mark.parametrize("records", [[], [Footer({})]])
def test_a_run_that_never_fired_is_an_empty_page(opened, tmp_path, records):
    page = opened(write(tmp_path, [MADE["header"](), *records])[0])
    for key in ("Home", "n", "+", "]", "g", "Escape"):
        page.keyboard.press(key)
    page.evaluate(SETTLE)
    assert selected(page) is None
    assert page.locator("#miss-count").inner_text() == "no misses"


# the critical path

SHARED = {"extra": True, "play_lane": "io", "late_ms": 2}
"""The playout in one lane with a node off its path."""


PATHS = """() => timeline.run.sides[0].rows.length && Array.from({ length: timeline.run.units }, (_, unit) =>
  timeline.pathOf(timeline.run.sides[0], unit).map((s) => [s.part, s.row.name, s.unit, s.text, s.from, s.to, s.usual]))"""


@pytest.mark.parametrize(
    "records",
    [
        MADE["trace_of"](150),
        simulated(),
        simulated("act: stall=300ms at=20", seed=1),
        simulated("see: slow=9 at=5..9", "think: stall=90ms at=12", seed=2),
        simulated("show: stall=150ms at=9", seed=3, latency_ms=400),
        simulated("user: stall=400ms at=11", seed=4, spread=3.0),
        simulated("aside: stall=120ms at=9", seed=5, **SHARED),
        simulated("see: stall=200ms at=9", seed=6, play_lane="codecs", late_ms=3),
    ],
    ids=["made", "calm", "stall", "slow and stall", "lane", "clock", "playout held up", "playout in a lane of work"],
)
def test_the_page_tells_every_units_critical_path_as_explain_does(opened, tmp_path, records):
    path, run = write(tmp_path, records)
    history = History(run.plan, run.records)
    told = opened(path).evaluate(PATHS)
    assert len(told) == history.n_units
    for unit, steps in enumerate(told):
        steps_us = [(s, round(s.to_ns / 1000) - round(s.from_ns / 1000)) for s in explained(history, unit)]
        expected = [s for s, us in steps_us if us >= 3 or "given up" in s.text]
        found = [s for s in steps if s[5] - s[4] >= 3 or "given up" in s[3]]
        assert [s[:4] for s in found] == [[s.part, s.node, s.unit, s.text] for s in expected], unit
        numbers = [value for s in found for value in s[4:]]
        assert numbers == pytest.approx([v / 1000 for s in expected for v in (s.from_ns, s.to_ns, s.usual_ns)], abs=2)


def test_a_planted_fault_is_named_on_the_page_where_it_is_to_blame(opened, tmp_path):
    page = opened(write(tmp_path, simulated("act: stall=300ms at=20"))[0], address="#unit=20")
    culprit = page.locator("#panel .culprit").first.inner_text()
    assert re.match(r"act computed 3\d\d\.\d ms \(usually \d+\.\d\) on unit 20 \(injected: .*stall=300ms\)", culprit)
    assert "most of what is unusual: act: computes" in page.locator("#panel").inner_text()


def test_a_presentation_that_its_lane_held_up_is_late_on_the_page(opened, tmp_path):
    path, run = write(tmp_path, simulated("aside: stall=120ms at=9", spread=1.0, extra=True, play_lane="io"))
    page = opened(path, address="#unit=8")
    assert (run.n_late, misses(run)) == (1, {})
    assert page.locator("#numbers div", has_text="late").first.locator("dd").inner_text() == "1"
    told = page.locator("#panel .why").inner_text()
    assert told == "presented 282 ms after release, 82.0 ms after its due, at 1.722 s"
    assert "most of what is unusual: play: its lane is busy with aside of unit 9, 82.0 ms longer" in (
        page.locator("#panel").inner_text()
    )
    row = page.locator("#panel .nodes tbody tr", has_text="play").first
    assert "late" in row.inner_text() and row.locator("td").last.inner_text() == "−82.0"
    page.evaluate("timeline.select(7)")
    page.evaluate(SETTLE)
    assert page.locator("#panel .why").inner_text() == "presented 200 ms after release, at 1.480 s"


def test_a_sink_presents_when_it_is_done_and_a_unit_that_a_node_made_up_is_no_miss(opened, tmp_path):
    graph = Graph("plc", latency_ms=200)
    plc = graph.add("plc", Stateless, inputs={"a": graph.add("source", Source)["out"]}, budget_ms=5)["out"]
    graph.add("end", Sink, inputs={"a": plc})
    plan = graph.plan()
    faults = {("plc", 5): Validity.CONCEALED, ("plc", 7): Validity.MISSING}
    records = recorded(plan, 10, costs={("end", 3): 30}, faults=faults)
    page = opened(write(tmp_path, [MADE["header"](plan=to_plain(plan)), *records])[0], address="#unit=3")
    assert page.locator("#panel .why").inner_text() == "presented 35 ms after release, at 0.675 s"
    numbers = {line.split("\n")[0]: line.split("\n")[1:] for line in page.locator("#numbers div").all_inner_texts()}
    assert (numbers["misses"][0], numbers["concealed"][0]) == ("1", "1")
    assert "of 8 real" in " ".join(numbers["model latency p50"])


# from afar


LOADS = """(group) => timeline.run.rows.map((row) => {
  const loads = timeline.loadsOf(row, group);
  return [row.name, ...["busy", "late", "lost"].map((key) => loads[key].reduce((a, b) => a + b, 0)), Math.max(...loads.worst)];
})"""


@pytest.mark.parametrize("group", [4, 8, 64, 1024])
def test_however_many_units_are_taken_together_nothing_is_lost(opened, shown, group):
    page, run = opened(), shown[1]
    for name, busy, late, lost, worst in page.evaluate(LOADS, group):
        firings = [f for f in run.firings[name] if f.verdict != "end"]
        assert busy == pytest.approx(sum(f.finished_ns - f.started_ns for f in firings) / 1000, abs=len(firings))
        assert late == sum(is_late(run.plan.nodes[name], f) for f in firings)
        assert lost == sum(f.last - f.first + 1 for f in firings if f.mode != "step")
        assert worst == pytest.approx(max(f.finished_ns - f.started_ns for f in firings) / 1000, abs=1)
    marked = page.evaluate(
        "(g) => [...timeline.groupsOf(timeline.run.curves[0], g).lost.keys()].filter((k) => timeline.groupsOf(timeline.run.curves[0], g).lost[k])",
        group,
    )
    assert marked == sorted({unit // group for unit in misses(run)})
