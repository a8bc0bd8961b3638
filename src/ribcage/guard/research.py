"""What the guard has for research: consents, projects, releases, and names behind pseudonyms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ribcage.guard.approvals import Approvals
from ribcage.guard.consents import Consents
from ribcage.guard.core import Core
from ribcage.guard.projects import Projects
from ribcage.guard.reidentification import Reidentifications
from ribcage.guard.releases import Releases
from ribcage.guard.rights import Rights


@dataclass(frozen=True)
class Research:
    """Its rooms."""

    consents: Consents
    projects: Projects
    releases: Releases
    reidentifications: Reidentifications


def build_research(
    core: Core, approvals: Approvals, rights: Rights, rights_changed: Callable[[], None]
) -> Research:
    """All of them."""
    return Research(
        consents=Consents(core, rights),
        projects=Projects(core, rights_changed),
        releases=Releases(core, approvals),
        reidentifications=Reidentifications(core, approvals),
    )
