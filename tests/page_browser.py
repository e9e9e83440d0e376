"""The page in a headless browser with a made-up camera and microphone, for the tests of the page."""

import page_server
import programs
import pytest

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-device-for-media-stream=fps=25", "--host-resolver-rules=MAP talk.test 127.0.0.1",
    "--allow-loopback-in-peer-connection",
]  # fmt: skip
DEVICES = ["camera", "microphone"]


@pytest.fixture(scope="module", name="browser")
def browser_fixture():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'wangraph[dev]'")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=programs.find("chromium"), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(name="server")
def server_fixture():
    server = page_server.FakeServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(name="window")
def window_fixture(browser, server):
    """Opens the page in a fresh window; fails the test when a script raised, or another host was asked for anything."""
    contexts, complaints = [], []

    def open_window(link=None, permissions=DEVICES, script="", **options):
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, "permissions": permissions, **options}
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"raised {error}"))
        page.on(
            "console", lambda message: complaints.append(message.text) if "Content Security" in message.text else None
        )
        page.on(
            "request",
            lambda r: (
                None
                if r.url.startswith((f"http://127.0.0.1:{server.port}/", f"http://talk.test:{server.port}/"))
                else complaints.append(r.url)
            ),
        )
        if script:
            page.add_init_script(script)
        page.goto(link or server.link, wait_until="domcontentloaded")
        return page

    yield open_window
    for context in contexts:
        context.close()
    assert complaints == []


def talk(page):
    """Press start, and wait until the visit has begun."""
    page.locator("#start").click()
    phase(page, "live")
    return page


def phase(page, name):
    page.wait_for_function("(name) => document.body.dataset.phase === name", arg=name)


def centre(page):
    """The colour in the middle of the agent's picture."""
    return page.evaluate(
        """() => {
          const c = document.getElementById("agent-canvas");
          return [...c.getContext("2d").getImageData(c.width / 2, c.height / 2, 1, 1).data.slice(0, 3)];
        }"""
    )
