"""Errors of the DICOMweb room; the HTTP answer follows from the class, never from the text.

    WebError                  500 broken
    ├── BadRequest            400 invalid
    │   └── MultipartMalformed
    ├── Unauthenticated       401 not_authenticated
    ├── NotPermitted          403 not_permitted
    │   ├── StepUpNeeded      403 second_factor_needed, with X-Ribcage-Step-Up
    │   └── ForeignOrigin     403 foreign_origin
    ├── NotFound              404 not_found
    ├── MethodRefused         405 method_not_allowed, with Allow
    │   └── DeletionRefused
    ├── NotAcceptable         406 not_acceptable
    ├── TooSlow               408 timeout
    ├── Conflicting           409 conflict
    ├── TooLarge              413 too_large
    ├── UnsupportedMedia      415 unsupported_media_type
    ├── RangeUnsatisfiable    416 range_not_satisfiable
    ├── Unreadable            422 unreadable_pixels
    ├── Throttled             429 throttled
    │   └── GlassTooOften     429 too_many
    ├── Unavailable           503 unavailable
    └── StorageExhausted      507 storage_full
    ClientGone                the peer went away or stopped reading: nobody is left to answer

The body is JSON `{error, hint}`; both are constants of the class, so no personal data can be in them. 406 and 415
add `offered`: media types of closed lists (RFC 9110 15.5.7, 15.5.16).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final

from ribcage.guard.errors import GuardError, GuardRefused, GuardUnavailable, ProtocolFailure
from ribcage.guard.protocol import RefusalReason

_RETRY_SECONDS: Final = "5"


class WebError(Exception):
    """Base: `status` RFC 9110, `code` for programs, `hint` for people in English and Chinese."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "broken"
    hint: ClassVar[str] = "Try again; tell the administrator if it stays. 请重试；若仍失败请联系管理员。"
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, text: str = "", offered: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.offered = offered


class BadRequest(WebError):
    """The request is malformed: a parameter, header or body that PS3.18 does not permit here."""

    status = 400
    code = "invalid"
    hint = "Check the address, the parameters and the body. 请检查地址、参数和内容。"


class MultipartMalformed(BadRequest):
    """A body that is not multipart as RFC 2046 and RFC 2387 define it."""

    hint = "The body is not well-formed multipart/related. 请求体不是合法的 multipart/related。"


class Unauthenticated(WebError):
    """Neither a live session nor a registered certificate (DESIGN rule 3)."""

    status = 401
    code = "not_authenticated"
    hint = "Log in or use a registered certificate. 请登录，或使用已登记的证书。"
    headers: Mapping[str, str] = MappingProxyType({"WWW-Authenticate": 'Ribcage realm="ribcage"'})


class NotPermitted(WebError):
    """Authenticated, but neither grant nor role allows it."""

    status = 403
    code = "not_permitted"
    hint = "No grant allows this; ask the custodian. 没有授权允许此操作，请联系保管医院。"


class StepUpNeeded(NotPermitted):
    """A grant would allow it after a second factor."""

    code = "second_factor_needed"
    hint = "Prove your second factor and repeat. 请完成二次认证后重试。"
    headers: Mapping[str, str] = MappingProxyType({"X-Ribcage-Step-Up": "totp"})


class ForeignOrigin(NotPermitted):
    """A browser sent the request on behalf of another site."""

    code = "foreign_origin"
    hint = "Open the page of this archive and repeat there. 请在本系统页面内操作。"


class NotFound(WebError):
    """Nothing there; also said when existence must not be revealed."""

    status = 404
    code = "not_found"
    hint = "Nothing is found at this address. 此地址没有内容。"


class MethodRefused(WebError):
    """The resource does not know the method."""

    status = 405
    code = "method_not_allowed"
    hint = "This method is not allowed here. 此处不允许该方法。"


class DeletionRefused(MethodRefused):
    """DELETE: a peer destroys nothing; destruction takes two operators and leaves a certificate."""

    hint = "Images are never deleted this way; ask the custodian. 不能以此方式删除影像，请联系保管医院。"


class NotAcceptable(WebError):
    """None of the acceptable media types and transfer syntaxes can be given (PS3.18 8.7)."""

    status = 406
    code = "not_acceptable"
    hint = "Ask for transfer-syntax=* to get objects as stored. 请使用 transfer-syntax=* 按存储格式获取。"


