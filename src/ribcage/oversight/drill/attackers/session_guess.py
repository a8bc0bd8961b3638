"""Guess a session: neighbours of our own, counters, and our own with a bit turned."""

from __future__ import annotations

from .kit import Brief, Result, enter, fetch_study, run

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def attack(brief: Brief) -> Result:
    """Succeeds when a session that was never given to us opens the study."""
    name, own = enter(brief, brief["person"])
    guesses = [str(number) for number in range(1, 20)]
    if own.isdigit():
        guesses += [str(int(own) + step) for step in range(-20, 20) if step]
    else:
        for place in range(0, len(own), max(1, len(own) // 24)):
            other = _ALPHABET[(_ALPHABET.find(own[place]) + 1) % len(_ALPHABET)]
            guesses.append(own[:place] + other + own[place + 1 :])
    guesses += ["", "A" * len(own), own[:-1], own + "A"]
    for count, guess in enumerate(guess for guess in guesses if guess != own):
        if b"DICM" in fetch_study(brief, (name, guess)).body:
            return Result(True, f"guess {count + 1} opened the study")
    return Result(False, f"{len(guesses)} guesses opened nothing")


if __name__ == "__main__":
    run(attack)
