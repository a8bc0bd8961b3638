"""Errors of the edge's own home.

EdgeError
├── EdgeHomeUnusable   missing, damaged, of a newer format, not enrolled, or in use
├── ListenRefused      an address that others could reach
└── SpoolFull          no room for another film: the modality is told A700
"""

from __future__ import annotations


class EdgeError(Exception):
    """Base of everything this room raises; the message says what to do."""


class EdgeHomeUnusable(EdgeError):
    """The edge's home cannot be created or opened."""


class ListenRefused(EdgeError):
    """Plain DICOM listens on loopback or on one interface that was named as isolated, and nowhere else."""


class SpoolFull(EdgeError):
    """The spool's bound is reached, or the disk has too little left."""
