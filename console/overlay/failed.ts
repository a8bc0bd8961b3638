/**
 * A short text where OHIF shows no picture, with what to do next: instead of a black screen that stays.
 *
 * Rules, in order:
 * 1. It takes no click beside its own buttons, can be reached and put away by keyboard, and is read out when it comes.
 * 2. It goes when a picture comes, and stands below the cover.
 * 3. It names nothing of patient or picture.
 */

import type { Word } from "../shared/words";
import { NOTHING_YET, see, whyNot, type Shown, type Sign, type Why } from "./shown";

const SIGNS = {
  CORNERSTONE_PRE_STACK_NEW_IMAGE: "asked",
  CORNERSTONE_VIEWPORT_NEW_IMAGE_SET: "ready",
  CORNERSTONE_STACK_NEW_IMAGE: "image",
  CORNERSTONE_VOLUME_NEW_IMAGE: "image",
  CORNERSTONE_IMAGE_RENDERED: "drawn",
} as const;
const LEAST_LETTERS = 2; // of a report in the grid of viewports

/** What the text's buttons do. */
export interface Ways {
  t: (word: Word) => string;
  prove: () => void; // the second factor
}

/** Watches OHIF and says what it does not show. */
export class Failed {
  readonly box = document.createElement("div");
  private shown: Shown = NOTHING_YET;
  private said: Why | null = null;
  private closed: Why | null = null; // what was put away stays so until another picture is asked for

  constructor(private readonly ways: Ways) {
    this.box.className = "rc-failed";
    this.box.setAttribute("role", "alert");
    // Keys pressed here are no shortcuts of OHIF's.
    for (const kind of ["keydown", "keyup", "keypress"]) this.box.addEventListener(kind, (event) => event.stopPropagation());
    // Cornerstone tells an element of its own, without bubbling: it is heard on the way down.
    for (const [name, kind] of Object.entries(SIGNS))
      document.addEventListener(name, (event) => event.target && this.hear({ kind, viewport: event.target }), { capture: true });
  }

  hear(sign: Sign): void {
    this.shown = see(this.shown, sign, performance.now() / 1000);
    if (sign.kind === "asked") this.closed = null;
    if (sign.kind === "image") this.look();
  }

  /** Another study is opened: nothing is said of the one before. */
  forget(): void {
    this.shown = NOTHING_YET;
    this.closed = null;
    this.look();
  }

  /** Once a second, and when a picture came. */
  look(): void {
    for (const viewport of this.shown.due.keys())
      if (!(viewport as Element).isConnected) this.hear({ kind: "gone", viewport });
    const found = whyNot(this.shown, performance.now() / 1000, reads());
    const why = found === this.closed ? null : found;
    if (why === this.said) return;
    this.said = why;
    this.box.replaceChildren(...(why === null ? [] : this.texts(why)));
  }

  private texts(why: Why): HTMLElement[] {
    const text = document.createElement("p");
    text.textContent = this.ways.t(why);
    const made: HTMLElement[] = [text];
    if (why === "needsFactor") made.push(this.button("rc-full", "showFull", this.ways.prove));
    else if (why !== "noPicture") made.push(this.button("rc-plain", "reload", () => location.reload()));
    made.push(this.button("rc-plain", "hide", () => this.close(why)));
    return made;
  }

  private close(why: Why): void {
    this.closed = why;
    this.look();
  }

  private button(name: string, word: Word, act: () => void): HTMLButtonElement {
    const made = document.createElement("button");
    made.className = name;
    made.textContent = this.ways.t(word);
    made.onclick = act;
    return made;
  }
}

/** Whether a report or the like is to be read where pictures stand. */
function reads(): boolean {
  const grid = document.querySelector<HTMLElement>('[data-cy="viewport-grid"]');
  return (grid?.innerText.trim().length ?? 0) >= LEAST_LETTERS;
}
