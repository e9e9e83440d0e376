import re
import runpy
from pathlib import Path

import pytest
import timing_toys as toys

from wangraph.runtime.engine.explain import path as explained
from wangraph.runtime.engine.history import History
from wangraph.runtime.engine.inject import parse_fault
from wangraph.runtime.engine.newest import newest
from wangraph.runtime.engine.records import Footer, TraceWriter
from wangraph.runtime.engine.simulate import simulate
from wangraph.runtime.engine.statistics import Statistics
from wangraph.runtime.plan.plan import from_plain, to_plain
from wangraph.tools.timeline.columns import view_of
from wangraph.tools.timeline.facts import misses, model_latency_ns, read_run
from wangraph.tools.timeline.html import page_of
from wangraph.tools.timeline.serve import Feed, PageServer
from wangraph.tools.timeline.story import story

pytestmark = pytest.mark.browser

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
MADE = runpy.run_path(str(Path(__file__).with_name("timeline_trace.py")))
SETTLE = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))"


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'wangraph[dev]'")
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}: apt install chromium")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()


def write(folder, records):
    writer = TraceWriter(folder / "run.trace")
    writer.write(records)
    writer.close()
    run = read_run(folder / "run.trace")
    (folder / "run.html").write_text(page_of(view_of(run, blamed=story(run, misses(run)))), "utf-8")
    return folder / "run.html", run


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    return write(tmp_path_factory.mktemp("page"), MADE["trace_of"](150))


@pytest.fixture
def opened(browser, shown):
    """Opens a page in a fresh window; fails the test when the page raised or asked for anything else."""
    contexts, complaints = [], []

    def open_page(path=None, address="", **options):
        context = browser.new_context(**{"viewport": {"width": 1600, "height": 1000}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"raised {error}"))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: None if request.url.startswith("file:") else complaints.append(request.url))
        page.goto((path or shown[0]).as_uri() + address)
        page.wait_for_function("globalThis.timeline")
        page.evaluate(SETTLE)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def simulated(*faults, seed=0, units=40, spread=1.5, **agent):
    """Records of a simulated run of the toy agent, the header first."""
    plan = toys.agent(**agent)
    profile = toys.profile(spread=spread, transfer_ms=4)
    made = simulate(plan, profile, units, seed, [parse_fault(fault) for fault in faults])
    return [MADE["header"](plan=to_plain(plan)), *made.records, Footer({})]


def window(page):
    return page.evaluate("[timeline.view.from, timeline.view.to]")


def selected(page):
    return page.evaluate("timeline.view.unit")


def place(page, node, unit):
    """Where the bar of a node and unit is, in the window's pixels."""
    return page.evaluate(
        """([name, unit]) => {
          const { run, view } = timeline;
          const row = run.rows.find((row) => row.name === name);
          const i = row.bars.byUnit.get(unit);
          const perUs = (view.width - view.gutter) / (view.to - view.from);
          const box = document.getElementById("lanes").getBoundingClientRect();
          const middle = (row.bars.start[i] + row.bars.end[i]) / 2;
          return [box.x + view.gutter + (middle - view.from) * perUs, box.y + row.y + view.rowHeight / 2];
        }""",
        [node, unit],
    )


