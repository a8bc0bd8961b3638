"""The edge: a small process beside a modality that cannot speak TLS, with a home of its own (docs/adr/0018).

`home` its keys, `spool` what waits, `intake` the way into it, `service` DICOM, `forward` the way to the archive.
"""
