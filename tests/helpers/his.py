"""A hospital information system for tests: messages written by hand, and a sender over TLS."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime

from ribcage.guard import protocol as p


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%d%H%M%S+0000")


class Writer:
    """Writes messages with control ids of its own."""

    def __init__(self, prefix: str = "M") -> None:
        self._prefix = prefix
        self._count = 0

    def header(self, kind: str, at: float, *, control: str = "", charset: str = "", modes: str = "") -> str:
        self._count += 1
        control = control or f"{self._prefix}{self._count}"
        accept, _, application = modes.partition(",")
        fields = ["MSH", "^~\\&", "HIS", "WARD", "RIBCAGE", "", stamp(at), "", kind, control, "P", "2.5"]
        fields += ["", "", accept, application, "", charset]
        return "|".join(fields)

    def adt(
        self,
        event: str,
        patient: str,
        visit: str,
        at: float,
        *,
        ward: str = "",
        staff: Iterable[str] = (),
        **more: str,
    ) -> str:
        doctors = [*staff, "", "", ""]
        pv1 = ["PV1", "1", more.pop("patient_class", "I"), f"{ward}^12^A", "", "", "", f"{doctors[0]}^Muster"]
        pv1 += [doctors[1], doctors[2]] + [""] * 9 + [visit]
        name = more.pop("name", "Muster^Erika")
        return self.lines(
            self.header(f"ADT^{event}", at, **more),
            f"EVN|{event}|{stamp(at)}",
            f"PID|1||{_cx(patient)}||{name}||19600102|F",
            "|".join(pv1),
        )

    def merge(self, former: str, into: str, at: float) -> str:
        return self.lines(
            self.header("ADT^A40", at),
            f"EVN|A40|{stamp(at)}",
            f"PID|1||{_cx(into)}||Muster^Erika||19600102|F",
            f"MRG|{_cx(former)}",
        )

    def staff(self, number: str, shifts: Iterable[tuple[str, float, float]], at: float) -> str:
        orgs = [
            f"ORG|{n}|{ward}|||||||{stamp(begin)}^{stamp(end)}"
            for n, (ward, begin, end) in enumerate(shifts, 1)
        ]
        return self.lines(self.header("PMU^B02", at), f"EVN|B02|{stamp(at)}", f"STF|{number}|{number}", *orgs)

    def order(
        self,
        control: str,
        patient: str,
        number: str,
        at: float,
        *,
        department: str = "",
        reader: str = "",
        by: str = "",
        **more: str,
    ) -> str:
        orc = ["ORC", control, number, "", "", more.get("status", "")] + [""] * 6 + [by]
        obr = (
            ["OBR", "1", number, "", "CT1^Thorax^L"]
            + [""] * 11
            + [f"{by}^Busch^Ada", "", f"ACC{number}", f"RP{number}", f"SPS{number}"]
        )
        obr += [""] * 3 + [department, more.get("result", "")] + [""] * 6 + [reader]
        return self.lines(
            self.header("ORM^O01", at),
            f"PID|1||{_cx(patient)}||Muster^Erika||19600102|F",
            "|".join(orc),
            "|".join(obr),
        )

    @staticmethod
    def lines(*segments: str) -> str:
        return "\r".join(segments) + "\r"


def _cx(patient: str) -> str:
    """'ID' or 'ID|ISSUER' as CX."""
    identifier, _, issuer = patient.partition("|")
    return f"{identifier}^^^{issuer}^MR"


class Engine:
    """One connection of the information system."""

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext) -> None:
        raw = socket.create_connection(address, timeout=20)
        self._sock = context.wrap_socket(raw, server_hostname="localhost")
        self._left = b""

    def close(self) -> None:
        self._sock.close()

    def send(self, message: str | bytes) -> None:
        data = message.encode() if isinstance(message, str) else message
        self._sock.sendall(b"\x0b" + data + b"\x1c\r")

    def read(self) -> str:
        """The next answer. Raises ConnectionError when the archive hung up."""
        while b"\x1c\r" not in self._left:
            more = self._sock.recv(65536)
            if not more:
                raise ConnectionError("the archive hung up")
            self._left += more
        answer, _, self._left = self._left.partition(b"\x1c\r")
        return answer.lstrip(b"\x0b").decode("ascii")

    def tell(self, message: str | bytes) -> str:
        """Send and wait; the code of MSA-1."""
        self.send(message)
        return code_of(self.read())


def code_of(answer: str) -> str:
    lines = [line.split("|") for line in answer.split("\r") if line]
    return next(line[1] for line in lines if line[0] == "MSA")


def told(text: str, device: p.Device, own: frozenset[str] = frozenset()) -> p.TakeCare:
    """What a front makes of a message."""
    from ribcage.transfer.hl7.limits import Hl7Limits
    from ribcage.transfer.hl7.message import parse
    from ribcage.transfer.hl7.told import told as as_told

    return as_told(parse(text, Hl7Limits()), device, own)
