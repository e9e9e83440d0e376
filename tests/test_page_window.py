"""The page wherever it is opened and whoever uses it: any window, no secure context, keyboard, screen reader."""

import pytest
from page_browser import browser_fixture, phase, server_fixture, talk, window_fixture  # noqa: F401

from wangraph.tools.serve import protocol
from wangraph.tools.serve.protocol import EndFormats, LiveParam

pytestmark = pytest.mark.browser


def test_away_from_localhost_and_https_the_page_says_why_and_takes_words(window, server):
    page = talk(window(server.link.replace("127.0.0.1", "talk.test"), permissions=[]))
    words = page.locator("#notices").inner_text()
    assert "Browsers open camera and microphone only for https or for localhost." in words
    assert "This browser plays no sound for this page" in words
    page.get_by_label("Write to the agent").fill("hello")
    page.keyboard.press("Enter")
    assert server.wait_for(protocol.Typed).text == "hello"
    server.wait_for(protocol.Played, lambda m: m.shown > 5 and m.audio == -1)


def test_a_graph_that_takes_nothing_asks_for_no_devices(window, server):
    server.about["inputs"] = EndFormats()
    page = window()
    page.get_by_text("You write to it: it takes neither sound nor pictures.").wait_for()
    talk(page)
    server.wait_for(protocol.Played, lambda m: m.shown > 2)
    assert [page.locator(f"#{name}").is_hidden() for name in ("camera", "microphone", "level")] == [True] * 3
    assert page.locator("#text").is_disabled()


def test_all_of_it_can_be_done_with_the_keyboard(window, server):
    page = window()
    page.locator("#start").focus()
    page.keyboard.press("Enter")
    phase(page, "live")
    page.locator("#self").wait_for()
    assert page.evaluate("document.activeElement.id") == "interrupt"
    page.keyboard.press("Enter")
    server.wait_for(protocol.Interrupt)
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id"))
    assert seen[:5] == ["leave", "volume", "captions", "text", "send"]
    assert {"settings-button", "seen-button", "microphone", "camera"} <= set(seen)


def test_every_control_has_a_name_and_every_part_a_heading_or_a_label(window, server):
    server.about["params"] = [LiveParam("think", "persona", "calm")]
    page = talk(window())
    page.locator("#self").wait_for()
    found = page.locator("body").aria_snapshot()
    for line in (
        'heading "duplex" [level=1]', 'region "Agent"', 'region "Controls"', 'region "Conversation"', 'region "Time of each answer"',
        'button "microphone on" [pressed]', 'button "camera on" [pressed]', 'button "interrupt Esc"', 'button "leave"',
        'button "as it sees you"', 'button "settings"', 'slider "volume"', 'meter "What it hears"', 'textbox "Write to the agent"',
        'log "What the agent says"',
    ):  # fmt: skip
        assert line in found
    page.get_by_role("button", name="settings").click()
    found = page.get_by_role("dialog").aria_snapshot()
    for line in (
        'dialog "Settings"',
        'textbox "persona"',
        'combobox "camera"',
        'combobox "microphone"',
        'combobox "loudspeaker"',
        'button "Close"',
    ):
        assert line in found


def test_whole_lines_of_the_agent_reach_a_screen_reader_once(window, server):
    page = talk(window())
    server.send(protocol.Caption(1, "agent", "good"), protocol.Caption(2, "agent", "morning"))
    page.wait_for_function("() => document.getElementById('spoken').textContent === 'good morning'")


@pytest.mark.parametrize("size", [(390, 844), (320, 568), (844, 390), (768, 1024), (1280, 800)])
def test_no_size_of_window_scrolls_sideways_or_hides_a_button(window, server, size):
    page = talk(window(viewport={"width": size[0], "height": size[1]}))
    server.send(protocol.Times(1, [5.0, 4.0, 60.0], 110.0, "real", -20.0, True))
    page.locator("#self").wait_for()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= size[0]
    for name in ("microphone", "camera", "interrupt", "leave", "text", "send", "settings-button", "seen-button"):
        box = page.locator(f"#{name}").bounding_box()
        assert min(box["width"], box["height"]) >= 44, name
        assert box["x"] >= 0 and box["x"] + box["width"] <= size[0] and box["y"] + box["height"] <= size[1], name
        page.locator(f"#{name}").click(trial=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(window, scheme):
    page = window(color_scheme=scheme)
    ratios = page.evaluate(
        CONTRASTS,
        [
            ["ink", "paper"],
            ["soft", "paper"],
            ["soft", "raised"],
            ["warn", "paper"],
            ["accent", "paper"],
            ["on-accent", "accent"],
        ],
    )
    assert min(ratios) >= 4.5, ratios
    assert page.evaluate(CONTRASTS, [["edge", "paper"]])[0] >= 3


CONTRASTS = """(pairs) => {
  const style = getComputedStyle(document.documentElement);
  const light = (name) => {
    const context = new OffscreenCanvas(1, 1).getContext("2d");
    context.fillStyle = style.getPropertyValue(`--${name}`);
    context.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return pairs.map(([a, b]) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05));
}"""
