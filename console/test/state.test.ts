import { describe, expect, it } from "vitest";
import type { Session, View } from "../shared/api";
import { asksAgain, lapsed, LAPSE_SECONDS, left, START, step, UNREACHABLE_AFTER, type Heard, type State } from "../overlay/state";

const session = (until: number): Session => ({
  username: "li", display_name: "Li", roles: [], assurance: until ? 2 : 1, second_factor_until: until, expires_at: 9e9,
});
const answer = (status: number, view: View | null = null, unchecked = false, stepUp = false): Heard => ({ kind: "image-answer", status, view, unchecked, stepUp });
const after = (...heard: Heard[]): State => heard.reduce(step, START);

describe("cover", () => {
  it("what has no masked view does not cover the rest, and covers a full view that fell", () => {
    const refused = answer(403, null, false, true);
    expect(after(answer(200, "masked"), refused).cover).toBe(null);
    expect(after(refused)).toMatchObject({ cover: null, view: "masked" });
    expect(after(answer(200, "full"), refused).cover).toBe("lapsed");
    expect(after(answer(200, "masked"), answer(403)).cover).toBe("revoked");
  });

  it("a session that has ended is never lifted", () => {
    for (const end of [{ kind: "session-ended" }, { kind: "refused", status: 401 }, answer(401)] as Heard[]) {
      const state = after(answer(200, "full"), end, { kind: "session", session: session(9e9) }, answer(200, "full"));
      expect(state.cover).toBe("ended");
    }
  });
  it("a study refused from the start was not revoked", () => {
    expect(after(answer(403)).cover).toBe("refused");
  });
  it("a refusal after a picture, or no view any more, is a revocation", () => {
    expect(after(answer(200, "masked"), answer(403)).cover).toBe("revoked");
    expect(after(answer(200, "full"), { kind: "view-now", view: "none" }).cover).toBe("revoked");
  });
  it("a full record on the screen is covered when the archive would mask it now", () => {
    expect(after(answer(200, "full"), { kind: "view-now", view: "masked" }).cover).toBe("lapsed");
    expect(after(answer(200, "full"), answer(200, "masked")).cover).toBe("lapsed");
    expect(after(answer(200, "full"), { kind: "view-now", view: "full" }).cover).toBeNull();
    expect(after(answer(200, "masked"), { kind: "view-now", view: "full" }).cover).toBeNull();
  });
  it("an archive that does not answer covers, and uncovers when it does", () => {
    const silence: Heard[] = Array.from({ length: UNREACHABLE_AFTER }, () => ({ kind: "refused", status: 503 }));
    expect(after(...silence.slice(1)).cover).toBeNull();
    const covered = after(...silence);
    expect(covered.cover).toBe("unreachable");
    expect(step(covered, { kind: "session", session: session(0) }).cover).toBeNull();
  });
  it("silence does not lift another cover", () => {
    const silence: Heard[] = Array.from({ length: UNREACHABLE_AFTER }, () => ({ kind: "refused", status: 0 }));
    const state = after(answer(200, "masked"), answer(403), ...silence, { kind: "session", session: session(0) });
    expect(state.cover).toBe("revoked");
  });
});

describe("view", () => {
  it("is what the archive named, and unchecked pixels stay marked", () => {
    const state = after(answer(200, "masked", true), answer(404), answer(200, "masked"));
    expect(state.view).toBe("masked");
    expect(state.pixelsUnchecked).toBe(true);
  });
  it("asks again only for a full record whose second factor ran out", () => {
    const shown = after({ kind: "session", session: session(100) }, answer(200, "full"));
    expect(lapsed(shown, 99)).toBe(false);
    expect(lapsed(shown, 100)).toBe(true);
    expect(lapsed(after({ kind: "session", session: session(0) }, answer(200, "masked")), 100)).toBe(false);
  });
  it("asks each second after the second factor ran out, then now and then, as an assigned reader keeps the full record", () => {
    const shown = after({ kind: "session", session: session(100) }, answer(200, "full"));
    expect([99, 100, 101, 100 + LAPSE_SECONDS - 1].map((each) => asksAgain(shown, each))).toEqual([false, true, true, true]);
    expect(asksAgain(shown, 100 + LAPSE_SECONDS + 1)).toBe(false);
    expect(asksAgain(shown, 100 + 4 * LAPSE_SECONDS + 0.5)).toBe(true);
  });
  it("counts down", () => {
    expect(left(1000, 39.5)).toBe("16:00");
    expect(left(65.9, 0)).toBe("1:05");
    expect(left(5, 5)).toBe("");
  });
});
