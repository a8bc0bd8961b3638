"""The contract in an in-process EVM. Execution only: who may send what is checked by `embedded`.

Rules, in order (each is a trap of pyrevm 0.3.7):
1. A question runs static and inside snapshot…revert: without the second the machine's journal grows for ever.
2. Every call sets number and timestamp of the block first and has a gas limit, so it ends.
3. A trial runs inside snapshot…revert; an effective change runs outside any snapshot (`commit` leaks one).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pyrevm import EVM, BlockEnv

from ribcage.ledger.abi import revert_reason
from ribcage.ledger.artifact import Artifact
from ribcage.ledger.errors import LedgerUnavailable, Reverted
from ribcage.ledger.transactions import GAS_LIMIT

_OUTPUT = re.compile(r"\ARevert \{.*output: 0x([0-9a-f]*)", re.DOTALL)


def _hex(address: bytes) -> str:
    return "0x" + address.hex()


def _failure(error: RuntimeError) -> Reverted | LedgerUnavailable:
    match = _OUTPUT.match(str(error))
    if match is None:  # out of gas, invalid opcode…: not a refusal, a machine that cannot answer
        return LedgerUnavailable("the contract's execution halted")
    return Reverted(revert_reason(bytes.fromhex(match[1])))


class Machine:
    """One EVM. Addresses are 20 bytes; `height` and `time` (Unix seconds) are the block's."""

    def __init__(self, artifact: Artifact) -> None:
        self._evm = EVM(spec_id=artifact.evm_version.upper())

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Whatever runs inside leaves no trace."""
        checkpoint = self._evm.snapshot()
        try:
            yield
        finally:
            self._evm.revert(checkpoint)

    def create(self, sender: bytes, code: bytes, gas: int, height: int, time: int) -> bytes:
        """Create the contract and return its address. Raises Reverted or LedgerUnavailable."""
        self._evm.set_block_env(BlockEnv(number=height, timestamp=time))
        try:
            return bytes.fromhex(self._evm.deploy(_hex(sender), code, gas=gas)[2:])
        except RuntimeError as error:
            raise _failure(error) from error

    def execute(self, sender: bytes, to: bytes, data: bytes, gas: int, height: int, time: int) -> bytes:
        """Run a change. When it raises (Reverted, LedgerUnavailable) it had no effect."""
        self._evm.set_block_env(BlockEnv(number=height, timestamp=time))
        try:
            return self._evm.message_call(_hex(sender), _hex(to), data, gas=gas)
        except RuntimeError as error:
            raise _failure(error) from error

    def view(self, caller: str, to: str, data: bytes, height: int, time: int) -> bytes:
        """Ask without effect; addresses as 0x texts, for speed. Raises Reverted or LedgerUnavailable."""
        evm = self._evm
        evm.set_block_env(BlockEnv(number=height, timestamp=time))
        checkpoint = evm.snapshot()
        try:
            return evm.message_call(caller, to, data, gas=GAS_LIMIT, is_static=True)
        except RuntimeError as error:
            raise _failure(error) from error
        finally:
            evm.revert(checkpoint)

    @property
    def journal_length(self) -> int:
        """Frames the machine keeps: grows with changes, never with questions."""
        return self._evm.journal_len
