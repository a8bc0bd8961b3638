"""Which handler does what: the literal table of `Do`, for the walker."""

from __future__ import annotations

from typing import Final

from ribcage.usage.deid import codes, content, handlers
from ribcage.usage.deid.plan import Do
from ribcage.usage.deid.private import private
from ribcage.usage.deid.walker import Handler, Handling, Walker

_HANDLERS: Final[dict[Do, Handler]] = {
    Do.EMPTY: handlers.empty,
    Do.DUMMY: handlers.replace,
    Do.KEEP: handlers.keep,
    Do.WALK: Walker.walk,
    Do.NUMBER: handlers.number,
    Do.TERMS: handlers.terms,
    Do.TEXT: handlers.text,
    Do.WORDS: handlers.words,
    Do.TECHNICAL: handlers.technical,
    Do.AGE: handlers.age,
    Do.MOMENT: handlers.moment,
    Do.SHIFT: handlers.shift,
    Do.UID: handlers.uid,
    Do.UID_KEEP: handlers.uid_kept,
    Do.TITLE: handlers.title,
    Do.NAME: handlers.gone,
    Do.ID: handlers.gone,
    Do.PIXELS: handlers.gone,
    Do.CHARSET: handlers.charset,
    Do.DOCUMENT: handlers.document,
    Do.CONTENT: lambda walker, element, _, charset: content.items(walker, element, charset),
    Do.CONTENT_DUMMY: lambda walker, element, _, __: content.stand_in(walker, element),
    Do.GRAPHIC_DUMMY: lambda walker, element, _, charset: content.bare_graphics(walker, element, charset),
    Do.CODES_DUMMY: lambda walker, element, _, __: walker.rebuilt(element, [codes.removed(element)]),
}
HANDLING: Final = Handling(tuple(_HANDLERS.get(do, handlers.gone) for do in Do), codes.edits, private)
