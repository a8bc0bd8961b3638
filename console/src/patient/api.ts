/** The patient's own routes (docs/api.md, Patients). */

import { ask, askJson } from "../../shared/api";

export interface Patient {
  expires_at: number;
  passkeys: number;
  hospital: string;
  language: string;
}

export interface Row {
  n: number;
  at: number;
  kind: string;
  by: string;
  label: string;
  role: string;
  department: string;
  purpose: string;
  view: string;
  study_date: string;
  modality: string[];
  break_glass: boolean;
  reason: string;
  review?: string; // of a break-glass: what the hospital found
}

export interface Rows {
  disclosures: Row[];
  next: number | null;
  complete: boolean;
}

export interface Who {
  by: string;
  role: string;
  department: string;
}

export interface Objection extends Who {
  subject: string;
  since: number;
}

export interface Grant extends Who {
  label: string;
  valid_until: number;
}

export type Note = { zh: string; en: string };

export const who = (): Promise<Patient> => askJson("/api/patient/session");
export const enter = (token: string, birthDate: string): Promise<Patient> => askJson("/api/patient/enter", { token, birth_date: birthDate });
export const leave = (): Promise<Response> => ask("/api/patient/logout", {});
export const rows = (before = 0): Promise<Rows> => askJson(`/api/patient/disclosures${before ? `?before=${before}` : ""}`);
export const rights = (): Promise<{ objections: Objection[]; grants: Grant[] }> => askJson("/api/patient/rights");

/** Say stop, or take it back; in force when answered. */
export function object(subject: string, standing: boolean): Promise<{ objections: Objection[]; note?: Note }> {
  return askJson("/api/patient/objection", { subject, standing });
}