class TooSlow(WebError):
    """The body did not arrive in time."""

    status = 408
    code = "timeout"
    hint = "The request did not arrive in time. 请求未在时限内到达。"


class Conflicting(WebError):
    """Well-formed, but nothing of it could be stored (PS3.18 10.5.3)."""

    status = 409
    code = "conflict"
    hint = "Nothing was stored; see the failure reasons. 未存储任何实例，请查看失败原因。"


class TooLarge(WebError):
    """Body or part beyond the configured limit."""

    status = 413
    code = "too_large"
    hint = "The body is larger than the limit; send fewer instances. 内容超过上限，请减少实例数量。"


class UnsupportedMedia(WebError):
    """A Content-Type that is not accepted here."""

    status = 415
    code = "unsupported_media_type"
    hint = 'Send multipart/related; type="application/dicom". 请使用 multipart/related 发送 DICOM 文件。'


class RangeUnsatisfiable(WebError):
    """A Range that lies outside of what is there (RFC 9110 14.4)."""

    status = 416
    code = "range_not_satisfiable"
    hint = "The range lies outside of the content. 请求的范围超出内容。"


class Unreadable(WebError):
    """The stored pixels cannot be read or made into a picture; the instance itself is as it came."""

    status = 422
    code = "unreadable_pixels"
    hint = "These pixels cannot be shown; retrieve the instance instead. 无法显示此图像，请下载原始实例。"


class Throttled(WebError):
    """Too many attempts."""

    status = 429
    code = "throttled"
    hint = "Too many attempts; wait a moment. 尝试过于频繁，请稍候。"
    headers: Mapping[str, str] = MappingProxyType({"Retry-After": "30"})


class GlassTooOften(Throttled):
    """One person broke the glass too often in a day."""

    code = "too_many"
    hint = (
        "You used break-glass too often today; ask the officer for a grant. "
        "今日紧急访问次数已达上限，请联系安全管理员申请授权。"
    )


class Unavailable(WebError):
    """The guard cannot answer, so the answer is no for now (DESIGN rule 5)."""

    status = 503
    code = "unavailable"
    hint = "The archive cannot decide right now; try again shortly. 系统暂时无法判定，请稍后重试。"
    headers: Mapping[str, str] = MappingProxyType({"Retry-After": _RETRY_SECONDS})


class StorageExhausted(WebError):
    """No space left; nothing was kept."""

    status = 507
    code = "storage_full"
    hint = "The archive has no space left; tell the administrator. 存储空间不足，请联系管理员。"


class ClientGone(Exception):
    """The peer closed the connection or stopped reading."""


_BY_REASON: Final[Mapping[RefusalReason, type[WebError]]] = {
    "not_authenticated": Unauthenticated,
    "not_permitted": NotPermitted,
    "second_factor_needed": StepUpNeeded,
    "not_found": NotFound,
    "conflict": Conflicting,
    "invalid": BadRequest,
    "unavailable": Unavailable,
    "throttled": Throttled,
    "too_many": GlassTooOften,
    "no_space": StorageExhausted,
}
_BY_STATUS: Final[Mapping[int, type[WebError]]] = {
    error.status: error
    for error in (
        BadRequest, Unauthenticated, NotPermitted, NotFound, MethodRefused, NotAcceptable, TooSlow,
        Conflicting, TooLarge, UnsupportedMedia, RangeUnsatisfiable, Unreadable, Throttled, Unavailable,
        StorageExhausted,
    )
}  # fmt: skip


def from_guard(failure: GuardError) -> WebError:
    """The HTTP form of what the guard said. An unexpected answer counts as no answer."""
    if isinstance(failure, GuardRefused):
        error = _BY_REASON[failure.reason]()
        if failure.retry_seconds:
            error.headers = {**error.headers, "Retry-After": str(math.ceil(failure.retry_seconds))}
        return error
    if isinstance(failure, GuardUnavailable | ProtocolFailure):
        return Unavailable()
    return WebError()


def from_status(status: int) -> WebError:
    """The error of this room for an HTTP status that a lower room's error class carries."""
    return _BY_STATUS.get(status, WebError)()
