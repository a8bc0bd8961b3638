"""Shared helpers: a stored tree, and a log with its signed head."""

import hashlib

import pytest

from ribcage.evidence.checkpoint import CheckpointSigner, log_origin
from ribcage.evidence.leaf import make_leaf
from ribcage.evidence.merkle import CompactRange, inclusion_path

HOSPITAL = bytes(range(16))


class StoredTree:
    """Keeps every full subtree in memory, as the database does, and knows how to attack itself."""

    def __init__(self):
        self.range = CompactRange()
        self.nodes = {}

    def append(self, leaf):
        for level, index, node in self.range.append_nodes(leaf):
            assert (level, index) not in self.nodes
            self.nodes[level, index] = node

    def read(self, level, index):
        return self.nodes[level, index]


class Log:
    """A log of opened entries."""

    def __init__(self, entries):
        self.tree = StoredTree()
        self.signer = CheckpointSigner(log_origin(HOSPITAL), hashlib.sha256(b"test log").digest())
        self.entries = []
        for body in entries:
            salt = hashlib.sha256(b"salt of " + body).digest()
            self.entries.append((body, salt))
            self.tree.append(make_leaf(body, salt)[1])

    @property
    def size(self):
        return self.tree.range.size

    def head(self):
        return self.signer.sign(self.size, self.tree.range.root())

    def path(self, index):
        return inclusion_path(self.tree.read, index, self.size)


@pytest.fixture(scope="session")
def make_log():
    return Log
