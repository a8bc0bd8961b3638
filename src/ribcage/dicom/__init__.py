"""The DICOM format, sans-IO: PDUs, DIMSE messages, association state, scanner, rewriter, tables."""
