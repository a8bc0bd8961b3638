"""The error tree of the de-identification room.

DeidError
├── ProfileInvalid   a profile file or an option that cannot be understood
├── ProjectInvalid   the project's folder or key cannot be used
├── ArchiveRefused   a ZIP file that is not read (`usage.deid.zipped`)
└── NotReleased      one instance stays inside; `reason` says why, the message names no value
"""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """Why an instance was not released. The value is the text for people, English and Chinese."""

    NO_DICOM = "no DICOM file 不是 DICOM 文件"
    TOO_LARGE = "beyond a limit of size or count 超出大小或数量限制"
    MALFORMED = "truncated or not well formed 被截断或格式错误"
    CONTRADICTORY = "the file contradicts itself 文件内容自相矛盾"
    IDENTITY_MISSING = "no usable SOP Instance, Series or Study Instance UID 缺少有效的实例、序列或检查 UID"
    CLASS_UNKNOWN = "no rule for this SOP class 该 SOP 类没有规则"
    DOCUMENT = "an encapsulated document or sound cannot be cleaned 无法清理封装文档或声音"
    BURNED_IN_TEXT = "the pixels may carry text and were not read 像素可能含有文字且未经识别"
    TEXT_IN_PIXELS = "the pixels carry text 像素含有文字"
    VISUAL_FEATURES = "recognisable features in the pixels were not removed 像素中可识别特征未去除"
    CODESTREAM = "compressed pixels that cannot be followed 无法解析的压缩像素"
    PIXEL_LAYOUT = "pixels that do not fit their description 像素与描述不符"
    NO_SAFE_VALUE = "an attribute that must stand has no safe value 必需的属性没有安全的取值"
    MIXED_PATIENTS = "one study with several patients 同一检查含有多名患者"
    DUPLICATE = "another file has the same SOP Instance UID 另一文件有相同的 SOP 实例 UID"
    ARCHIVE = "a ZIP file that is damaged, encrypted, too large or made to harm 压缩包损坏、加密、过大或有害"
    UNREADABLE = "the file cannot be read 文件无法读取"


class DeidError(Exception):
    """Base of what this room raises. `hint` says what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ProfileInvalid(DeidError):
    """A profile or option that cannot be understood, or options that exclude each other."""


class ProjectInvalid(DeidError):
    """The project's folder or key cannot be used."""


class NotReleased(DeidError):
    """Unknown is denied: this instance is not released (DESIGN rule 7)."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason
