/**
 * What the console and the viewer in its frame say to each other: calls within one origin, so that no stranger has a say.
 * Each puts its side on its own window, and looks for the other's there.
 */

import type { ArchiveEvent } from "./events";

/** The viewer's side. */
export interface Viewer {
  /** Show a study; what an earlier one left is dropped first. */
  open(study: string): void;
  /** Whether it waits for its first study: started, and done with its rehearsal. */
  waits(): boolean;
  /** Take the keyboard, once it is shown. */
  focus(): void;
  /** Show nothing and drop what was shown; false: do not use this viewer again. */
  close(): boolean;
  /** The archive's word, which the console hears for both. */
  hear(event: ArchiveEvent): void;
}

declare global {
  interface Window {
    ribcageViewer?: Viewer;
    ribcageList?: () => void; // the console's side: back to the list
  }
}

const VIEWER = "/viewer/viewer";
const STUDY = "StudyInstanceUIDs";

/** The viewer's address of a study; without one, of the viewer that waits. */
export function addressOf(study: string): string {
  return study ? `${VIEWER}?${STUDY}=${encodeURIComponent(study)}` : VIEWER;
}

/** The study that a viewer's address names, "" for any other address. */
export function studyOf(address: { pathname: string; search: string }): string {
  return address.pathname === VIEWER ? (new URLSearchParams(address.search).get(STUDY)?.split(",")[0] ?? "") : "";
}
