import { describe, expect, it } from "vitest";
import { recoveryCode } from "../shared/api";
import { asEvent } from "../shared/events";
import { asDate, pick } from "../shared/language";
import { bytes, text } from "../shared/passkeys";
import { asFilters, asStudy } from "../shared/studies";
import { whyNotProved } from "../shared/words";
import { Refused } from "../shared/api";
import { listed } from "../src/app";
import { whyNot } from "../src/context";
import { PAGES } from "../src/pages";
import type { Row } from "../src/patient/api";
import { birthDate, nameOf, story, type Tell } from "../src/patient/story";
import { ALL } from "../src/words";
import { PATIENT } from "../src/words/patient";

const t: Tell = (word, value) => pick(PATIENT, word, "en", value);
const row = (given: Partial<Row>): Row => ({
  n: 7, at: 1, kind: "disclosure", by: "Li Ming", label: "AAAA-BBBB", role: "radiologist", department: "radiology", purpose: "TREAT", view: "full",
  study_date: "20250102", modality: ["DX"], break_glass: false, reason: "", ...given,
});
const told = (given: Partial<Row>): string => Object.values(story(row(given), t, "en")).join("|");

describe("texts", () => {
  it("stand in both languages, with the same places for values", () => {
    for (const [word, [english, chinese]] of [...Object.entries(ALL), ...Object.entries(PATIENT)]) {
      expect(english, word).not.toBe("");
      expect(chinese, word).not.toBe("");
      expect(english.includes("{0}"), word).toBe(chinese.includes("{0}"));
    }
  });
  it("for a patient are short", () => {
    for (const [word, [english, chinese]] of Object.entries(PATIENT)) {
      expect(english.length, word).toBeLessThan(160);
      expect(chinese.length, word).toBeLessThan(80);
    }
  });
});

describe("what a patient reads", () => {
  it("says who, what, when and what for", () => {
    expect(told({})).toBe("Li Ming · X-ray doctor|saw your X-ray (2 Jan 2025)|for your treatment, with your name");
    expect(told({ view: "masked", modality: ["CT", "SR"], purpose: "HRESCH", study_date: "" })).toBe("Li Ming · X-ray doctor|saw your CT, images|for research, without your name");
  });
  it("tells refusals, emergencies and objections apart", () => {
    expect(told({ kind: "refused" })).toContain("was refused");
    expect(told({ kind: "break-glass" })).toContain("in an emergency; this will be reviewed");
    expect(told({ kind: "break-glass", review: "unjustified" })).toContain("in an emergency|The hospital reviewed it: it was not right.");
    expect(told({ kind: "break-glass", review: "justified" })).toContain("it was right");
    expect(told({ kind: "break-glass", review: "odd" })).toContain("this will be reviewed");
    expect(told({ kind: "objection", reason: "withdrawn", role: "patient", by: "" })).toContain("You allowed it again");
    expect(told({ kind: "access", reason: "wrong-birth-date" })).toContain("wrong date of birth");
    expect(told({ kind: "consent", reason: "given", purpose: "HRESCH", view: "" })).toBe("|The hospital wrote down that you agree: for research|");
    expect(told({ kind: "consent", reason: "withdrawn", purpose: "HRESCH", view: "" })).toContain("no longer agree: for research");
    expect(told({ kind: "research", reason: "released" })).toContain("gave your images to research, without your name");
    expect(told({ kind: "research", reason: "named" })).toContain("two people had to agree");
  });
  it("says what became of the record, each in words of its own", () => {
    const reasons = ["merge", "move", "split", "correct", "undo", "filed", "hidden", "shown-again", "asked"];
    const said = reasons.map((reason) => told({ kind: "identity", reason, by: "Wang", role: "administrator" }));
    expect(said[5]).toBe("|An image that was in doubt became part of your record|");
    expect(said[6]).toBe("|Images that are not to be used were put aside|");
    expect(said[7]).toBe("|Images that were put aside may be used again|");
    expect(new Set(said).size).toBe(reasons.length);
    expect(said.join()).not.toContain("Something else");
    expect(told({ kind: "identity", reason: "odd" })).toBe("|Something else was recorded|");
  });
  it("names somebody where nobody is named, and never shows a word of the protocol", () => {
    expect(nameOf({ by: "", role: "unknown", department: "" }, t)).toBe("Somebody");
    const strange = told({ kind: "new-kind", reason: "new-reason", purpose: "XYZ", view: "odd", role: "odd" });
    expect(strange).toBe("|Something else was recorded|");
    expect(told({ purpose: "XYZ", view: "odd", modality: ["ZZ"] })).not.toMatch(/XYZ|odd|ZZ/);
  });
  it("takes a date of birth as people type it, and no other", () => {
    for (const typed of ["19450203", "1945 02 03", "1945-2-3", "1945.02.03", "1945年2月3日", " 1945/02/03 "]) expect(birthDate(typed), typed).toBe("1945-02-03");
    for (const typed of ["", "31", "19450230", "1945021", "03021945", "1945-13-01", "abcd0203"]) expect(birthDate(typed), typed).toBe("");
  });
});

