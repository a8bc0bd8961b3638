"""A doctor whose grant was taken back tries again, in the session that was open all the time."""

from __future__ import annotations

from .kit import Brief, Result, fetch_study, load_seeds, run
from .search import Search


def attack(brief: Brief) -> Result:
    """Succeeds when the study is still delivered to the old session."""
    answer = fetch_study(brief, (brief["cookie"]["name"], brief["cookie"]["value"]))
    search = Search(load_seeds(brief))
    search.feed(answer.body)
    image = b"DICM" in answer.body
    return Result(
        image or bool(search.found), f"HTTP {answer.status}; image {'still' if image else 'not'} delivered"
    )


if __name__ == "__main__":
    run(attack)
