"""DICOM upper layer over mutual TLS: sockets around the sans-IO association of `ribcage.dicom`."""
