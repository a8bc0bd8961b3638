"""`ribcage deid check`: released files against their originals, by somebody who does not believe the engine.

Written from PS3.15 Annex E (2026d). It shares no code with `ribcage.usage` and none with `ribcage.dicom` (an import
contract holds it): it reads with pydicom, and the raw bytes beside it.
"""
