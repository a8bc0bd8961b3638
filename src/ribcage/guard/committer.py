"""The group committer: one thread, one writer, one fsync for everybody who waits.

Rules, in order:
1. A unit of work runs inside a savepoint; a unit that raises leaves nothing behind.
2. New key wraps are durable before the database refers to them.
3. Answers are given only after COMMIT has returned (DESIGN rule 2).
4. When COMMIT fails, every unit of the batch fails with GuardUnavailable; the tree does not advance. A COMMIT in
   doubt is answered to nobody: the process ends (`guard.doubt`).
5. The thread never dies alone: without it everybody would wait for ever. Its end is the process's end.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from ribcage.database.prepared import Prepared, driver
from ribcage.database.schema import log_leaf
from ribcage.guard.doubt import committing, end_process
from ribcage.guard.errors import GuardUnavailable
from ribcage.guard.log import AuditLog, Draft
from ribcage.guard.tally import Spread

_T = TypeVar("_T")
_BATCH_UNITS = 512
_ENTRY_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_SECOND_BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_ADD_LEAF = Prepared(sa.insert(log_leaf), ["number", "leaf_data", "sealed"])
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_WORDS = ("SQLITE_FULL", "disk is full")


class Transaction:
    """What a unit of work may do: statements on `connection`, and `append` for its audit entries."""

    def __init__(self, connection: sa.Connection, log: AuditLog) -> None:
        self.connection = connection
        self._log = log
        self._first = log.size
        self.drafts: list[Draft] = []

    def append(self, body: bytes) -> int:
        """Add an audit entry to this transaction; returns its number in the log."""
        number = self._first + len(self.drafts)
        self.drafts.append(self._log.draft(number, body))
        return number

    @property
    def newest(self) -> int:
        """Number of the entry appended last."""
        return self._first + len(self.drafts) - 1

    def leaf_data(self, number: int) -> bytes:
        """Leaf data of an entry appended in this transaction."""
        return self.drafts[number - self._first].leaf_data


@dataclass
class _Unit(Generic[_T]):
    write: Callable[[Transaction], _T]
    future: asyncio.Future[_T]
    loop: asyncio.AbstractEventLoop
    result: _T | None = None
    error: BaseException | None = None

    def settle(self) -> None:
        """Runs on the loop of the caller."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]  # set when error is None


class Committer:
    """Runs units of work in groups on its own thread."""

    def __init__(
        self,
        engine: sa.Engine,
        log: AuditLog,
        flush_keys: Callable[[], object],
        on_full: Callable[[], bool] = lambda: False,
        on_end: Callable[[bool], None] = lambda _taken: None,
    ) -> None:
        """`on_full` is called when a commit found no room; True: room was made, the batch is tried once more.

        `on_end` is told of each commit whether the disk took it. Both are called on the committer's thread.
        """
        self._engine = engine
        self._log = log
        self._flush_keys = flush_keys
        self._on_full = on_full
        self._on_end = on_end
        self._queue: queue.Queue[_Unit[Any] | None] = queue.Queue()
        self._stopped = False
        self.entries, self.seconds = (
            Spread(_ENTRY_BOUNDS),
            Spread(_SECOND_BOUNDS),
        )  # written by the thread alone
        self._thread = threading.Thread(target=self._work, name="committer", daemon=True)
        self._thread.start()

    async def run(self, write: Callable[[Transaction], _T]) -> _T:
        """Run `write` in the next transaction; returns after it is durable.

        Raises what `write` raised (nothing of it is kept), or GuardUnavailable when COMMIT failed.
        """
        if self._stopped:
            raise GuardUnavailable("the guard is stopping")
        loop = asyncio.get_running_loop()
        unit = _Unit(write, loop.create_future(), loop)
        self._queue.put(unit)
        result: _T = await unit.future
        return result

    def stop(self) -> None:
        """Commit what waits and end the thread."""
        self._stopped = True
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        try:
            with self._engine.connect() as connection:
                while batch := self._gather():
                    self._commit(connection, batch)
                    for unit in batch:
                        with contextlib.suppress(RuntimeError):  # the caller's loop is closed: nobody waits
                            unit.loop.call_soon_threadsafe(unit.settle)
        except BaseException as failure:  # noqa: BLE001 - the thread's edge (rule 5)
            end_process(f"the committer failed ({type(failure).__name__})")

    def _gather(self) -> list[_Unit[Any]]:
        first = self._queue.get()
        if first is None:
            return []
        batch = [first]
        while len(batch) < _BATCH_UNITS:
            try:
                unit = self._queue.get_nowait()
            except queue.Empty:
                break
            if unit is None:
                self._queue.put(None)
                break
            batch.append(unit)
        return batch

    def _commit(self, connection: sa.Connection, batch: list[_Unit[Any]], *, again: bool = True) -> None:
        transaction = Transaction(connection, self._log)
        try:
            link = driver(connection)
            link.execute("BEGIN IMMEDIATE")
            for unit in batch:
                self._run_unit(transaction, unit)
            if transaction.drafts:
                _ADD_LEAF.write_all(connection, [draft.row() for draft in transaction.drafts])
            self._log.write_tiles(connection)
            self._flush_keys()
            begun = time.monotonic()
            with committing():
                link.execute("COMMIT")
                connection.commit()
            self.seconds.add(time.monotonic() - begun)
        except Exception as failure:  # noqa: BLE001 - the thread's edge: whatever failed, nobody is told yes
            _roll_back(connection)
            if again and _is_full(failure) and self._on_full():
                for unit in batch:
                    unit.error = None
                self._commit(connection, batch, again=False)
                return
            for unit in batch:
                unit.error = unit.error or GuardUnavailable(f"not durable: {type(failure).__name__}")
            self._on_end(False)
            return
        self._log.advance(draft.leaf_data for draft in transaction.drafts)
        if transaction.drafts:
            self.entries.add(len(transaction.drafts))
        self._on_end(True)

    def _run_unit(self, transaction: Transaction, unit: _Unit[Any]) -> None:
        mark = len(transaction.drafts)
        link = driver(transaction.connection)
        link.execute("SAVEPOINT unit")
        try:
            unit.result = unit.write(transaction)
        except Exception as failure:
            if _is_full(failure):
                raise  # SQLite may have undone more than this unit: the whole batch is tried again, or fails
            del transaction.drafts[mark:]
            unit.error = failure
            link.execute("ROLLBACK TO unit")
        link.execute("RELEASE unit")


def _is_full(failure: BaseException | None) -> bool:
    """Whether no room was left: of the database, of the key store, or of a file."""
    while failure is not None:
        if getattr(failure, "errno", None) in _FULL or any(word in str(failure) for word in _FULL_WORDS):
            return True
        failure = failure.__cause__ or getattr(failure, "orig", None)
    return False


def _roll_back(connection: sa.Connection) -> None:
    try:
        connection.exec_driver_sql("ROLLBACK")
    except sa.exc.SQLAlchemyError:
        connection.invalidate()  # the pool opens a fresh one for the next batch
    connection.rollback()
