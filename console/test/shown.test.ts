import { describe, expect, it } from "vitest";
import { NOTHING_YET, PATIENCE_SECONDS, see, SETTLE_SECONDS, whyNot, type Shown, type Sign } from "../overlay/shown";

const one = {};
const two = {};
const of = (kind: "asked" | "ready" | "image" | "drawn" | "gone", viewport = one): Sign => ({ kind, viewport });
const answer = (status: number, about: "frames" | "rendered" | "others" = "frames", stepUp = false): Sign => ({ kind: "answer", about, status, stepUp });
const after = (...signs: Sign[]): Shown => signs.reduce((shown, sign) => see(shown, sign, 100), NOTHING_YET);

describe("a viewport", () => {
  it("that is drawn without an image is empty, and says so soon after it was ready", () => {
    const empty = after(answer(200), of("asked"), of("drawn"), of("ready"), of("drawn"));
    expect(whyNot(empty, 100 + SETTLE_SECONDS - 0.1, true)).toBeNull();
    expect(whyNot(empty, 100 + SETTLE_SECONDS, true)).toBe("damaged");
  });
  it("with its image says nothing, whatever was refused before", () => {
    expect(whyNot(after(of("asked"), answer(422), of("image"), of("ready"), of("drawn")), 9e9, true)).toBeNull();
  });
  it("waits for a slow archive, not for ever", () => {
    const waiting = after(answer(200), of("asked"), of("drawn"));
    expect(whyNot(waiting, 100 + PATIENCE_SECONDS - 0.1, false)).toBeNull();
    expect(whyNot(waiting, 100 + PATIENCE_SECONDS, false)).toBe("damaged");
  });
  it("fails while another shows its picture, and is forgotten when it goes", () => {
    const half = after(of("asked"), of("image"), of("asked", two), of("ready", two));
    expect(whyNot(half, 200, true)).toBe("damaged");
    expect(whyNot(see(half, of("gone", two), 100), 200, true)).toBeNull();
  });
});

describe("why", () => {
  it.each([
    [404, "noPicture"], [406, "unknownSyntax"], [415, "unknownSyntax"], [422, "damaged"], [429, "notGiven"], [500, "notGiven"], [503, "notGiven"],
  ])("a frame refused with %i is said soon", (status, why) => {
    expect(whyNot(after(of("asked"), answer(status)), 100 + SETTLE_SECONDS, true)).toBe(why);
  });
  it("what the masked view refuses offers the second factor, and hurries no other picture", () => {
    expect(whyNot(after(of("asked"), answer(403, "frames", true)), 100 + SETTLE_SECONDS, true)).toBe("needsFactor");
    expect(whyNot(after(of("asked"), answer(403, "others", true)), 100 + SETTLE_SECONDS, true)).toBeNull();
    expect(whyNot(after(answer(403, "others", true)), 100 + PATIENCE_SECONDS, false)).toBe("needsFactor");
  });
  it("a session or right that ended is said by the cover", () => {
    for (const status of [401, 403]) expect(after(of("asked"), answer(status)).refusal).toBeNull();
  });
  it("a preview that the archive could not draw hurries nothing", () => {
    expect(whyNot(after(of("asked"), answer(503, "rendered")), 100 + SETTLE_SECONDS, true)).toBeNull();
  });
});

describe("a page", () => {
  it("that shows nothing at all says so after the archive's last answer", () => {
    const silent = after(answer(200, "others"));
    expect(whyNot(silent, 100 + PATIENCE_SECONDS, false)).toBe("noPicture");
    expect(whyNot(see(silent, answer(200, "others"), 110), 100 + PATIENCE_SECONDS, false)).toBeNull();
  });
  it("with a report to read, a curve that was drawn, or no answer yet says nothing", () => {
    expect(whyNot(after(answer(200, "others")), 9e9, true)).toBeNull();
    expect(whyNot(after(answer(200, "others"), of("drawn")), 9e9, false)).toBeNull();
    expect(whyNot(NOTHING_YET, 9e9, false)).toBeNull();
  });
});
