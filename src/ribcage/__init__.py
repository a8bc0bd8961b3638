"""Ribcage: a medical-image archive that stays shut. See ARCHITECTURE.md for the house and its floors."""

__version__ = "0.1.0"
