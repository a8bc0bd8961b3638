/** What each page is given: the language, the session, a way to another page, and the second factor where it is due. */

import { createContext, useContext } from "react";
import { Refused, type Session } from "../shared/api";
import { pick, type Language } from "../shared/language";
import type { WarmViewer } from "./viewer";
import { ALL, type Word } from "./words";

export interface Console {
  language: Language;
  session: Session | null;
  go: (path: string) => void;
  refresh: () => Promise<void>; // ask again who is logged in
  guarded: <T>(work: () => Promise<T>) => Promise<T>; // asks the second factor where the archive wants it, then tries again
  viewer: Pick<WarmViewer, "warm" | "open">;
}

export type Say = (word: Word, value?: string | number) => string;

export const ConsoleContext = createContext<Console | null>(null);

export function useConsole(): Console & { t: Say } {
  const given = useContext(ConsoleContext);
  if (given === null) throw new Error("expected a page inside App");
  return { ...given, t: (word, value) => pick(ALL, word, given.language, value) };
}

/** A refusal in plain words. */
export function whyNot(failure: unknown): Word {
  const { status, code } = failure instanceof Refused ? failure : { status: -1, code: "" };
  if (code === "passkey") return "passkeyNot";
  if (code === "second_factor_needed") return "factorNeeded";
  const words: Record<number, Word> = {
    0: "noAnswer", 400: "notUnderstood", 401: "ended", 403: "notPermitted", 404: "notThere", 409: "clash", 413: "notUnderstood", 429: "tooMany", 503: "down",
  };
  return words[status] ?? "tryAgain";
}
