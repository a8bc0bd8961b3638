"""HL7 v2 over MLLP and TLS: the hospital's information system tells who is treated where, by whom."""
