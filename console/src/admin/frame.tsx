/** What every page of the administration has: its list of pages, and the word to those who may only read. */

import type { ReactNode } from "react";
import { useConsole } from "../context";
import { Title } from "../parts";
import type { Word } from "../words";

const PARTS: readonly (readonly [string, Word])[] = [
  ["admin/status", "status"],
  ["admin/persons", "persons"],
  ["admin/devices", "devices"],
  ["admin/grants", "grants"],
  ["admin/parked", "parked"],
  ["admin/break-glass", "glass"],
];

/** Whether the person may change anything; the archive decides, this only spares a button that would be refused. */
export function useMayChange(): boolean {
  return useConsole().session?.roles.includes("administrator") ?? false;
}

export interface AdminPageProps {
  path: string;
  title: Word;
  mayAct?: boolean; // officers act here too
  children: ReactNode;
}

export function AdminPage({ path, title, mayAct = false, children }: AdminPageProps) {
  const { t, go } = useConsole();
  const mayChange = useMayChange();
  return (
    <section>
      <nav className="tabs" aria-label={t("administration")}>
        {PARTS.map(([to, word]) => (
          <a
            key={to}
            href={`/app/${to}`}
            aria-current={to === path ? "page" : undefined}
            onClick={(event) => {
              event.preventDefault();
              go(to);
            }}
          >
            {t(word)}
          </a>
        ))}
      </nav>
      <Title word={title} />
      {!mayChange && !mayAct && <p className="notice">{t("readOnly")}</p>}
      {children}
    </section>
  );
}
