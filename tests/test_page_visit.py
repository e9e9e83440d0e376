"""A visit to the served page: what a person does in a browser, and what the server gets of it."""

import re

import pytest
from page_browser import browser_fixture, centre, phase, server_fixture, talk, window_fixture  # noqa: F401
from page_server import TOKEN

from wangraph.tools.serve import protocol
from wangraph.tools.serve.protocol import AUDIO, JPEG, LiveParam, Media

pytestmark = pytest.mark.browser


# Coming in ------------------------------------------------------------------------------------------------------------


def test_the_token_leaves_the_address_bar_and_is_sent_in_the_first_message(window, server):
    page = window()
    talk(page)
    assert page.evaluate("location.href") == f"http://127.0.0.1:{server.port}/"
    assert server.hellos == [protocol.Hello(TOKEN)]


def test_an_address_without_a_token_asks_for_it_and_takes_a_whole_link(window, server):
    page = window(f"http://127.0.0.1:{server.port}/")
    page.get_by_label("token").fill(server.link)
    page.get_by_role("button", name="go on").click()
    talk(page)
    assert server.hellos[0].token == TOKEN


def test_a_wrong_token_is_named_before_the_visit_and_can_be_mended(window, server):
    page = window(server.link + "x")
    assert "its token is wrong" in page.get_by_role("alert").filter(has_text="token").inner_text()
    page.get_by_label("token").fill(TOKEN)
    page.get_by_role("button", name="go on").click()
    talk(page)


def test_a_token_that_the_server_no_longer_takes_is_asked_for_again(window, server):
    page = window()
    page.locator("#start").wait_for()
    server.refusal = protocol.Over("token", "", False)
    page.locator("#start").click()
    page.get_by_label("token").wait_for()
    assert page.evaluate("sessionStorage.getItem('token')") is None


def test_the_place_in_the_queue_is_shown_until_the_visitor_is_let_in(window, server):
    server.is_full = True
    page = window()
    page.locator("#start").click()
    phase(page, "waiting")
    assert page.locator("#card p").inner_text() == (
        "Somebody else is talking. You are number 2 of 3 in the queue and are let in by yourself; keep this page open."
    )
    server.admit()
    phase(page, "live")
    assert page.locator("#card").is_hidden()


def test_whoever_leaves_the_queue_says_goodbye(window, server):
    server.is_full = True
    page = window()
    page.locator("#start").click()
    phase(page, "waiting")
    page.get_by_role("button", name="leave").click()
    server.wait_for(protocol.Bye)
    assert page.locator("#card h2").inner_text() == "Goodbye"


def test_a_visit_that_the_server_refuses_says_why_and_can_be_begun_again(window, server):
    server.refusal = protocol.Over("refused", "persona: no word 'zzz'", False)
    page = window()
    page.locator("#start").click()
    phase(page, "over")
    assert page.locator("#card p").all_inner_texts() == ["The server did not let you in.", "persona: no word 'zzz'"]
    server.refusal = None
    page.get_by_role("button", name="start again").click()
    talk(page)


def test_a_visit_is_recorded_only_with_a_tick_and_then_marked(window, server):
    server.about["is_recorded"] = True
    page = talk(window())
    assert server.hellos[-1].consent is False
    assert page.locator("#recorded").is_hidden()
    page.get_by_role("button", name="leave").click()
    page.locator("#again").click()
    page.get_by_label(re.compile("^Record me")).check()
    talk(page)
    assert server.hellos[-1].consent is True
    assert page.locator("#recorded").inner_text() == "recorded"


def test_a_persona_is_chosen_before_the_visit_and_changed_during_it(window, server):
    server.about["params"] = [
        LiveParam("think", "persona", "calm"),
        LiveParam("think", "style", "short", choices=["short", "long"]),
    ]
    page = window()
    page.get_by_label("persona").fill("cheerful")
    talk(page)
    assert server.hellos[0].params == {"think.persona": "cheerful"}
    page.get_by_role("button", name="settings").click()
    page.locator("#settings").get_by_label("style").select_option("long")
    assert server.wait_for(protocol.Change) == protocol.Change("think", "style", "long")
    page.locator("#agent-params small", has_text="set").wait_for()


# Media ----------------------------------------------------------------------------------------------------------------


