/**
 * The viewer that waits opens a made-up picture once, unseen: what a first opening costs is spent before somebody clicks.
 *
 * Rules, in order:
 * 1. The archive is asked for nothing: whatever OHIF asks about this study is answered here, and no such study exists.
 * 2. The picture is one grey, and nobody's: nothing that is left of it could pass for a film.
 * 3. It begins when OHIF has started and the browser is idle, ends with its picture or after `LONGEST_SECONDS`, and gives way at once.
 */

const PIXELS = 96; // a side; of 16 bit, so that Base64 ends without a remainder
const LONGEST_SECONDS = 10;
const LOOK_MILLISECONDS = 250;
const ROOT = "2.25.314159265358979323846264338327950288";
const [STUDY, SERIES, INSTANCE] = [`${ROOT}.1`, `${ROOT}.2`, `${ROOT}.3`];
const DIGITAL_FILM = "1.2.840.10008.5.1.4.1.1.1.1";

/** What is answered to a question at this address instead of asking the archive, as an address of data; null: ask the archive. */
export function answered(address: string, rehearsing: boolean): string | null {
  const { pathname, search } = new URL(address, "https://localhost");
  if (!pathname.startsWith("/dicom-web/") || !(rehearsing || `${pathname}${search}`.includes(ROOT))) return null;
  if (pathname.includes("/frames/")) return `data:application/octet-stream;transfer-syntax=1.2.840.10008.1.2.1;base64,${"A".repeat((PIXELS * PIXELS * 2 * 4) / 3)}`;
  const found = search.includes(STUDY) || pathname.includes(STUDY) ? [pathname.endsWith("/metadata") ? instance() : pathname.endsWith("/series") ? series() : study()] : [];
  return `data:application/dicom+json,${encodeURIComponent(JSON.stringify(found))}`;
}

/** Let `open` show the study, and call `end` when that is over; `idle`: nothing else is shown or was. */
export function rehearse(idle: () => boolean, open: (study: string) => void, end: () => void): void {
  const waiting = setInterval(() => {
    if (idle() && !("services" in window)) return;
    clearInterval(waiting);
    requestIdleCallback(() => {
      if (!idle()) return;
      const over = new AbortController();
      const stop = (): void => {
        if (over.signal.aborted) return;
        over.abort();
        end();
      };
      setTimeout(stop, LONGEST_SECONDS * 1000);
      // Cornerstone tells an element of its own, without bubbling: it is heard on the way down.
      document.addEventListener("CORNERSTONE_STACK_NEW_IMAGE", () => setTimeout(stop, LOOK_MILLISECONDS), { capture: true, once: true, signal: over.signal });
      open(STUDY);
    });
  }, LOOK_MILLISECONDS);
}

type Attributes = Record<string, { vr: string; Value: unknown[] }>;

function study(): Attributes {
  return {
    "0020000D": { vr: "UI", Value: [STUDY] }, "00100020": { vr: "LO", Value: [ROOT] }, "00080061": { vr: "CS", Value: ["DX"] },
    "00201206": { vr: "IS", Value: [1] }, "00201208": { vr: "IS", Value: [1] },
  };
}

function series(): Attributes {
  return { "0020000D": { vr: "UI", Value: [STUDY] }, "0020000E": { vr: "UI", Value: [SERIES] }, "00080060": { vr: "CS", Value: ["DX"] }, "00201209": { vr: "IS", Value: [1] } };
}

function instance(): Attributes {
  const short = (...value: number[]): { vr: string; Value: unknown[] } => ({ vr: "US", Value: value });
  return {
    ...series(),
    "00080016": { vr: "UI", Value: [DIGITAL_FILM] }, "00080018": { vr: "UI", Value: [INSTANCE] }, "00083002": { vr: "UI", Value: ["1.2.840.10008.1.2.1"] },
    "00100020": { vr: "LO", Value: [ROOT] }, "00200013": { vr: "IS", Value: [1] }, "00280004": { vr: "CS", Value: ["MONOCHROME2"] },
    "00280002": short(1), "00280010": short(PIXELS), "00280011": short(PIXELS), "00280100": short(16), "00280101": short(12), "00280102": short(11), "00280103": short(0),
    "00281050": { vr: "DS", Value: [2048] }, "00281051": { vr: "DS", Value: [4096] },
  };
}
