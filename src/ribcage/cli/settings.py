"""Settings: limits and addresses of one home, read from `settings.toml`, validated once.

No setting switches a defence off (DESIGN rule 3).
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from ribcage.cli.errors import UsageError
from ribcage.guard.durable import make_folder, write_file
from ribcage.guard.limits import GuardLimits, Sees
from ribcage.transfer.errors import SettingsRefused
from ribcage.transfer.limits import ListenAddress, OldPacs, check_addresses

_MAX_FRONTS = 64
_MOST_REVERSIBLE_DAYS = 365
_LEAST_FACTOR_SECONDS, _MOST_FACTOR_SECONDS = 10, 900
_LEAST_RESERVE_MIB = 4
_MOST_JOBS = 100_000
_MOST_TRIES = 1000
_LEAST_CHECK_SECONDS, _MOST_CHECK_SECONDS = 10, 86_400
_MOST_GRACE_HOURS = 720
_MOST_REPORT_DAYS = 365


class Listen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the archive listens. `public` names addresses that may be reachable from outside, on purpose."""

    dicom_address: str = "127.0.0.1"
    dicom_port: int = 2762
    https_address: str = "127.0.0.1"
    https_port: int = 8443
    hl7_address: str = ""
    hl7_port: int = 2575
    public: list[str] = []


