/**
 * The frame around every page: who is logged in, for how long with a second factor, the language, and the page of the
 * current address.
 *
 * Rules, in order:
 * 1. Without a session nothing but the log-in is shown; what a page held is dropped with it, in every tab.
 * 2. While the archive cannot be heard, it is asked: a session that ended ends here too.
 * 3. While the viewer stands over the page (`viewer.tsx`), nothing below takes a key or a word.
 */

import { useCallback, useEffect, useRef, useState } from "react";
import { Button } from "react-aria-components";
import { logOut, Refused, session as askSession, statusOf, type Session } from "../shared/api";
import { hearEvents, type ArchiveEvent } from "../shared/events";
import { keepLanguage, language as keptLanguage, pick, type Language } from "../shared/language";
import { left } from "../overlay/state";
import { ConsoleContext, type Say } from "./context";
import { PAGES, type PageEntry } from "./pages";
import { useRoute } from "./router";
import { StepUpBox } from "./step_up";
import { useViewer } from "./viewer";
import { ALL, type Word } from "./words";

const ASK_SECONDS = 300;
const SOON_SECONDS = 120;

export function App() {
  const [path, go] = useRoute();
  const [language, setLanguage] = useState<Language>(keptLanguage);
  const [session, setSession] = useState<Session | null>(null);
  const [asked, setAsked] = useState(false);
  const [ended, setEnded] = useState(false);
  const proving = useRef<((proved: boolean) => void) | null>(null);
  const [asksFactor, setAsksFactor] = useState(false);
  const page = PAGES[path];
  const t: Say = (word, value) => pick(ALL, word, language, value);
  const known = session !== null;

  const end = useCallback(() => {
    setSession((before) => {
      if (before !== null) setEnded(true);
      return null;
    });
  }, []);

  const refresh = useCallback(async () => {
    try {
      setSession(await askSession());
      setEnded(false);
    } catch (failure) {
      if (statusOf(failure) === 401) end();
    } finally {
      setAsked(true);
    }
  }, [end]);

  const guarded = useCallback(async <T,>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (failure) {
      if (!(failure instanceof Refused) || failure.code !== "second_factor_needed" || proving.current) throw failure;
      const proved = await new Promise<boolean>((done) => {
        proving.current = done;
        setAsksFactor(true);
      });
      proving.current = null;
      setAsksFactor(false);
      if (!proved) throw failure;
      return work();
    }
  }, []);

  const viewer = useViewer(known, (session?.assurance ?? 0) >= 2, language, () => void refresh());
  const hear = useRef(viewer.hear);
  hear.current = viewer.hear;

  useEffect(() => void refresh(), [refresh]);
  useEffect(() => {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  }, [language]);
  useEffect(() => {
    if (asked && !known && page?.open !== true) go("login");
  }, [asked, known, page]);
  useEffect(() => {
    if (!known) {
      proving.current?.(false);
      return;
    }
    const onEvent = (event: ArchiveEvent): void => {
      hear.current(event);
      if (event.type === "session-ended") end();
      else void refresh();
    };
    const silence = hearEvents("/api/events", onEvent, () => void refresh());
    const timer = setInterval(() => void refresh(), ASK_SECONDS * 1000);
    const seen = (): void => void (document.hidden || refresh());
    document.addEventListener("visibilitychange", seen);
    return () => {
      silence();
      clearInterval(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, [known, end, refresh]);

  function changeLanguage(): void {
    const other = language === "en" ? "zh" : "en";
    keepLanguage(other);
    setLanguage(other);
  }

  async function leave(): Promise<void> {
    try {
      await logOut();
    } catch {
      return refresh(); // still logged in: the page must not say otherwise
    }
    setSession(null);
  }

  const viewing = viewer.study !== "";
  const shown = page && (page.open || known) ? <page.Page /> : null;
  return (
    <ConsoleContext value={{ language, session, go, refresh, guarded, viewer }}>
      <a className="skip" inert={viewing} href="#page" onClick={(event) => (event.preventDefault(), document.getElementById("page")?.focus())}>
        {t("skip")}
      </a>
      <header className="top" inert={viewing}>
        <strong className="brand">Ribcage</strong>
        {session && <Pages path={path} session={session} go={go} t={t} />}
        <span className="who">
          {session && <FactorLeft until={session.second_factor_until} t={t} />}
          <span className="name">{session?.display_name}</span>
          <Button onPress={changeLanguage}>{t("language")}</Button>
          {session && <Button onPress={() => void leave()}>{t("signOut")}</Button>}
        </span>
      </header>
      <main id="page" tabIndex={-1} inert={viewing}>
        {path === "login" && ended && (
          <p className="notice narrow" role="status">
            {t("ended")}
          </p>
        )}
        {page === undefined ? <p>{t("notFound")}</p> : shown}
        {!asked && !shown && <p role="status">{t("loading")}</p>}
      </main>
      {viewer.frame(t("viewer"))}
      {asksFactor && <StepUpBox onEnd={(proved) => proving.current?.(proved)} />}
    </ConsoleContext>
  );
}

/** Whether somebody of these roles sees the page in the list; the archive decides what is in it. */
export function listed(entry: PageEntry, roles: readonly string[]): boolean {
  return entry.listed !== undefined && (entry.roles === undefined || entry.roles.some((role) => roles.includes(role)));
}

function Pages({ path, session, go, t }: { path: string; session: Session; go: (path: string) => void; t: (word: Word) => string }) {
  const entries = Object.entries(PAGES).filter(([, entry]) => listed(entry, session.roles));
  return (
    <nav aria-label={t("pages")}>
      {entries.map(([to, entry]) => (
        <a
          key={to}
          href={`/app/${to}`}
          aria-current={path === to || (to !== "" && path.startsWith(`${to.split("/")[0]}/`)) ? "page" : undefined}
          onClick={(event) => {
            if (event.ctrlKey || event.metaKey || event.shiftKey) return;
            event.preventDefault();
            go(to);
          }}
        >
          {entry.listed && t(entry.listed)}
        </a>
      ))}
    </nav>
  );
}

function FactorLeft({ until, t }: { until: number; t: Say }) {
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now() / 1000), 1000);
    return () => clearInterval(timer);
  }, []);
  const rest = left(until, now);
  return rest ? <span className={until - now < SOON_SECONDS ? "left soon" : "left"}>{t("factorLeft", rest)}</span> : null;
}
