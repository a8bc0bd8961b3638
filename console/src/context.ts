/** What each page is given: the language, the session and a way to another page. */

import { createContext, useContext } from "react";
import type { Session } from "../shared/api";
import { say, type Language, type Word } from "../shared/words";

export interface Console {
  language: Language;
  session: Session | null;
  go: (path: string) => void;
  refresh: () => Promise<void>; // ask again who is logged in
}

export const ConsoleContext = createContext<Console | null>(null);

export function useConsole(): Console & { t: (word: Word, value?: string) => string } {
  const given = useContext(ConsoleContext);
  if (given === null) throw new Error("expected a page inside App");
  return { ...given, t: (word, value) => say(word, given.language, value) };
}
