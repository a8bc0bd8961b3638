/** Studies by QIDO-RS (PS3.18 10.6), as the archive shows or masks them. */

import { ask } from "./api";

export interface Study {
  uid: string;
  name: string;
  patientId: string;
  date: string;
  modalities: string;
  description: string;
  instances: number;
}

export interface Found {
  studies: Study[];
  more: boolean;
  view: string;
}

export const PAGE = 25;

/**
 * Search by attributes. QIDO-RS puts them into the request's query string, the one exception that the protocol forces:
 * it never becomes the page's address, is not cached and is not recorded by the archive.
 */
export async function search(filters: Record<string, string>, offset = 0, limit = PAGE): Promise<Found> {
  const query = new URLSearchParams({ ...filters, includefield: "StudyDescription", limit: String(limit), offset: String(offset) });
  const answer = await ask(`/dicom-web/studies?${query}`);
  const view = answer.headers.get("X-Ribcage-View") ?? "";
  if (answer.status === 204) return { studies: [], more: false, view };
  const records = (await answer.json()) as DicomJson[];
  return { studies: records.map(asStudy), more: (answer.headers.get("Warning") ?? "").includes("additional results"), view };
}

/** Fields of the search form as QIDO-RS filters: empty ones left out, two days as one range (PS3.4 C.2.2.2.5). */
export function asFilters(fields: Record<string, string>): Record<string, string> {
  const { from = "", to = "", ...others } = fields;
  const filters = Object.fromEntries(Object.entries(others).map(([name, value]) => [name, value.trim()]).filter(([, value]) => value !== ""));
  const day = (text: string): string => text.replaceAll("-", "");
  if (from || to) filters.StudyDate = from === to ? day(from) : `${day(from)}-${day(to)}`;
  return filters;
}

type DicomJson = Record<string, { vr: string; Value?: unknown[] }>;

/** One record of QIDO-RS as a row. */
export function asStudy(record: DicomJson): Study {
  const text = (tag: string): string => (record[tag]?.Value ?? []).map(String).join(", ");
  const names = (record["00100010"]?.Value?.[0] ?? {}) as { Alphabetic?: string; Ideographic?: string };
  return {
    uid: text("0020000D"),
    name: [names.Ideographic?.replaceAll("^", ""), names.Alphabetic?.replaceAll("^", " ")].filter(Boolean).join(" "),
    patientId: text("00100020"),
    date: asDay(text("00080020")),
    modalities: text("00080061"),
    description: text("00081030"),
    instances: Number(text("00201208") || 0),
  };
}

/** YYYYMMDD for people. */
export function asDay(text: string): string {
  return text.replace(/^(\d{4})(\d{2})(\d{2})$/, "$1-$2-$3");
}
