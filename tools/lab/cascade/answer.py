"""Answer to a turn: the world's rule, as far as words alone carry it."""

from __future__ import annotations

from collections.abc import Sequence

from ....runtime.node import Node, Outputs, Param, Unit
from ....runtime.ports import Input, Output
from ....wan_core.text import TypedText
from ....wan_core.vocabulary import ENTER, PAD
from ..world.tokens import VOCABULARY
from ..world.words import DIGITS, answer


class Answer(Node):
    """Answer each digit with that digit plus ``rule``, whether it was said or typed.

    Anything else is left unanswered: whether a card has the colour that was named is to be seen, and so are who is
    spoken to and a raised hand.
    """

    text = Input("text", late="empty", help="the words of a turn that is over")
    typed = Input("text", late="empty", optional=True, help="what the user types")
    reply = Output("text", help="what to say, from this unit on")

    rule: int = Param(1, min=-9, max=9, help="what is added to each digit")

    def new_state(self) -> TypedText:
        """Nothing typed."""
        return TypedText(VOCABULARY)

    def step(self, state: TypedText, unit: Unit, text: str | None = None, typed: str | None = None) -> Outputs:
        """The reply to a turn or a typed line that is complete with this unit; else nothing."""
        state.type(typed or "")
        words = (text or "").split()
        if ENTER in state.waiting:
            words += [VOCABULARY.words[token] for token in state.waiting if token not in (PAD, ENTER)]
            state.waiting.clear()
        return {"reply": " ".join(answer(word, None, self.rule) for word in words if word in DIGITS) or None}

    def gap(self, state: TypedText, units: Sequence[Unit]) -> None:
        """Lost words stay unanswered."""