def test_the_cameras_pictures_and_the_microphones_sound_reach_the_server(window, server):
    talk(window())
    server.wait_for(protocol.Devices, lambda m: (m.camera, m.microphone) == ("on", "on"))
    picture = server.wait_for(Media, lambda m: m.kind == JPEG and m.unit == 10)
    assert picture.data[:2] == b"\xff\xd8"
    sound = server.wait_for(Media, lambda m: m.kind == AUDIO and m.unit == 20)
    assert len(sound.data) == 2 * 128, "8 ms"
    assert server.wait_for(Media, lambda m: m.kind == AUDIO and any(m.data))


def test_the_agents_pictures_are_drawn_and_its_sound_is_heard(window, server):
    server.colour = (20, 180, 40)
    page = talk(window())
    server.wait_for(protocol.Played, lambda m: m.shown > 5 and m.audio > 0 and m.video > 0)
    assert centre(page) == pytest.approx([20, 180, 40], abs=6)


def test_a_camera_that_is_off_sends_nothing_and_is_closed(window, server):
    page = talk(window())
    server.wait_for(Media, lambda m: m.kind == JPEG)
    page.get_by_role("button", name="camera on").click()
    server.wait_for(protocol.Devices, lambda m: m.camera == "off" and m.microphone == "on")
    assert page.evaluate("talk.devices.camera.track") is None
    assert page.locator("#self").is_hidden()
    server.forget()
    server.wait_for(Media, lambda m: m.kind == AUDIO and m.unit > 50)
    assert server.count(Media, lambda m: m.kind == JPEG) <= 1
    page.get_by_role("button", name="camera off").click()
    server.wait_for(protocol.Devices, lambda m: m.camera == "on")
    server.wait_for(Media, lambda m: m.kind == JPEG)


def test_a_muted_microphone_sends_nothing(window, server):
    page = talk(window())
    server.wait_for(Media, lambda m: m.kind == AUDIO)
    page.get_by_role("button", name="microphone on").click()
    server.wait_for(protocol.Devices, lambda m: m.microphone == "off")
    server.forget()
    server.wait_for(Media, lambda m: m.kind == JPEG and m.unit > 30)
    assert server.count(Media, lambda m: m.kind == AUDIO) <= 5


def test_a_visitor_who_allows_no_devices_still_talks_by_text(window, server):
    page = talk(window(permissions=[]))
    server.wait_for(protocol.Devices, lambda m: (m.camera, m.microphone) == ("absent", "absent"))
    words = page.locator("#notices").inner_text()
    assert "The browser does not let this page use your camera." in words
    assert "The browser does not let this page use your microphone." in words
    page.get_by_label("Write to the agent").fill("hello")
    page.keyboard.press("Enter")
    assert server.wait_for(protocol.Typed).text == "hello"
    server.wait_for(protocol.Played, lambda m: m.shown > 5)


def test_a_machine_without_a_camera_is_heard(window, server):
    script = """
      const whole = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = (wanted) =>
        wanted.video ? Promise.reject(new DOMException("", "NotFoundError")) : whole(wanted);
    """
    page = talk(window(script=script))
    server.wait_for(protocol.Devices, lambda m: (m.camera, m.microphone) == ("absent", "on"))
    server.wait_for(Media, lambda m: m.kind == AUDIO)
    assert page.locator("#notices p").all_inner_texts() == [
        "No camera was found. Plug one in, or go on with the microphone alone. You can talk without being seen.\n×"
    ]


def test_a_device_that_another_program_has_is_named_and_the_button_tries_again(window, server):
    script = """
      const whole = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      globalThis.isTaken = true;
      navigator.mediaDevices.getUserMedia = (wanted) =>
        wanted.audio && isTaken ? Promise.reject(new DOMException("", "NotReadableError")) : whole(wanted);
    """
    page = talk(window(script=script))
    page.get_by_text("Your microphone is there but does not start: another program may be using it.").wait_for()
    server.wait_for(protocol.Devices, lambda m: (m.camera, m.microphone) == ("on", "absent"))
    page.evaluate("globalThis.isTaken = false")
    page.get_by_role("button", name="no microphone").click()
    server.wait_for(protocol.Devices, lambda m: (m.camera, m.microphone) == ("on", "on"))
    server.wait_for(Media, lambda m: m.kind == AUDIO)
    assert page.locator("#notices").inner_text() == ""


