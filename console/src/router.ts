/** Addresses below /app/. They name pages, never persons: search terms and results live in memory alone. */

import { useEffect, useState } from "react";

export const BASE = "/app/";

/** The page's path below BASE: "" is the first page. */
export function pathOf(address: string): string {
  return address.startsWith(BASE) ? address.slice(BASE.length).replace(/\/$/, "") : "";
}

/** The current path and a way to change it. */
export function useRoute(): [string, (path: string) => void] {
  const [path, setPath] = useState(() => pathOf(location.pathname));
  useEffect(() => {
    const onBack = (): void => setPath(pathOf(location.pathname));
    window.addEventListener("popstate", onBack);
    return () => window.removeEventListener("popstate", onBack);
  }, []);
  const go = (to: string): void => {
    if (pathOf(location.pathname) !== to) history.pushState(null, "", BASE + to);
    setPath(to);
    window.scrollTo(0, 0);
  };
  return [path, go];
}

/** Take what stands behind `#` and remove it from the address bar, the history and what is sent on. */
export function takeFragment(): string {
  const given = location.hash.slice(1);
  if (location.hash) history.replaceState(null, "", location.pathname);
  return given;
}
