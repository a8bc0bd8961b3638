"""The README's pictures, made anew: `PYTHONPATH=tests .venv/bin/python -m peers.pictures docs/pictures`.

The film is drawn here from ellipses and arcs: no person's picture is in it, and no other file's. The identity is made
up as in the demonstration. Needs Chromium, Playwright and `make console`.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import dcmread

from ribcage.cli.demo_browser import BrowserScreens, show
from ribcage.cli.demo_screens import Cast
from ribcage.cli.drill import SEED, open_ground
from ribcage.oversight.studies import Study, make_study

SIDE = 1024
MOST_BYTES = 150_000


def main() -> int:
    """Draw, store, open, and take both pictures."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    film = phantom_film()
    with (
        tempfile.TemporaryDirectory() as profiles,
        open_ground([film, make_study(SEED, 5001)]) as ground,
        show(Cast(ground, film, "dr-li"), Path(profiles)) as screens,
    ):
        if not isinstance(screens, BrowserScreens):
            print(screens.missing, file=sys.stderr)
            return 1
        screens.open_film()
        masked = _shot(screens.desk)
        screens.prove()
        full = _shot(screens.desk)
        screens.patient_enters()
        screens.phone.get_by_role("button", name="Stop this one").first.evaluate(
            "each => each.scrollIntoView({block: 'center'})"
        )
        phone = _shot(screens.phone)
    width, height = masked.size
    both = Image.new("RGB", (2 * width + 16, height), "white")
    both.paste(masked, (0, 0))
    both.paste(full, (width + 16, 0))
    _keep(both, folder / "viewer.webp")
    _keep(phone, folder / "patient.webp")
    return 0


def phantom_film() -> Study:
    """A made-up study whose pixels are the phantom."""
    study = make_study(SEED, 4242, rows=8, columns=8)
    data = dcmread(io.BytesIO(study.file))
    data.Rows = data.Columns = SIDE
    data.PixelData = phantom().tobytes()
    data.WindowCenter, data.WindowWidth = 2048, 4096
    data.InstitutionName = "Phantom Hospital"
    packed = io.BytesIO()
    data.save_as(packed)
    return replace(study, file=packed.getvalue())


def phantom() -> np.ndarray:
    """A chest of ellipses, 12 bit, bright where there is bone: body, lungs, heart, spine, twelve pairs of ribs."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]

    def inside(cx: float, cy: float, rx: float, ry: float, soft: float = 0.08) -> np.ndarray:
        distance = np.sqrt(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2)
        return np.clip((1 - distance) / soft + 0.5, 0, 1)

    trunk = np.maximum(inside(0, 0.6, 0.82, 1.3), inside(0, -0.28, 0.96, 0.42))
    body = np.maximum(trunk, inside(0, -0.8, 0.19, 0.6))
    lungs = np.maximum(inside(-0.39, 0.1, 0.29, 0.62), inside(0.39, 0.08, 0.27, 0.6)) * trunk
    heart = inside(0.12, 0.3, 0.3, 0.28, 0.2)
    diaphragm = np.maximum(inside(-0.4, 0.85, 0.48, 0.32), inside(0.42, 0.9, 0.46, 0.32))
    film = 1900 * body - 1250 * lungs * (1 - heart) * (1 - diaphragm) + 500 * heart * lungs
    film += 700 * inside(0, 0, 0.085, 1.3, 0.3) * body * (0.8 + 0.2 * np.sign(np.sin(y * 40)))
    for number in range(10):
        top = -0.62 + number * 0.13
        for side in (-1, 1):
            along = np.clip(side * x, 0, 1)
            reach = min(0.74, 0.42 + number * 0.06)
            curve = top + 0.32 * along**2 - 0.05
            film += 330 * np.exp(-(((y - curve) / 0.02) ** 2)) * (along > 0.06) * (along < reach) * body
    for side in (-1, 1):
        film += (
            520
            * np.exp(-(((y + 0.7 - 0.16 * side * x) / 0.022) ** 2))
            * (side * x > 0.05)
            * (side * x < 0.7)
            * body
        )
    noise = np.random.default_rng(7).normal(0, 28, film.shape)
    rough = film + noise + 140
    soft = sum(np.roll(rough, (up, left), (0, 1)) for up in (-1, 0, 1) for left in (-1, 0, 1)) / 9
    return np.clip(soft, 0, 4095).astype("<u2")


def _shot(page: object) -> Image.Image:
    page.wait_for_timeout(2500)  # type: ignore[attr-defined]
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")  # type: ignore[attr-defined]


def _keep(picture: Image.Image, path: Path) -> None:
    """As large as fits into the bytes that a picture may have."""
    picture.thumbnail((1800, 1800), Image.Resampling.LANCZOS)
    for quality in range(90, 20, -5):
        with contextlib.suppress(OSError):
            picture.save(path, quality=quality, method=6)
        if path.stat().st_size < MOST_BYTES:
            return


if __name__ == "__main__":
    sys.exit(main())
