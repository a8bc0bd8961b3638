/**
 * Pieces of OHIF that every opening needs, fetched while the browser reads the app (console/build/ohif.mjs names them).
 *
 * A few at a time, on connections that stand: a browser that was told to bear with the archive's certificate decides so for
 * each new connection, and gives up a request that meets too many of them.
 */

const AT_ONCE = 3;

/** Begin; what cannot be fetched is OHIF's to ask for again. */
export function fetchFirst(): void {
  const waiting = document.querySelector<HTMLMetaElement>('meta[name="ribcage:first"]')?.content.split(" ") ?? [];
  const next = (): void => {
    const address = waiting.shift();
    if (!address) return;
    const link = document.createElement("link");
    link.rel = "preload";
    link.as = address.endsWith(".js") ? "script" : "style";
    link.href = address;
    link.onload = link.onerror = next;
    document.head.append(link);
  };
  for (let begun = 0; begun < AT_ONCE; begun += 1) next();
}
