"""The page against the real server of a graph that gives back what it gets, by both carriers."""

import asyncio
import threading

import pytest
from page_browser import browser_fixture, phase, talk, window_fixture  # noqa: F401
from serve_visitors import serving

pytest.importorskip("webrtc", reason="needs wrtc: pip install 'wangraph[live]'")
from wangraph.tools.serve.webrtc import WebRtcOptions

pytestmark = pytest.mark.browser

RELAYED = """
  const Whole = RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Whole {
    constructor(options) { super({ ...options, iceTransportPolicy: "relay" }); }
  };
"""
"""A browser that no packet reaches but by a relay, and there is none."""

COLOUR = """() => {
  const shown = talk.visit.carrier?.name === "webrtc" ? document.getElementById("agent-video") : document.getElementById("agent-canvas");
  const canvas = new OffscreenCanvas(8, 8);
  const context = canvas.getContext("2d");
  context.drawImage(shown, 0, 0, 8, 8);
  return [...context.getImageData(1, 4, 1, 1).data.slice(0, 3)];
}"""


class Served:
    """A server in a thread of its own."""

    def __init__(self):
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._is_up.wait(60)

    async def _serve(self):
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with serving(webrtc=WebRtcOptions()) as self.server:
            self._is_up.set()
            await self._over.wait()

    @property
    def link(self):
        return self.server.link

    @property
    def port(self):
        return self.server.port

    def stop(self):
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(30)


@pytest.fixture(name="server")
def served_fixture(monkeypatch):
    monkeypatch.setenv("WRTC_ALLOW_LOOPBACK", "1")
    served = Served()
    yield served
    served.stop()


def is_green(page):
    """Wait until the browser's own made-up camera, which is green, has come back as the agent's picture."""
    page.wait_for_function(f"() => {{ const [r, g, b] = ({COLOUR})(); return g > 90 && r < 70 && b < 70; }}")


def carrier(page, name):
    page.wait_for_function("(name) => document.getElementById('status').textContent.endsWith(name)", arg=name)


def test_by_webrtc_the_camera_comes_back_and_the_microphone_is_heard(window):
    page = talk(window())
    carrier(page, "WebRTC")
    is_green(page)
    page.wait_for_function("() => Number(document.getElementById('level').getAttribute('aria-valuenow')) > -60")
    page.wait_for_function("async () => (await talk.visit.carrier.played()).audio_at_ms > Date.now() - 10000")


def test_by_the_socket_the_camera_comes_back_and_the_microphone_is_heard(window, server):
    page = talk(window(server.link.replace("/#", "/?carrier=socket#")))
    carrier(page, "WebSocket")
    is_green(page)
    page.wait_for_function("() => Number(document.getElementById('level').getAttribute('aria-valuenow')) > -60")
    page.wait_for_function("async () => (await talk.visit.carrier.played()).audio > 0")


def test_where_webrtc_does_not_connect_the_socket_takes_over(window):
    page = talk(window(script=RELAYED))
    carrier(page, "WebSocket")
    is_green(page)
    assert "WebSocket: WebRTC did not connect within 3 s" in page.locator("#facts").text_content()


def test_a_browser_without_webrtc_takes_the_socket(window):
    page = talk(window(script="delete globalThis.RTCPeerConnection;"))
    carrier(page, "WebSocket")
    is_green(page)
    assert "WebSocket: no WebRTC here" in page.locator("#facts").text_content()


def test_an_offer_without_a_common_codec_takes_the_socket(window):
    script = """
      const whole = RTCPeerConnection.prototype.createOffer;
      RTCPeerConnection.prototype.createOffer = async function () {
        const { type, sdp } = await whole.call(this);
        return { type, sdp: sdp.replace(/(a=rtpmap:[0-9]+ )(VP8|VP9|AV1|H264|H265)/g, "$1NONE") };
      };
    """
    page = talk(window(script=script))
    carrier(page, "WebSocket")
    is_green(page)


def test_a_webrtc_connection_that_is_lost_is_replaced_by_the_socket(window):
    page = talk(window())
    carrier(page, "WebRTC")
    page.evaluate("talk.visit.carrier.changed('failed')")
    carrier(page, "WebSocket")
    is_green(page)
    assert "WebSocket: WebRTC was lost" in page.locator("#facts").text_content()


def test_a_reload_goes_on_with_the_same_visit(window, server):
    page = talk(window())
    visits = set(server.server.lobby.visits)
    page.reload(wait_until="domcontentloaded")
    phase(page, "live")
    assert page.locator("#captions .note").inner_text() == "The conversation goes on."
    assert set(server.server.lobby.visits) == visits
    is_green(page)


def test_the_second_visitor_waits_until_the_first_leaves(window):
    first, second = talk(window()), window()
    second.locator("#start").click()
    phase(second, "waiting")
    assert "You are number 1 in the queue" in second.locator("#card").inner_text()
    first.get_by_role("button", name="leave").click()
    phase(second, "live")
    is_green(second)


def test_a_server_that_is_stopped_says_so(window, server):
    page = talk(window())
    server.stop()
    phase(page, "over")
    assert "the server was stopped" in page.locator("#card").inner_text()
