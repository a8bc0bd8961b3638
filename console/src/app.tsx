/** The frame around every page: who is logged in, the language, and the page of the current address. */

import { useEffect, useState } from "react";
import { Button } from "react-aria-components";
import { logOut, Refused, session as askSession, type Session } from "../shared/api";
import { keepLanguage, language as keptLanguage, say, type Language } from "../shared/words";
import { ConsoleContext } from "./context";
import { PAGES } from "./pages";
import { useRoute } from "./router";

export function App() {
  const [path, go] = useRoute();
  const [language, setLanguage] = useState<Language>(keptLanguage);
  const [session, setSession] = useState<Session | null>(null);
  const [asked, setAsked] = useState(false);
  const page = PAGES[path];

  async function refresh(): Promise<void> {
    try {
      setSession(await askSession());
    } catch (failure) {
      if (!(failure instanceof Refused)) throw failure;
      setSession(null);
    } finally {
      setAsked(true);
    }
  }

  useEffect(() => void refresh(), []);
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  useEffect(() => {
    if (asked && session === null && page?.open !== true) go("login");
  }, [asked, session, page]);

  function changeLanguage(): void {
    const other = language === "en" ? "zh" : "en";
    keepLanguage(other);
    setLanguage(other);
  }

  async function leave(): Promise<void> {
    await logOut();
    setSession(null);
  }

  const shown = page && (page.open || session !== null) ? <page.Page /> : null;
  return (
    <ConsoleContext value={{ language, session, go, refresh }}>
      <header className="top">
        <strong>Ribcage</strong>
        <span className="who">{session?.display_name}</span>
        <Button onPress={changeLanguage}>{say("language", language)}</Button>
        {session && <Button onPress={() => void leave()}>{say("signOut", language)}</Button>}
      </header>
      <main>{page === undefined ? <p>{say("notFound", language)}</p> : shown}</main>
    </ConsoleContext>
  );
}
