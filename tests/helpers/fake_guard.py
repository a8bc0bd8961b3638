"""A guard in memory with real keys: enough of the protocol for the two doors, with levers for attacks."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ribcage.crypto.derive import object_key
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused, ProtocolFailure


class FakeGuard:
    """Implements `ribcage.storage.ports.Guard`. `requests` has what was asked; `answer` overrides one kind."""

    def __init__(self) -> None:
        self.requests: list[p.Request] = []
        self.observe: Callable[[p.Request], None] = lambda request: None
        self.view: p.View = "full"
        self.expires_at = float("inf")
        self.committed: dict[bytes, tuple[p.Admit, p.Admitted, p.Commit]] = {}
        self._pending: dict[bytes, tuple[p.Admit | None, p.Admitted]] = {}
        self._given_ahead: set[bytes] = set()
        self._overrides: dict[type, p.Response | Exception] = {}
        self._study_key = os.urandom(32)
        self._hospital = os.urandom(16)
        self._key_id = os.urandom(16)

    def answer(self, kind: type, response: p.Response | Exception) -> None:
        """Answer every request of this kind with `response`, or raise it."""
        self._overrides[kind] = response

    async def call(self, request: p.Request, expected: type[Any]) -> Any:
        answer = await self.ask(request)
        if not isinstance(answer, expected):
            raise ProtocolFailure(f"expected {expected.__name__}, got {type(answer).__name__}")
        return answer

    async def ask(self, request: p.Request) -> p.Response:
        self.requests.append(request)
        self.observe(request)
        forced = self._overrides.get(type(request))
        if isinstance(forced, Exception):
            raise forced
        if forced is not None:
            return forced
        return getattr(self, f"_{type(request).__name__}")(request)

    def _keys(self, object_id: bytes) -> tuple[bytes, bytes]:
        return tuple(
            object_key(
                self._study_key,
                hospital=self._hospital,
                key_id=self._key_id,
                object_id=object_id,
                stream=stream,
            )
            for stream in (1, 2)
        )

    def give_ahead(self) -> p.Admitted:
        """Keys for an instance that is not known yet."""
        given = self._Admit(None)
        self._given_ahead.add(given.admission)
        return given

    def forget_ahead(self) -> None:
        """As when the lease has ended."""
        for admission in self._given_ahead:
            self._pending.pop(admission, None)

    def _Admit(self, request: p.Admit | None) -> p.Admitted:
        object_id, admission = os.urandom(16), os.urandom(16)
        header, bulk = self._keys(object_id)
        admitted = p.Admitted(admission, object_id, self._key_id, 1, self._hospital, header, bulk, 1)
        self._pending[admission] = (request, admitted)
        return admitted

    def _Commit(self, request: p.Commit) -> p.Response:
        if request.admission not in self._pending:
            raise GuardRefused("invalid")
        admit, admitted = self._pending.pop(request.admission)
        admit = request.admit or admit
        self.committed[admitted.object_id] = (admit, admitted, request)
        return p.Committed(len(self.committed), False)

    def _Disclose(self, request: p.Disclose) -> p.Response:
        instances = [self._reference(object_id) for object_id in self.committed]
        return p.Disclosed(
            os.urandom(16), b"receipt", self.view, request.purpose, self.expires_at, 7, 1.0, instances
        )

    def _reference(self, object_id: bytes) -> p.InstanceRef:
        admit, _, commit = self.committed[object_id]
        a = admit.attributes
        return p.InstanceRef(
            object_id, a.sop_class_uid, a.sop_instance_uid, a.series_instance_uid, admit.transfer_syntax_uid,
            admit.data_set_bytes, commit.prefix_bytes,
        )  # fmt: skip

    def _Open(self, request: p.Open) -> p.Response:
        return p.Opened([self._opened(object_id) for object_id in request.object_ids])

    def _opened(self, object_id: bytes) -> p.OpenedObject:
        admit, admitted, commit = self.committed[object_id]
        return p.OpenedObject(
            object_id=object_id,
            location=commit.location,
            header_key=admitted.header_key,
            bulk_key=admitted.bulk_key,
            algorithm=1,
            key_id=self._key_id,
            epoch=1,
            hospital=self._hospital,
            header_plain_bytes=commit.header_plain_bytes,
            bulk_plain_bytes=commit.bulk_plain_bytes,
            header_sealed_bytes=commit.header_sealed_bytes,
            bulk_sealed_bytes=commit.bulk_sealed_bytes,
            prefix_bytes=commit.prefix_bytes,
            data_set_sha256=admit.data_set_sha256,
            sop_class_uid=admit.attributes.sop_class_uid,
            sop_instance_uid=admit.attributes.sop_instance_uid,
            transfer_syntax_uid=admit.transfer_syntax_uid,
        )

    def _CheckDisclosure(self, request: p.CheckDisclosure) -> p.Response:
        return p.DisclosureChecked(True)

    def _DisclosureClosed(self, request: p.DisclosureClosed) -> p.Response:
        return p.Noted()