describe("search", () => {
  it("leaves empty fields out and makes two days one range", () => {
    expect(asFilters({ PatientName: " wang ", PatientID: "", from: "", to: "" })).toEqual({ PatientName: "wang" });
    expect(asFilters({ from: "2025-01-02", to: "2025-01-02" })).toEqual({ StudyDate: "20250102" });
    expect(asFilters({ from: "2025-01-02", to: "" })).toEqual({ StudyDate: "20250102-" });
    expect(asFilters({ from: "", to: "2025-02-01" })).toEqual({ StudyDate: "-20250201" });
  });
  it("reads a masked and an empty record", () => {
    const record = { "00100010": { vr: "PN", Value: [{ Alphabetic: "Wang^Wangshu", Ideographic: "王^望舒" }] }, "00080020": { vr: "DA", Value: ["20250102"] } };
    expect(asStudy(record)).toMatchObject({ name: "王望舒 Wang Wangshu", date: "2025-01-02", instances: 0 });
    expect(asStudy({ "00100010": { vr: "PN" } }).name).toBe("");
  });
});

describe("second factor", () => {
  it("tells six digits from a recovery code", () => {
    expect(recoveryCode("ae3p mlnx-asfa bewk")).toBe("AE3P-MLNX-ASFA-BEWK");
    for (const other of ["123456", "123 456", "AE3P-MLNX-ASFA", "AE3P-MLNX-ASFA-BEWK-X", "AE3P-MLNX-ASFA-BEW!"]) expect(recoveryCode(other)).toBe("");
  });
  it("says why not, in words of its own", () => {
    expect(whyNotProved(0, "passkey")).toBe("passkeyNot");
    expect([401, 403, 429, 503, 0].map((status) => whyNotProved(status, ""))).toEqual(["wrongCode", "wrongCode", "tooMany", "tryAgain", "tryAgain"]);
    expect(whyNot(new Refused(403, "second_factor_needed"))).toBe("factorNeeded");
    expect(whyNot(new Error("anything"))).toBe("tryAgain");
    expect(whyNot(new Refused(0))).toBe("noAnswer");
  });
  it("carries every byte of a passkey's answer", () => {
    const all = Uint8Array.from({ length: 256 }, (_, each) => each).buffer;
    expect(text(all)).not.toMatch(/[+/=]/);
    expect(new Uint8Array(bytes(text(all)))).toEqual(new Uint8Array(all));
  });
});

describe("frame", () => {
  it("lists pages by role", () => {
    const of = (...roles: string[]): string[] => Object.entries(PAGES).filter(([, each]) => listed(each, roles)).map(([path]) => path);
    expect(of("radiologist")).toEqual(["", "emergency", "account"]);
    expect(of("officer")).toEqual(["", "admin/status", "account"]);
    expect(of("administrator")).toEqual(["", "invitations", "admin/status", "account"]);
    expect(of()).toEqual(["", "account"]);
  });
  it("opens nothing but the log-in without a session", () => {
    expect(Object.entries(PAGES).filter(([, each]) => each.open).map(([path]) => path)).toEqual(["login"]);
  });
  it("hears what it cannot read as something unknown", () => {
    expect(asEvent('{"type":"revoked","study":"1.2"}')).toEqual({ type: "revoked", study: "1.2" });
    for (const odd of ["", "null", "7", "[]", '{"type":7}', "{"]) expect(asEvent(odd)).toEqual({ type: "unknown" });
  });
  it("writes dates for people", () => {
    expect(asDate("20250102", "zh")).toBe("2025年1月2日");
    expect(asDate("", "en")).toBe("");
  });
});
