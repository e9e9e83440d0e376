"""Searching, linking, comparing, printing and following on the timeline's page."""

import re

import pytest
from timeline_pages import (  # noqa: F401
    MADE,
    SETTLE,
    address,
    browser_fixture,
    ink,
    opened_fixture,
    selected,
    shown_fixture,
    simulated,
    window,
    write,
)

from wangraph.runtime.observe.follow import newest
from wangraph.runtime.observe.statistics import Statistics
from wangraph.runtime.plan.plan import from_plain
from wangraph.tools.timeline.columns import view_of
from wangraph.tools.timeline.facts import misses, model_latency_ns
from wangraph.tools.timeline.html import page_of
from wangraph.tools.timeline.serve import Feed, PageServer
from wangraph.tools.timeline.story import story

pytestmark = pytest.mark.browser


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
    assert address(page).endswith("#unit=121")
    page.evaluate("location.hash = 'unit=7'")
    page.wait_for_function("timeline.view.unit === 7")
    page.keyboard.press("Escape")
    assert "#" not in address(page)
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
