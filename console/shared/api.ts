/** The archive's JSON routes. No answer is kept, no address holds a name; the cookie is the browser's affair. */

export interface Session {
  username: string;
  display_name: string;
  roles: string[];
  assurance: number;
  second_factor_until: number; // seconds since 1970, 0 where never proved
  expires_at: number;
}

export type View = "full" | "masked" | "none";

export interface Study {
  uid: string;
  name: string;
  patientId: string;
  date: string;
  modalities: string;
  description: string;
  instances: number;
  view: string;
}

/** An answer that is not 2xx; status 0: no answer. */
export class Refused extends Error {
  constructor(readonly status: number) {
    super(`refused with ${status}`);
  }
}

async function ask(path: string, body?: unknown): Promise<Response> {
  const request: RequestInit =
    body === undefined
      ? { credentials: "same-origin", cache: "no-store" }
      : { method: "POST", credentials: "same-origin", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  let answer: Response;
  try {
    answer = await fetch(path, request);
  } catch {
    throw new Refused(0);
  }
  if (!answer.ok) throw new Refused(answer.status);
  return answer;
}

/** Who is logged in. Raises Refused(401) when nobody is. */
export async function session(): Promise<Session> {
  return (await ask("/api/session")).json() as Promise<Session>;
}

/** Log in: the answer sets the cookie. */
export async function logIn(username: string, password: string): Promise<void> {
  await ask("/api/login", { username, password });
}

/** Log out. */
export async function logOut(): Promise<void> {
  await ask("/api/logout", {});
}

/** Prove the second factor. Raises Refused. */
export async function stepUp(code: string): Promise<Session> {
  return (await ask("/api/step-up", { code })).json() as Promise<Session>;
}

/** Which view of a study this session gets now. Raises Refused. */
export async function viewOf(study: string): Promise<View> {
  const answer = await ask(`/dicom-web/studies?StudyInstanceUID=${encodeURIComponent(study)}&limit=1`);
  return answer.status === 204 ? "none" : asView(answer.headers.get("X-Ribcage-View"));
}

/** A view by its header field. */
export function asView(text: string | null): View {
  return text === "full" || text === "original" ? "full" : text === "masked" ? "masked" : "none";
}

/**
 * Search by attributes. QIDO-RS puts them into the request's query string, the one exception that the protocol forces:
 * it never becomes the page's address, is not cached and is not recorded by the archive.
 */
export async function search(filters: Record<string, string>): Promise<{ studies: Study[]; more: boolean }> {
  const query = new URLSearchParams({ ...filters, includefield: "StudyDescription", limit: "100" });
  const answer = await ask(`/dicom-web/studies?${query}`);
  if (answer.status === 204) return { studies: [], more: false };
  const records = (await answer.json()) as DicomJson[];
  const all = answer.headers.get("X-Ribcage-View") ?? "";
  return { studies: records.map((each) => asStudy(each, all)), more: (answer.headers.get("Warning") ?? "").includes("additional results") };
}

type DicomJson = Record<string, { vr: string; Value?: unknown[] }>;

/** One record of QIDO-RS as a row. */
export function asStudy(record: DicomJson, view: string): Study {
  const text = (tag: string): string => (record[tag]?.Value ?? []).map(String).join(", ");
  const names = (record["00100010"]?.Value?.[0] ?? {}) as { Alphabetic?: string; Ideographic?: string };
  return {
    uid: text("0020000D"),
    name: [names.Ideographic?.replaceAll("^", ""), names.Alphabetic?.replaceAll("^", " ")].filter(Boolean).join(" "),
    patientId: text("00100020"),
    date: text("00080020").replace(/^(\d{4})(\d{2})(\d{2})$/, "$1-$2-$3"),
    modalities: text("00080061"),
    description: text("00081030"),
    instances: Number(text("00201208") || 0),
    view,
  };
}
