/** What an entry of the log says, in plain words. */

import { asDate, type Language } from "../../shared/language";
import type { PatientWord } from "../words/patient";
import type { Row, Who } from "./api";

export type Tell = (word: PatientWord, value?: string) => string;

const ROLES: readonly PatientWord[] = ["administrator", "clinician", "officer", "radiologist", "technologist", "device", "operator", "patient", "archive"];
const PURPOSES: readonly PatientWord[] = ["TREAT", "ETREAT", "HRESCH", "HOPERAT", "PATRQT"];
const VIEWS: readonly PatientWord[] = ["full", "original", "masked"];
const PICTURES: Record<string, PatientWord> = { CR: "pictureXray", DX: "pictureXray", DR: "pictureXray", RF: "pictureXray", MG: "pictureXray", CT: "pictureCT", MR: "pictureMR", US: "pictureUS" };
const ACCESSES: Record<string, PatientWord> = {
  invited: "invited", entered: "entered", "wrong-birth-date": "triedEnter", "passkey-added": "phoneAdded", "passkey-removed": "phoneRemoved",
  "passkey-used": "phoneUsed", "passkey-refused": "phoneRefused",
};
const IDENTITIES: Record<string, PatientWord> = {
  asked: "correcting", merge: "merged", move: "moved", split: "separated", correct: "corrected", undo: "undone", filed: "filed", hidden: "hidden", "shown-again": "shownAgain",
};
const FOUND: Record<string, PatientWord> = { justified: "foundRight", unjustified: "foundWrong" };
const DESTRUCTIONS: Record<string, PatientWord> = { destroyed: "destroyed", cancelled: "kept" };
const CONSENTS: Record<string, PatientWord> = { given: "consented", withdrawn: "consentWithdrawn" };
const RESEARCH: Record<string, PatientWord> = { released: "releasedToResearch", named: "namedAgain" };

/** The name as far as the hospital tells it, with what they are. */
export function nameOf(person: Who, t: Tell): string {
  const role = ROLES.find((each) => each === person.role);
  const words = [person.by, role && t(role), person.department].filter((each) => each !== undefined && each !== "");
  return [...new Set(words)].slice(0, 2).join(" · ") || t("somebody");
}

/** Who did what, as a heading and a line below it. */
export function story(row: Row, t: Tell, language: Language): { who: string; what: string; how: string } {
  if (row.kind === "access") return { who: "", what: t(ACCESSES[row.reason] ?? "other"), how: "" };
  if (row.kind === "destruction") return { who: "", what: t(DESTRUCTIONS[row.reason] ?? "destroying"), how: "" };
  if (row.kind === "consent") return { who: "", what: t(CONSENTS[row.reason] ?? "other", how(row, t)), how: "" };
  if (row.kind === "research") return { who: nameOf(row, t), what: t(RESEARCH[row.reason] ?? "other"), how: "" };
  if (row.kind === "identity") return { who: "", what: t(IDENTITIES[row.reason] ?? "other"), how: "" };
  if (row.kind === "objection") {
    const withdrawn = row.reason === "withdrawn";
    if (row.role === "patient") return { who: "", what: t(withdrawn ? "youAllowedSomebody" : "youStoppedSomebody"), how: "" };
    return { who: "", what: t(withdrawn ? "youAllowed" : "youStopped", nameOf(row, t)), how: "" };
  }
  const who = nameOf(row, t);
  if (row.kind === "refused") return { who, what: t("tried"), how: "" };
  if (row.kind === "break-glass") {
    const found = FOUND[row.review ?? ""];
    return { who, what: t(found ? "brokeGlassReviewed" : "brokeGlass"), how: found ? t(found) : "" };
  }
  if (row.kind !== "disclosure") return { who: "", what: t("other"), how: "" };
  return { who, what: t("sawOf", picture(row, t, language)), how: how(row, t) };
}

function picture(row: Row, t: Tell, language: Language): string {
  const kinds = [...new Set(row.modality.map((each) => t(PICTURES[each] ?? "pictureOther")))];
  return [kinds.join(t("comma")) || t("pictureOther"), row.study_date && `(${asDate(row.study_date, language)})`].filter(Boolean).join(" ");
}

function how(row: Row, t: Tell): string {
  const purpose = PURPOSES.find((each) => each === row.purpose);
  const view = VIEWS.find((each) => each === row.view);
  return [purpose, view].flatMap((word) => (word ? t(word) : [])).join(t("comma"));
}

/** A date of birth as people type it (eight digits, with or without signs between) as YYYY-MM-DD; "" when it is none. */
export function birthDate(typed: string): string {
  const found = /^(\d{4})(\d{2})(\d{2})$/.exec(typed.trim()) ?? /^(\d{4})\D{1,2}(\d{1,2})\D{1,2}(\d{1,2})\D?$/.exec(typed.trim());
  if (!found) return "";
  const [, year = "", month = "", day = ""] = found;
  const wanted = `${year}-${month.padStart(2, "0")}-${day.padStart(2, "0")}`;
  const date = new Date(`${wanted}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(wanted) ? wanted : "";
}
