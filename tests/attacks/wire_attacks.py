"""Attacks over the network beside the drill's: from a page of another site, from a registered modality gone bad.

Each gets a running archive and tells whether it succeeded. What it uses is what its attacker has: addresses, a
cookie in a browser, or a device's certificate.
"""

from __future__ import annotations

import socket
import ssl
import struct
from dataclasses import asdict, replace
from typing import Any

from ribcage.cli.drill import Ground
from ribcage.oversight.drill.attackers import dicom, kit
from ribcage.oversight.studies import make_study

_SEED = 4711
_FLOOD_BYTES = 8 << 20
_SEQUENCE, _SEQUENCE_END = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff", b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
_ITEM, _ITEM_END = b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\xfe\xff\x0d\xe0\x00\x00\x00\x00"
_DEPTH = 100


def _brief(ground: Ground) -> dict[str, Any]:
    return ground.holdings().brief("device")


def foreign_page(ground: Ground) -> bool:
    """A page of another site logs the doctor out with the browser's cookie."""
    cookie = ground.open_session()
    held = (cookie.name, cookie.value)
    headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    kit.ask(_brief(ground), "POST", "/api/logout", body=b"", headers=headers, cookie=held)
    return kit.ask(_brief(ground), "GET", "/api/session", cookie=held).status == 401


def measured_answers(ground: Ground) -> bool:
    """Whoever sees only lengths has the doctor's browser ask for lists that are compressed (BREACH)."""
    cookie = ground.open_session()
    headers = {"Accept-Encoding": "gzip", "Sec-Fetch-Site": "same-origin"}
    held = (cookie.name, cookie.value)
    answer = kit.ask(_brief(ground), "GET", "/dicom-web/studies", headers=headers, cookie=held)
    return answer.headers.get("content-encoding") == "gzip"


def program_in_the_preamble(ground: Ground) -> bool:
    """A modality uploads a film that is a Windows program as well (CVE-2019-11687)."""
    film = make_study(_SEED, 1).file
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + b"MZ" + film[2:] + b"\r\n--x--\r\n"
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}
    pair = asdict(ground.device)
    answer = kit.ask(
        _brief(ground), "POST", "/dicom-web/studies", body=body, headers=headers, certificate=pair
    )
    return answer.status == 200


def _store(ground: Ground, film: dicom.File) -> bool:
    pair = asdict(ground.device)
    try:
        association = dicom.open_association(
            _brief(ground), ground.device.ae, [(film.sop_class, film.syntax)], pair
        )
        status = association.store(film)
        association.release()
    except (OSError, kit.GaveUp):
        return False
    return status == 0


def another_instance(ground: Ground) -> bool:
    """The command names one instance, the data set is another."""
    return _store(ground, replace(dicom.split_file(make_study(_SEED, 2).file), sop_instance="2.25.666"))


def deep_nesting(ground: Ground) -> bool:
    """A well-formed film, nested deeper than readers behind the archive can be expected to follow."""
    film = dicom.split_file(make_study(_SEED, 3).file)
    nest = (_SEQUENCE + _ITEM) * _DEPTH + (_ITEM_END + _SEQUENCE_END) * _DEPTH
    at = _after_group_8(film.data)
    return _store(ground, replace(film, data=film.data[:at] + nest + film.data[at:]))


def _after_group_8(data: bytes) -> int:
    """Where (0008,1140) belongs among the elements of an explicit VR little endian data set."""
    at = 0
    while struct.unpack_from("<HH", data, at) < (0x0008, 0x1140):
        long = data[at + 4 : at + 6] in (b"SQ", b"OB", b"OW", b"UN", b"UT")
        length = struct.unpack_from("<I" if long else "<H", data, at + (8 if long else 6))[0]
        at += (12 if long else 8) + int(length)
    return at


def endless_pdu(ground: Ground) -> bool:
    """A modality announces an association request of half a gigabyte, and eight megabytes of it are taken."""
    stream = dicom.connect(_brief(ground), asdict(ground.device))
    try:
        stream.sendall(b"\x01\x00" + struct.pack(">I", 512 << 20))
        for _ in range(_FLOOD_BYTES >> 16):
            stream.sendall(bytes(1 << 16))
        stream.settimeout(1)
        stream.recv(1)
    except TimeoutError:
        return True  # it waits for the rest
    except OSError:
        return False
    else:
        return False  # A-ABORT, or closed
    finally:
        stream.close()


def static_rsa(ground: Ground) -> bool:
    """TLS 1.2 with a key exchange that whoever gets the server's key later reads backwards."""
    context = kit.tls_context(_brief(ground)["ca"], ground.device.certificate, ground.device.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES256-GCM-SHA384")
    try:
        with socket.create_connection((ground.dicom.host, ground.dicom.port), timeout=8) as plain:
            context.wrap_socket(plain).close()
    except OSError:
        return False
    return True
