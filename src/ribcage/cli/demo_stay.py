"""The demonstration's end: the server stays up, with addresses, a way to log in and a patient's invitation."""

from __future__ import annotations

import os
import signal
import sys
import threading
import webbrowser
from collections.abc import Sequence

import segno

from ribcage.cli.demo_browser import viewer_is_built
from ribcage.cli.demo_screens import Cast
from ribcage.oversight.story import Teller

_LOOK_SECONDS = 1.0
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def stay(cast: Cast | None, lines: Sequence[str], teller: Teller, *, browser: bool) -> None:
    """Until SIGINT or SIGTERM; the twins are gone by now. `browser`: open the person's own one."""
    teller.act("The server stays up; Ctrl-C ends it and removes everything", "服务器保持运行，按 Ctrl-C 结束")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: ended.set())
    for line in lines:
        teller.line(f"  {line}")
    if cast is not None and viewer_is_built():
        _invite(cast, teller)
        if not (browser and _open(f"{cast.base}/app/")):
            teller.line(f"  open {cast.base}/app/ in a browser on this machine 请在本机浏览器打开")
    while not ended.wait(_LOOK_SECONDS):
        pass


def _invite(cast: Cast, teller: Teller) -> None:
    """The patient's link, drawn too; and what the browser will say of the certificate."""
    invitation = cast.invite()
    teller.line(
        f"  the patient 患者 (once 一次): {invitation.address}   birth date 出生日期 {invitation.birth_date}"
    )
    if sys.stdout.isatty():
        segno.make(invitation.address, error="m", micro=False).terminal(compact=True)
    teller.line(
        "  The home listens on this machine alone: the link opens here, not on a telephone. 仅限本机打开"
    )
    teller.line(
        "  The browser will warn: the certificate is of a throw-away authority. Choose Advanced, Proceed to "
        "localhost. 浏览器会警告证书：选择“高级”，继续前往 localhost。"
    )
    authority = cast.ground.folder / "devices" / "ca.crt"
    teller.line(
        f"  For passkeys and a fast second opening let the browser trust {authority} instead, "
        "and remove it afterwards."
    )


def _open(address: str) -> bool:
    """In the person's own browser, where there is a screen to show it on."""
    if sys.platform == "linux" and not any(os.environ.get(name) for name in _DISPLAYS):
        return False
    try:
        return webbrowser.open(address)
    except webbrowser.Error:
        return False