class Shield(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The PACS that this home is a shield before; none where `pacs_address` is ''. `isolated`: on an interface of its
    own that nobody else reaches. `department`: of what the PACS held before."""

    pacs_address: str = ""
    pacs_port: int = 4242
    pacs_ae_title: str = "ORTHANC"
    calling_ae_title: str = "RIBCAGE"
    isolated: bool = False
    department: str = "radiology"

    def pacs(self) -> OldPacs | None:
        """As fronts are told."""
        if not self.pacs_address:
            return None
        names = self.pacs_ae_title, self.calling_ae_title
        return OldPacs(self.pacs_address, self.pacs_port, *names, self.isolated)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One home's settings. `demo` homes listen on loopback alone and may take a passphrase by environment."""

    hospital: str = "Hospital"
    hostnames: list[str] = []
    called_ae_titles: list[str] = msgspec.field(default_factory=lambda: ["RIBCAGE"])
    fronts: int = 2
    second_factor_seconds: int = 900
    destruction_reversible_days: int = 7
    disk_stop_mib: int = 512
    disk_reserve_mib: int = 16
    patient_sees: Sees = "names"
    public_destinations: list[str] = []
    queue_jobs: int = 10_000
    queue_tries: int = 12
    queue_first_seconds: float = 10.0
    queue_most_seconds: float = 3600.0
    queue_lease_seconds: float = 60.0
    exposure_check_seconds: int = 3600
    own_authorities: list[str] = []
    care_grace_hours: float = 24.0
    care_report_days: float = 30.0
    demo: bool = False
    listen: Listen = Listen()
    shield: Shield = Shield()

    def addresses(self) -> tuple[ListenAddress, ...]:
        """The listeners; HL7's where it has an address."""
        listen = self.listen
        hl7 = (ListenAddress("hl7", listen.hl7_address, listen.hl7_port),) if listen.hl7_address else ()
        return (
            ListenAddress("dicom", listen.dicom_address, listen.dicom_port),
            ListenAddress("https", listen.https_address, listen.https_port),
            *hl7,
        )

    def guard_limits(self) -> GuardLimits:
        """The guard's limits of this home."""
        return GuardLimits(
            second_factor_seconds=self.second_factor_seconds,
            destruction_reversible_days=self.destruction_reversible_days,
            disk_stop_mib=self.disk_stop_mib,
            disk_reserve_mib=self.disk_reserve_mib,
            patient_sees=self.patient_sees,
            public_destinations=tuple(self.public_destinations),
            queue_jobs=self.queue_jobs,
            queue_tries=self.queue_tries,
            queue_first_seconds=self.queue_first_seconds,
            queue_most_seconds=self.queue_most_seconds,
            queue_lease_seconds=self.queue_lease_seconds,
            care_grace_hours=self.care_grace_hours,
            care_report_days=self.care_report_days,
            web_name=self.hostnames[0] if self.hostnames else "localhost",
            web_port=self.listen.https_port,
            shield_department=self.shield.department if self.shield.pacs_address else "",
        )

    def validate(self) -> None:
        """Cross-check. Raises UsageError; unsafe combinations refuse to start."""
        if not 1 <= self.fronts <= _MAX_FRONTS:
            raise UsageError(f"fronts: expected 1 to {_MAX_FRONTS}, got {self.fronts}")
        if not _LEAST_FACTOR_SECONDS <= self.second_factor_seconds <= _MOST_FACTOR_SECONDS:
            allowed = f"{_LEAST_FACTOR_SECONDS} to {_MOST_FACTOR_SECONDS}"
            raise UsageError(f"second_factor_seconds: expected {allowed}, got {self.second_factor_seconds}")
        if not 1 <= self.destruction_reversible_days <= _MOST_REVERSIBLE_DAYS:
            days = self.destruction_reversible_days
            raise UsageError(
                f"destruction_reversible_days: expected 1 to {_MOST_REVERSIBLE_DAYS}, got {days}"
            )
        if self.disk_reserve_mib < _LEAST_RESERVE_MIB or self.disk_stop_mib < 2 * self.disk_reserve_mib:
            raise UsageError(
                f"disk_reserve_mib: expected {_LEAST_RESERVE_MIB} or more, and disk_stop_mib at least twice as much",
                "the log needs room of its own when everything else is full",
            )
        self._validate_queue()
        if not _LEAST_CHECK_SECONDS <= self.exposure_check_seconds <= _MOST_CHECK_SECONDS:
            allowed = f"{_LEAST_CHECK_SECONDS} to {_MOST_CHECK_SECONDS}"
            raise UsageError(f"exposure_check_seconds: expected {allowed}, got {self.exposure_check_seconds}")
        for name, most in (("care_grace_hours", _MOST_GRACE_HOURS), ("care_report_days", _MOST_REPORT_DAYS)):
            if not 0 <= getattr(self, name) <= most:
                raise UsageError(f"{name}: expected 0 to {most}, got {getattr(self, name):g}")
        titles = [*self.called_ae_titles, self.shield.pacs_ae_title, self.shield.calling_ae_title]
        if not self.called_ae_titles or any(
            not 0 < len(t) <= 16 or not t.isascii() or "\\" in t for t in titles
        ):
            raise UsageError("called_ae_titles, shield: expected AE titles of 1 to 16 ASCII characters")
        if not self.shield.department:
            raise UsageError("shield: expected the name of a department", 'department = "radiology"')
        try:
            check_addresses(self.addresses(), frozenset(self.listen.public))
            if (pacs := self.shield.pacs()) is not None:
                pacs.check()
        except SettingsRefused as refused:
            raise UsageError(str(refused)) from refused
        if self.demo and any(not each.address.startswith(("127.", "::1")) for each in self.addresses()):
            raise UsageError("a demo home listens on loopback alone: make a real home with `ribcage init`")

    def _validate_queue(self) -> None:
        if not 1 <= self.queue_jobs <= _MOST_JOBS or not 1 <= self.queue_tries <= _MOST_TRIES:
            raise UsageError(
                f"queue_jobs, queue_tries: expected 1 to {_MOST_JOBS} and 1 to {_MOST_TRIES}, "
                f"got {self.queue_jobs} and {self.queue_tries}"
            )
        if not 0 < self.queue_first_seconds <= self.queue_most_seconds or self.queue_lease_seconds < 1:
            raise UsageError(
                "queue_first_seconds: expected more than 0 and at most queue_most_seconds; "
                "queue_lease_seconds: expected 1 or more"
            )


def load(home: Path) -> Settings:
    """Read and validate `HOME/settings.toml`. Raises UsageError."""
    path = home / "settings.toml"
    try:
        settings = msgspec.convert(tomllib.loads(path.read_text()), Settings)
    except FileNotFoundError:
        raise UsageError(f"{home} is not a Ribcage home", f"ribcage init --home {home}") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as failure:
        raise UsageError(f"{path}: {failure}", "compare it with docs/operations.md") from failure
    settings.validate()
    return settings


def save(home: Path, settings: Settings) -> None:
    """Write a new home's settings, durably. Raises UsageError when they do not hold."""
    settings.validate()
    lines = [
        "# Ribcage settings: addresses and names. Nothing here switches a defence off.",
        f"hospital = {_toml(settings.hospital)}",
        f"hostnames = {_toml(settings.hostnames)}",
        f"called_ae_titles = {_toml(settings.called_ae_titles)}",
        f"fronts = {settings.fronts}",
        f"second_factor_seconds = {settings.second_factor_seconds}",
        f"destruction_reversible_days = {settings.destruction_reversible_days}",
        f"disk_stop_mib = {settings.disk_stop_mib}",
        f"disk_reserve_mib = {settings.disk_reserve_mib}",
        f"patient_sees = {_toml(settings.patient_sees)}",
        f"public_destinations = {_toml(settings.public_destinations)}",
        f"queue_jobs = {settings.queue_jobs}",
        f"queue_tries = {settings.queue_tries}",
        f"queue_first_seconds = {settings.queue_first_seconds}",
        f"queue_most_seconds = {settings.queue_most_seconds}",
        f"queue_lease_seconds = {settings.queue_lease_seconds}",
        f"exposure_check_seconds = {settings.exposure_check_seconds}",
        f"own_authorities = {_toml(settings.own_authorities)}",
        f"care_grace_hours = {settings.care_grace_hours}",
        f"care_report_days = {settings.care_report_days}",
        f"demo = {_toml(settings.demo)}",
        "",
        "[listen]",
        *_table(settings.listen),
        *(("", "[shield]", *_table(settings.shield)) if settings.shield.pacs_address else ()),
    ]
    make_folder(home)
    write_file(home / "settings.toml", ("\n".join(lines) + "\n").encode())


def _table(values: msgspec.Struct) -> list[str]:
    return [f"{name} = {_toml(getattr(values, name))}" for name in values.__struct_fields__]


def _toml(value: object) -> str:
    """JSON is TOML for the strings, numbers, booleans and lists used here."""
    return msgspec.json.encode(value).decode()
