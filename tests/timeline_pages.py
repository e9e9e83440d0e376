"""Pages of made-up and simulated runs in a headless browser, for the tests of the timeline's page."""

import runpy
from pathlib import Path

import programs
import pytest
import timing_toys as toys

from wangraph.runtime.engine.faults import parse_fault
from wangraph.runtime.forecast.simulate import simulate
from wangraph.runtime.observe.records import Footer, TraceWriter
from wangraph.runtime.plan.plan import to_plain
from wangraph.tools.timeline.columns import view_of
from wangraph.tools.timeline.facts import misses, read_run
from wangraph.tools.timeline.html import page_of
from wangraph.tools.timeline.story import story

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
MADE = runpy.run_path(str(Path(__file__).with_name("timeline_trace.py")))
SETTLE = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))"


@pytest.fixture(scope="module", name="browser")
def browser_fixture():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'wangraph[dev]'")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=programs.find("chromium"), args=FLAGS)
        yield chromium
        chromium.close()


def write(folder, records):
    writer = TraceWriter(folder / "run.trace")
    writer.write(records)
    writer.close()
    run = read_run(folder / "run.trace")
    (folder / "run.html").write_text(page_of(view_of(run, blamed=story(run, misses(run)))), "utf-8")
    return folder / "run.html", run


@pytest.fixture(scope="module", name="shown")
def shown_fixture(tmp_path_factory):
    return write(tmp_path_factory.mktemp("page"), MADE["trace_of"](150))


@pytest.fixture(name="opened")
def opened_fixture(browser, shown):
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


def simulated(*faults, seed=0, units=40, spread=1.5, late_ms=0.0, **agent):
    """Records of a simulated run of the toy agent, the header first."""
    plan = toys.agent(**agent)
    profile = toys.profile(spread=spread, transfer_ms=4).having("clock.late_ms", late_ms)
    made = simulate(plan, profile, units, seed, [parse_fault(fault) for fault in faults])
    return [MADE["header"](plan=to_plain(plan)), *made.records, Footer({})]


def window(page):
    return page.evaluate("[timeline.view.from, timeline.view.to]")


def selected(page):
    return page.evaluate("timeline.view.unit")


def address(page):
    """Where the page itself says it is: what Playwright keeps as its url follows a moment behind."""
    return page.evaluate("location.href")


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
