"""What this service can do, told from its own route table (PS3.18 8.9): WADL in XML, or the same as JSON.

Rules, in order:
1. Every reviewed route below the service stands here, and nothing else; media types follow from what a route gives.
2. It holds no data, and is told only to who shows a session or a certificate.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import quoteattr

from starlette.requests import Request
from starlette.responses import Response

from ribcage.transfer.dicomweb.errors import NotAcceptable
from ribcage.transfer.dicomweb.frame_types import OCTETS, TYPE_OF_SYNTAX
from ribcage.transfer.dicomweb.headers import origin_of
from ribcage.transfer.dicomweb.leaving import accept_of
from ribcage.transfer.dicomweb.negotiation import (
    DICOM,
    DICOM_JSON,
    DICOM_XML,
    FILES,
    STORED,
    XML_PARTS,
    MediaType,
)
from ribcage.transfer.dicomweb.places import SERVICE
from ribcage.transfer.dicomweb.principal import identify
from ribcage.transfer.dicomweb.qido import MATCHES
from ribcage.transfer.dicomweb.rendered import PICTURES

WADL: Final = "application/vnd.sun.wadl+xml"
JSON: Final = "application/json"
_MODELS: Final = (DICOM_JSON, JSON, XML_PARTS)
_LEVELS: Final = {"studies": "study", "series": "series", "instances": "instance"}
_PAGING: Final = ("limit", "offset", "includefield", "fuzzymatching")
_EVERYWHERE: Final = ("accept", "charset")


@dataclass(frozen=True, slots=True)
class Method:
    """One method of one resource: `path` is below the service."""

    name: str
    path: str
    gives: tuple[str, ...]
    takes: tuple[str, ...] = ()
    query: tuple[str, ...] = ()


def method_of(name: str, path: str, through: str) -> Method:
    """What a reviewed route gives and takes (rule 1)."""
    below = path.removeprefix(SERVICE).strip("/").replace(":path}", "}")
    last = below.rpartition("/")[2]
    if through == "capture.admit":
        return Method(name, below, (DICOM_JSON, DICOM_XML), STORED, _EVERYWHERE)
    if through == "Query":
        matched = sorted(next(keys for level, keys in MATCHES.items() if level == _LEVELS[last]))
        return Method(name, below, _MODELS, (), (*_EVERYWHERE, *_PAGING, *matched))
    if not through:
        return Method(name, below, (WADL, JSON))
    if last == "metadata":
        return Method(name, below, _MODELS, (), _EVERYWHERE)
    if last in ("rendered", "thumbnail"):
        return Method(name, below, tuple(PICTURES), (), ("accept", "window", "viewport", "quality"))
    if "/frames/" in below or "/bulkdata/" in below:
        return Method(name, below, (OCTETS, *sorted(set(TYPE_OF_SYNTAX.values()))), (), _EVERYWHERE)
    single = (DICOM,) if last == "{instance}" else ()
    return Method(name, below, (FILES, *single), (), _EVERYWHERE)


class CapabilitiesResource:
    """Handler of OPTIONS and GET of the service itself."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self._methods = tuple(methods)

    async def tell(self, request: Request) -> Response:
        """The capabilities description. Raises Unauthenticated, NotAcceptable."""
        identify(request)
        media_type, base = _form(accept_of(request)), origin_of(request) + SERVICE
        content = _wadl(self._methods, base) if media_type == WADL else _json(self._methods, base)
        return Response(content, headers={"Content-Type": media_type, "Allow": "GET, OPTIONS"})


def _form(entries: Iterable[MediaType]) -> str:
    for entry in entries:
        for media_type in (WADL, JSON):
            if entry.covers(media_type):
                return media_type
    raise NotAcceptable("expected WADL or JSON", (WADL, JSON))


def _wadl(methods: Iterable[Method], base: str) -> bytes:
    """W3C WADL 2009: one resource for each path, its methods inside."""
    resources: dict[str, list[str]] = {}
    for each in methods:
        takes = "".join(f"<representation mediaType={quoteattr(kind)}/>" for kind in each.takes)
        query = "".join(f'<param name={quoteattr(name)} style="query"/>' for name in each.query)
        gives = "".join(f"<representation mediaType={quoteattr(kind)}/>" for kind in each.gives)
        resources.setdefault(each.path, []).append(
            f"<method name={quoteattr(each.name)}><request>{query}{takes}</request>"
            f"<response>{gives}</response></method>"
        )
    inner = "".join(
        f"<resource path={quoteattr(path)}>{''.join(inside)}</resource>" for path, inside in resources.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<application xmlns="http://wadl.dev.java.net/2009/02">'
        f"<resources base={quoteattr(base)}>{inner}</resources></application>"
    ).encode()


def _json(methods: Iterable[Method], base: str) -> bytes:
    listed = [
        {
            "method": each.name,
            "path": each.path,
            "gives": each.gives,
            "takes": each.takes,
            "query": each.query,
        }
        for each in methods
    ]
    return json.dumps({"base": base, "resources": listed}).encode()
