/** The archive's JSON routes. No answer is kept, no address holds a name; the cookie is the browser's affair. */

export interface Session {
  username: string;
  display_name: string;
  roles: string[];
  assurance: number;
  second_factor_until: number; // seconds since 1970, 0 where never proved
  expires_at: number;
  factors?: { totp: boolean; passkeys: number; recovery_codes: number };
  notices?: string[];
  hospital?: string;
}

export type View = "full" | "masked" | "none";

/** An answer that is not 2xx; status 0: no answer. `code` is the archive's own word for it. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code = "",
    readonly retry = 0, // seconds to wait, where the archive says so
  ) {
    super(`refused with ${status}`);
  }
}

/** The refusal's status; 0 for anything else that went wrong. */
export function statusOf(failure: unknown): number {
  return failure instanceof Refused ? failure.status : 0;
}

/** GET, or POST when there is a body. Raises Refused. */
export async function ask(path: string, body?: unknown): Promise<Response> {
  const request: RequestInit =
    body === undefined
      ? { credentials: "same-origin", cache: "no-store" }
      : { method: "POST", credentials: "same-origin", cache: "no-store", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  let answer: Response;
  try {
    answer = await fetch(path, request);
  } catch {
    throw new Refused(0);
  }
  if (!answer.ok) throw new Refused(answer.status, await codeOf(answer), Number(answer.headers.get("Retry-After")) || 0);
  return answer;
}

/** The same, for an answer in JSON. Raises Refused. */
export async function askJson<T>(path: string, body?: unknown): Promise<T> {
  return (await ask(path, body)).json() as Promise<T>;
}

async function codeOf(answer: Response): Promise<string> {
  try {
    return String(((await answer.json()) as { error?: unknown }).error ?? "");
  } catch {
    return "";
  }
}

/** Who is logged in. Raises Refused(401) when nobody is. */
export function session(): Promise<Session> {
  return askJson("/api/session");
}

/** Log in: the answer sets the cookie. */
export async function logIn(username: string, password: string): Promise<void> {
  await ask("/api/login", { username, password });
}

/** Log out. */
export async function logOut(): Promise<void> {
  await ask("/api/logout", {});
}

/** Prove the second factor: six digits, or a recovery code. Raises Refused. */
export function stepUp(given: string): Promise<Session> {
  const recovery = recoveryCode(given);
  return recovery ? askJson("/api/step-up/recovery", { code: recovery }) : askJson("/api/step-up", { code: given.replace(/\s/g, "") });
}

/** A recovery code as the archive writes it, "" when the text is none. */
export function recoveryCode(given: string): string {
  const plain = given.replace(/[\s-]/g, "").toUpperCase();
  return /^[0-9A-Z]{16}$/.test(plain) ? (plain.match(/.{4}/g) ?? []).join("-") : "";
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