def test_another_microphone_and_another_volume_are_chosen_during_the_visit(window, server):
    page = talk(window())
    server.wait_for(protocol.Devices, lambda m: m.microphone == "on")
    page.get_by_role("button", name="settings").click()
    picker = page.locator("#pick-microphone")
    picker.locator("option").nth(1).wait_for(state="attached")
    chosen = picker.select_option(index=1)[0]
    page.wait_for_function("(id) => talk.devices.microphone.track?.getSettings().deviceId === id", arg=chosen)
    server.forget()
    server.wait_for(Media, lambda m: m.kind == AUDIO)
    page.keyboard.press("Escape")
    assert server.count(protocol.Interrupt) == 0, "it has closed the settings"
    page.get_by_label("volume").fill("0.25")
    page.wait_for_function("() => talk.visit.carrier.sound.gain.gain.value === 0.25")


def test_a_camera_that_is_pulled_out_is_absent_and_comes_back(window, server):
    page = talk(window())
    server.wait_for(protocol.Devices, lambda m: m.camera == "on")
    page.evaluate("talk.devices.camera.track.dispatchEvent(new Event('ended'))")
    server.wait_for(protocol.Devices, lambda m: m.camera == "absent")
    server.forget()
    page.evaluate("navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
    server.wait_for(protocol.Devices, lambda m: m.camera == "on")
    assert page.locator("#notices").inner_text() == ""


# The talk -------------------------------------------------------------------------------------------------------------


def test_captions_of_both_sides_make_lines(window, server):
    page = talk(window())
    words = [
        (10, "visitor", "good"),
        (10, "agent", "I"),
        (11, "visitor", "morning"),
        (12, "agent", "hear"),
        (12, "agent", "."),
        (40, "agent", "Yes"),
    ]
    server.send(*(protocol.Caption(*word) for word in words))
    page.locator("#captions li", has_text="Yes").wait_for()
    assert page.locator("#captions li").all_inner_texts() == ["you\ngood morning", "agent\nI hear.", "agent\nYes"]


def test_an_interruption_empties_the_ring_and_cuts_the_line(window, server):
    page = talk(window())
    server.wait_for(protocol.Played, lambda m: m.audio >= 0)
    server.send(protocol.Caption(3, "agent", "I was about"))
    page.locator("#captions li").wait_for()
    server.is_sending = False
    page.keyboard.press("Escape")
    server.wait_for(protocol.Interrupt)
    page.wait_for_function("() => talk.visit.carrier.sound.report.heldMs === 0")
    assert page.locator("#captions li").inner_text() == "agent\nI was about —"


def test_the_state_the_level_and_the_times_of_units_are_shown(window, server):
    page = talk(window())
    server.send(protocol.State(1, "speaking"))
    server.send(
        *(protocol.Times(k, [5.0, 4.0, 60.0], 110.0, "missed" if k == 3 else "real", -20.0, True) for k in range(6))
    )
    page.wait_for_function("() => document.getElementById('now').textContent.includes('of 6')")
    assert page.locator("#now").inner_text() == "answer ready after 110 ms of 240 · 1 of 6 missed"
    assert page.locator("#state").inner_text() == "speaking"
    assert page.get_by_role("meter").get_attribute("aria-valuetext") == "-20 decibels"
    assert page.locator("#parts li").all_inner_texts()[:4] == ["see\n5.0", "hear\n4.0", "think\n60", "waiting\n41"]


def test_a_server_that_does_not_keep_up_is_named_until_it_does(window, server):
    page = talk(window())
    words = page.get_by_text("The server does not keep up")
    server.send(*(protocol.Times(k, [5.0, 4.0, 300.0], -1.0, "missed") for k in range(30)))
    words.wait_for()
    server.send(*(protocol.Times(k, [5.0, 4.0, 60.0], 110.0, "real") for k in range(30, 60)))
    words.wait_for(state="detached")


def test_what_the_agent_sees_is_shown_on_demand(window, server):
    page = talk(window())
    page.get_by_role("button", name="as it sees you").click()
    assert server.wait_for(protocol.Watch).is_on
    server.send(protocol.Seen(4, PNG))
    page.locator("#seen").wait_for()
    assert page.evaluate("[document.getElementById('seen').width, document.getElementById('seen').height]") == [1, 1]


PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def test_a_problem_is_said_and_can_be_put_away(window, server):
    page = talk(window())
    server.send(protocol.Problem("persona: no word 'zzz'"))
    page.get_by_text("persona: no word 'zzz'").wait_for()
    page.get_by_role("button", name="Put this notice away").click()
    assert page.locator("#notices").inner_text() == ""


# Going and coming back ------------------------------------------------------------------------------------------------


def test_a_lost_connection_comes_back_into_the_same_conversation(window, server):
    page = talk(window())
    server.cut()
    page.locator("#captions .note").wait_for()
    phase(page, "live")
    assert [hello.visit for hello in server.hellos] == ["", "visit-0"]
    assert page.locator("#captions .note").inner_text() == "The conversation goes on."
    server.forget()
    server.wait_for(protocol.Played, lambda m: m.shown > 2)


def test_a_reload_goes_on_by_itself_and_says_no_goodbye(window, server):
    page = talk(window())
    page.reload(wait_until="domcontentloaded")
    phase(page, "live")
    assert [hello.visit for hello in server.hellos] == ["", "visit-0"]
    assert server.count(protocol.Bye) == 0


def test_a_server_that_stays_away_is_given_up_and_can_be_tried_again(window, server):
    page = window()
    page.clock.install()
    talk(page)
    server.stop()
    phase(page, "lost")
    assert page.get_by_role("alert").filter(has_text="connection is lost").is_visible()
    for _ in range(15):
        page.clock.run_for(1000)
    phase(page, "gone")
    assert "The server cannot be reached." in page.locator("#card").inner_text()
    server.start()
    page.locator("#again").click()
    phase(page, "live")


def test_leaving_says_goodbye_and_closes_the_devices(window, server):
    page = talk(window())
    server.wait_for(protocol.Devices, lambda m: m.camera == "on")
    page.get_by_role("button", name="leave").click()
    server.wait_for(protocol.Bye)
    assert page.locator("#card h2").inner_text() == "Goodbye"
    assert page.evaluate("[talk.devices.camera.track, talk.devices.microphone.track]") == [None, None]
    assert page.evaluate("sessionStorage.getItem('visit')") is None


def test_a_camera_that_is_allowed_after_the_visitor_has_left_is_closed_again(window, server):
    script = """
      const whole = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (wanted) => {
        const stream = await whole(wanted);
        await new Promise((allow) => Object.assign(globalThis, { stream, allow }));
        return stream;
      };
    """
    page = talk(window(script=script))
    page.wait_for_function("() => globalThis.allow")
    page.get_by_role("button", name="leave").click()
    page.evaluate("allow()")
    page.wait_for_function("() => stream.getTracks().every((track) => track.readyState === 'ended')")
    assert page.locator("#self").is_hidden()


def test_a_visit_that_goes_on_elsewhere_can_be_taken_back(window, server):
    page = talk(window())
    server.send(protocol.Over("elsewhere", "", False))
    phase(page, "over")
    assert page.evaluate("document.activeElement.id") == "again"
    assert "goes on in another window" in page.locator("#card").inner_text()
    page.get_by_role("button", name="go on here").click()
    phase(page, "live")
    assert server.hellos[-1].visit == "visit-0"


UNTOUCHED_IS_SILENT = """
  let isTouched = false;
  addEventListener("click", () => (isTouched = true), true);
  const { resume, suspend } = AudioContext.prototype;
  const Whole = AudioContext;
  globalThis.AudioContext = class extends Whole {
    constructor(options) {
      super(options);
      if (!isTouched) suspend.call(this);
    }
    resume() {
      return isTouched ? resume.call(this) : new Promise(() => {});
    }
  };
"""
"""What browsers do whose visitors have clicked nothing on the page as it was loaded now."""


def test_after_a_reload_pictures_come_at_once_and_sound_with_a_click(window, server):
    page = talk(window(script=UNTOUCHED_IS_SILENT))
    server.wait_for(protocol.Played, lambda m: m.audio >= 0)
    page.reload(wait_until="domcontentloaded")
    page.get_by_role("button", name="Turn the sound on").wait_for()
    server.forget()
    server.wait_for(protocol.Played, lambda m: m.shown > 3 and m.audio == -1)
    page.get_by_role("button", name="Turn the sound on").click()
    server.wait_for(protocol.Played, lambda m: m.audio >= 0 and m.shown > 0)
    assert page.get_by_role("button", name="Turn the sound on").is_hidden()
