"""Plain HTML without script: log-in, own session, search form, results. Bilingual; every value is escaped.

Results stand on the page as the guard masked them. The search is a POST, so that names never enter a URL, a
history or a Referer.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from ribcage.guard.protocol import Person, Record

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;color:#123}"
    "label{display:block;margin:.5rem 0}input{font:inherit;padding:.3rem;width:18rem;max-width:100%}"
    "button{font:inherit;padding:.3rem 1rem}table{border-collapse:collapse;width:100%}"
    "td,th{border-bottom:1px solid #cde;padding:.3rem;text-align:left}.warn{color:#a00}form{margin:1rem 0}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
PAGE_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
SEARCH_FIELDS: Final[Mapping[str, str]] = {
    "PatientName": "姓名 Patient name",
    "PatientID": "患者编号 Patient ID",
    "AccessionNumber": "检查号 Accession number",
    "StudyDate": "检查日期 Study date",
}
_COLUMNS: Final[Mapping[str, str]] = {
    "PatientName": "姓名 Name",
    "PatientID": "患者编号 ID",
    "StudyDate": "日期 Date",
    "ModalitiesInStudy": "设备 Modality",
    "StudyDescription": "说明 Description",
    "NumberOfStudyRelatedInstances": "实例 Instances",
}


def login_page(warning: str = "") -> str:
    """The log-in form."""
    return _page(
        "登录 Log in",
        _warning(warning)
        + '<form method="post" action="/login">'
        + _input("username", "用户名 Username", "text", "username")
        + _input("password", "密码 Password", "password", "current-password")
        + "<button>登录 Log in</button></form>",
    )


def step_up_page(warning: str = "") -> str:
    """The second factor's form."""
    return _page(
        "二次认证 Second factor",
        _warning(warning)
        + '<form method="post" action="/step-up">'
        + _input("code", "动态口令 One-time code", "text", "one-time-code")
        + "<button>确认 Confirm</button></form>",
    )


def home_page(
    person: Person,
    values: Mapping[str, str] | None = None,
    records: Sequence[Record] | None = None,
    more: bool = False,
) -> str:
    """The session's own state, the search form and, after a search, its results."""
    given = values or {}
    fields = "".join(
        _input(name, label, "text", "off", given.get(name, "")) for name, label in SEARCH_FIELDS.items()
    )
    return _page(
        "影像 Images",
        _session(person)
        + f'<form method="post" action="/search">{fields}<button>查询 Search</button></form>'
        + ("" if records is None else _results(records, more)),
    )


def message_page(title: str, text: str) -> str:
    """A short message, for errors."""
    return _page(title, _warning(text) + '<p><a href="/">返回 Back</a></p>')


def _session(person: Person) -> str:
    factor = (
        f"二次认证有效至 Second factor until {_time(person.second_factor_until)}"
        if person.assurance >= 2
        else '<a href="/step-up">二次认证 Prove second factor</a>'
    )
    return (
        f"<p>{escape(person.display_name)} ({escape(', '.join(person.roles))}) · {factor} · "
        f"会话至 Session until {_time(person.expires_at)}</p>"
        '<form method="post" action="/logout"><button>退出 Log out</button></form>'
    )


def _results(records: Sequence[Record], more: bool) -> str:
    head = "".join(f"<th>{label}</th>" for label in _COLUMNS.values())
    rows = "".join(_row(record) for record in records)
    note = "<p>还有更多结果，请缩小范围。There are more results; narrow the search.</p>" if more else ""
    return f"<table><tr>{head}<th>视图 View</th><th></th></tr>{rows}</table>{note}"


def _row(record: Record) -> str:
    cells = "".join(f"<td>{escape(_text(record.attributes.get(name, '')))}</td>" for name in _COLUMNS)
    study = escape(_text(record.attributes.get("StudyInstanceUID", "")), quote=True)
    link = f'<a href="/studies/{study}/download">下载 Download</a>' if record.view != "none" and study else ""
    return f"<tr>{cells}<td>{escape(record.view)}</td><td>{link}</td></tr>"


def _text(value: str | int | list[str]) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _warning(text: str) -> str:
    return f'<p class="warn" role="alert">{escape(text)}</p>' if text else ""


def _input(name: str, label: str, kind: str, complete: str, value: str = "") -> str:
    return (
        f'<label>{escape(label)}<br><input name="{name}" type="{kind}" autocomplete="{complete}" '
        f'maxlength="128" value="{escape(value, quote=True)}"></label>'
    )


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="zh"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Ribcage · {escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>Ribcage · {escape(title)}</h1>{body}</body></html>"
    )
