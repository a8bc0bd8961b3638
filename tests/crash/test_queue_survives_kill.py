"""`kill -9` of the whole archive while a job is sent: it goes on where it stopped."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from helpers.archive import Archive
from helpers.front_house import CT, EXPLICIT_LE, ct_slice
from helpers.raw_scu import store
from helpers.retrieve_peers import STUDY, destination
from ribcage.crypto.authority import Issued
from ribcage.guard import protocol as p

_SECONDS = 60
