"""Pixels are decoded and rendered in caged worker processes: no network, no files, little memory, little time."""
