"""Acts that can happen with a user of this kind: nobody holds up cards before a camera that is off."""

from __future__ import annotations

from dataclasses import replace

from ..script import ActKind, Scenario
from .material import Material
from .scene import View

PRESS = 0.12
"""How often users press the stop button while they are answered."""
CHATTER = 0.16
"""How much chatter counts beside the other acts of a scenario, which count 1 together."""


def possible(scenario: Scenario, view: View, has_sound: bool, material: Material) -> Scenario:
    """The scenario without what could not be seen or heard, and with words that are none of the agent's business."""
    acts = dict(scenario.acts)
    unseen: list[ActKind] = [] if view.shows_gaze else ["aside", "glance"]
    if not view.shows_card:
        unseen.append("card")
    if not view.shows_hand:
        unseen.append("hand")
    for kind in unseen:
        acts.pop(kind, None)
    if not has_sound:
        acts = {kind: weight for kind, weight in acts.items() if kind in ("card", "hand", "glance")}
        acts["type"] = 1.0
    elif material.words or material.speech:
        acts["chatter"] = CHATTER * sum(acts.values())
    if not acts:
        acts = {"ask": 1.0}
    hand = scenario.hand if view.shows_hand else 0.0
    if not has_sound:
        return replace(scenario, acts=acts, hand=hand, press=PRESS, interrupt=0.0, backchannel=0.0, asks_cards=False)
    return replace(scenario, acts=acts, hand=hand, press=PRESS)
