"""English words as a speaker of another language says them: spelled so that its rules read them nearly right.

espeak-ng reads with the sounds of one language. A German voice that is given "thrie" says what many Germans say: the
strangest users that synthesis without recordings can make, and strange users are what a model learns to understand
strangers from.
"""

from __future__ import annotations

from .words import ANSWERS, ASIDES, CLOSING, COLOURS, DIGITS

_WORDS = (*DIGITS, *COLOURS, *ANSWERS, "okay", CLOSING, *ASIDES)

_SPELLED = {
    "de": "siero wan tuh thrie foor faif sicks ssewen eht nain redd grien blu jelloh jess noh okeh plihs "
    "koffi lehter mandeh windoh",
    "fr": "zirau ouanne tou srî faure faïve sixe sèveune éïte naïne rède grîne blou yélau yesse nau okè plize "
    "coffi léteur mandé ouindau",
    "es": "síro uan tu tri for faiv siks seven eit nain red grin blu yelo yes nou oquei plis cofi léiter mandei uindo",
    "it": "siro uan tu tri for faiv sics seven eit nain red grin blu iello ies nou ochei plis "
    "coffi léiter màndei uindo",
    "pl": "ziro łan tu tri for fajw syks sewen ejt najn red grin blu jeloł jes noł okej plis kofi lejter mandej łindoł",
    "nl": "ziero wan toe srie foor faif siks seven eet nain red grien bloe jello jes noo okee plies "
    "koffie leeter mandee windoo",
    "ru": "зи́роу уан ту сри фор файв сикс сэвэн эйт найн рэд грин блу йе́лоу йес но́у окей плис "
    "кофи лэйтэр мандэй уиндоу",
    "tr": "ziro van tu tri for fayv siks sevın eyt nayn red grin blu yelo yes no okey pliz kofi leytır mandey vindo",
    "hi": "ज़ीरो वन टू थ्री फ़ोर फ़ाइव सिक्स सेवन एट नाइन रेड ग्रीन ब्लू येलो येस नो ओके प्लीज़ कॉफ़ी लेटर मंडे विंडो",
}

SPELLED: dict[str, dict[str, str]] = {
    language: dict(zip(_WORDS, text.split(), strict=True)) for language, text in _SPELLED.items()
}
"""By language as espeak-ng names it, then by word; what is not there is said as it is written."""
