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
    history.pushState(null, "", BASE + to);
    setPath(to);
  };
  return [path, go];
}
