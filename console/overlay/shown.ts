/**
 * Whether OHIF shows what it was asked for, as a function of what was heard. No clock, no page: `now` is given, in seconds.
 *
 * Rules, in order:
 * 1. A viewport shows its picture when a new image came into it. That it was drawn says nothing: an empty one is drawn too.
 * 2. A viewport that was asked for a picture has failed `SETTLE_SECONDS` after it was ready without one, or after the archive
 *    refused a frame; without either, after `PATIENCE_SECONDS`.
 * 3. A page on which nothing was ever shown has failed `PATIENCE_SECONDS` after the archive's last answer about the study.
 * 4. Why is what the archive refused last; where it refused nothing, the browser could not read what it got.
 */

export type Why = "needsFactor" | "noPicture" | "unknownSyntax" | "damaged" | "notGiven";

export interface Shown {
  due: ReadonlyMap<object, number>; // viewports without the picture that they were asked for, and when that is a failure
  drawn: boolean; // anything, ever
  answered: number; // when the archive last answered, 0 never
  refusal: Why | null;
}

export type Sign =
  | { kind: "asked" | "ready" | "image" | "drawn" | "gone"; viewport: object }
  | Answer;

export type About = "frames" | "rendered" | "others";

interface Answer {
  kind: "answer";
  about: About;
  status: number;
  stepUp: boolean;
}

export const SETTLE_SECONDS = 2;
export const PATIENCE_SECONDS = 25; // a slow browser reads OHIF meanwhile

export const NOTHING_YET: Shown = { due: new Map(), drawn: false, answered: 0, refusal: null };

export function see(shown: Shown, sign: Sign, now: number): Shown {
  const due = new Map(shown.due);
  switch (sign.kind) {
    case "asked":
      return { ...shown, due: due.set(sign.viewport, now + PATIENCE_SECONDS) };
    case "ready":
      return due.has(sign.viewport) ? { ...shown, due: sooner(due, now, sign.viewport) } : shown;
    case "image":
      due.delete(sign.viewport);
      return { ...shown, due, drawn: true, refusal: null };
    case "drawn":
      return due.has(sign.viewport) ? shown : { ...shown, drawn: true };
    case "gone":
      due.delete(sign.viewport);
      return { ...shown, due };
    case "answer": {
      const refusal = refused(sign);
      const failing = refusal !== null && sign.about === "frames" ? sooner(due, now, ...due.keys()) : due;
      return { ...shown, due: failing, answered: now, refusal: refusal ?? shown.refusal };
    }
  }
}

/** Why there is no picture, null while there is one or may still be; `text`: something else than a picture is to be read. */
export function whyNot(shown: Shown, now: number, text: boolean): Why | null {
  if ([...shown.due.values()].some((due) => now >= due)) return shown.refusal ?? "damaged";
  const over = shown.answered > 0 && now >= shown.answered + PATIENCE_SECONDS;
  return over && !shown.drawn && !text && shown.due.size === 0 ? (shown.refusal ?? "noPicture") : null;
}

function sooner(due: Map<object, number>, now: number, ...viewports: object[]): Map<object, number> {
  for (const each of viewports) due.set(each, Math.min(due.get(each) ?? Infinity, now + SETTLE_SECONDS));
  return due;
}

function refused({ status, about, stepUp }: Answer): Why | null {
  if (status === 403 && stepUp) return "needsFactor";
  if (about === "others" || (status >= 200 && status < 400) || status === 401 || status === 403) return null; // a cover says those
  if (status === 404) return "noPicture";
  if (status === 406 || status === 415) return "unknownSyntax";
  return status === 422 ? "damaged" : "notGiven";
}
