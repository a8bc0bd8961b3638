"""Attackers: scripts of strangers. Each runs as `python -m attackers.NAME` with this folder's parent on the
path, reads one JSON object on standard input and prints `{"succeeded": bool, "evidence": str}`.

They use the standard library alone (`sqlcipher3` when it is there), know public documents (the DICOM
standard, `docs/formats.md`) and whatever the JSON object says they stole. Nothing of Ribcage is imported.
"""