def ink(page, canvas):
    """How many different colours a canvas shows."""
    return page.evaluate(
        """(id) => {
          const c = document.getElementById(id);
          const data = new Uint32Array(c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer);
          return new Set(data).size;
        }""",
        canvas,
    )


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
    assert page.url.endswith(f"#unit={unit}")
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
    ],
    ids=["made", "calm", "stall", "slow and stall", "lane", "clock"],
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
    assert re.match(r"act computed 3\d\d\.\d ms \(usually \d+\.\d\) on unit 20 \(injected: .*stall\)", culprit)
    assert "most of what is unusual: act: computes" in page.locator("#panel").inner_text()


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
        assert late == sum(f.verdict == "late" and name != "sync" for f in firings if f.mode == "step")
        assert lost == sum(f.last - f.first + 1 for f in firings if f.mode != "step")
        assert worst == pytest.approx(max(f.finished_ns - f.started_ns for f in firings) / 1000, abs=1)
    marked = page.evaluate(
        "(g) => [...timeline.groupsOf(timeline.run.curves[0], g).lost.keys()].filter((k) => timeline.groupsOf(timeline.run.curves[0], g).lost[k])",
        group,
    )
    assert marked == sorted({unit // group for unit in misses(run)})


# search, links, two runs, print, live


def listed(page):
    return page.locator("#found li[role=option]").all_inner_texts()


def typed(page, text):
    page.keyboard.press("/")
    page.keyboard.type(text)
    page.evaluate(SETTLE)
    return listed(page)


def test_a_search_for_misses_finds_all_of_them_with_who_made_them(opened, shown):
    page = opened()
    lines = typed(page, "missed")
    assert [int(re.search(r"unit (\d+) missed", line)[1]) for line in lines] == list(misses(shown[1]))
    assert any("perform computed" in line for line in lines)


def test_words_are_found_together_and_a_nodes_name_alone_finds_its_longest_calls(opened, shown):
    page = opened()
    late = [f.last for f in shown[1].firings["perform"] if f.verdict == "late"]
    lines = typed(page, "late perform:")
    assert [int(re.search(r"unit (\d+)", line)[1]) for line in lines] == late
    page.keyboard.press("Escape")
    calls = sorted(shown[1].firings["hear"], key=lambda f: f.started_ns - f.finished_ns)
    longest = [line for line in typed(page, "hear") if re.match(r"hear: unit \d+, computed", line)]
    assert [int(line.split()[2].strip(",")) for line in longest] == [c.last for c in calls[:20] if c.verdict == "real"]


def test_what_was_found_is_walked_through_and_let_go(opened, shown):
    page = opened()
    page.evaluate("timeline.look(0, 160000 * 5)")
    typed(page, "missed")
    page.keyboard.press("ArrowDown")
    lost = list(misses(shown[1]))
    assert selected(page) == lost[0]
    page.keyboard.press("Enter")
    page.keyboard.press("n")
    assert selected(page) == lost[1]
    assert page.locator("#miss-count").inner_text() == f"2 of {len(lost)} found"
    page.keyboard.press("Escape")
    assert page.locator("#miss-count").inner_text() == f"{len(lost)} misses"


def test_a_search_that_finds_nothing_says_what_there_is(opened):
    page = opened()
    assert typed(page, "gibberish") == []
    assert "nothing found for “gibberish” (nodes: user" in page.locator("#found").inner_text()


def test_a_link_chooses_its_unit_and_a_chosen_unit_makes_the_link(opened):
    page = opened(address="#unit=120")
    assert selected(page) == 120
    page.keyboard.press("]")
    assert page.url.endswith("#unit=121")
    page.evaluate("location.hash = 'unit=7'")
    page.wait_for_function("timeline.view.unit === 7")
    page.keyboard.press("Escape")
    assert "#" not in page.url
    page.evaluate("location.hash = 'unit=99999'")
    page.evaluate(SETTLE)
    assert selected(page) is None


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    calm, stalled = simulated(), simulated("act: stall=300ms at=20")
    runs = [write(folder, records)[1] for records in (calm, stalled)]
    page = page_of(
        *(view_of(r, name=f"{n}.trace", blamed=story(r, misses(r))) for n, r in zip("xy", runs, strict=True))
    )
    (folder / "two.html").write_text(page, "utf-8")
    return folder / "two.html", runs


def test_two_runs_lie_below_each_other_unit_by_unit_with_the_difference(opened, two):
    page = opened(two[0])
    curves = page.evaluate("Object.fromEntries(timeline.run.curves.map((curve) => [curve.name, [...curve.values]]))")
    a, b = (model_latency_ns(run) for run in two[1])
    for unit, apart in enumerate(curves["latency B − A"]):
        if apart is None:
            assert a[unit] is None or b[unit] is None
        else:
            assert apart * 1000 == pytest.approx(b[unit] - a[unit], abs=1000)
    assert page.locator("#about span").all_inner_texts()[1].startswith("B y.trace")
    names = page.evaluate("timeline.run.rows.map((row) => row.side.letter + row.name)")
    assert names == [f"{letter}{name}" for letter in "AB" for name in by_place_names(two[1][0])]


def by_place_names(run):
    return [row.name for row in view_of(run).rows]


def test_the_panel_of_two_runs_tells_both_and_who_was_earlier(opened, two):
    page = opened(two[0], address="#unit=22")
    a, b = (model_latency_ns(run)[22] for run in two[1])
    text = page.locator("#panel").inner_text()
    assert f"{abs(b - a) / 1e6:.1f} ms {'earlier' if b < a else 'later'}" in text
    assert "x.trace" in text and "y.trace" in text
    assert page.locator("#panel table.nodes").count() == 2


def test_on_paper_the_window_fits_on_a_sheet_in_light_colours_and_comes_back(opened):
    page = opened(address="#unit=50", color_scheme="dark")
    before, dark = window(page), page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("#lanes").bounding_box()["height"] <= 440
    assert page.locator("nav button").first.is_hidden()
    assert page.locator("#panel").is_visible()
    assert ink(page, "lanes") > 10
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.evaluate(SETTLE)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    assert window(page) == before


STATE = """() => {
  const side = timeline.run.sides[0];
  return { rows: side.rows.map((row) => [row.name, [...row.bars.start], [...row.bars.last], [...row.bars.byUnit.keys()].length]),
    sends: [...side.sends.values()].map((send) => [send.stream, send.unit, send.arrived]), misses: side.misses,
    latency: [...side.curves[0].values], notes: side.notes, units: timeline.run.units, lost: [...side.lost],
    paths: Array.from({ length: side.units }, (_, unit) => timeline.pathOf(side, unit).map((s) => [s.text, s.from, s.to])) };
}"""


def test_a_page_that_followed_a_run_holds_what_the_page_of_its_trace_does(browser, opened, shown):
    records = MADE["trace_of"](150)[1:-1]
    header = MADE["header"]()
    statistics, feed = Statistics(from_plain(header.plan)), Feed(header, "made-1")

    def tell(part, since, has_ended=False):
        statistics.add(part)
        feed.take(newest(statistics, header, since, has_ended=has_ended))

    tell(records[:1500], 0)
    server = PageServer(feed)
    try:
        page = browser.new_page()
        page.goto(server.url)
        page.wait_for_function("globalThis.timeline")
        tell(records[1500:3000], 1500)
        page.wait_for_function("timeline.run.units > 60 && timeline.view.to >= timeline.run.end")
        page.keyboard.press("ArrowLeft")
        tell(records[3000:], 3000, has_ended=True)
        page.wait_for_function("document.getElementById('live').textContent.startsWith('the run has ended')")
        assert page.evaluate("timeline.view.to < timeline.run.end")
        assert page.evaluate(STATE) == opened().evaluate(STATE)
    finally:
        server.close(grace_s=0)
