/**
 * What the overlay shows, as a function of what was heard. No clock, no page: `now` is given, in seconds.
 *
 * Rules, in order:
 * 1. A session that has ended covers the picture; nothing but a new log-in lifts that.
 * 2. A study that is refused, or whose view fell, covers the picture: what stands on the screen is more than the archive
 *    would give now.
 * 3. An archive that does not answer for `UNREACHABLE_AFTER` questions covers the picture until it does (deny first).
 * 4. What has no masked view (a report, say) is refused with the offer of a step-up: the rest of the study stays in view.
 * 5. The view is the one that the archive's last answer named, not the one that the session ought to get.
 */

import type { Session, View } from "../shared/api";

export type Cover = "ended" | "revoked" | "refused" | "lapsed" | "unreachable";

export interface State {
  session: Session | null;
  view: View | null; // of what stands on the screen
  pixelsUnchecked: boolean;
  cover: Cover | null;
  failures: number;
}

export type Heard =
  | { kind: "session"; session: Session }
  | { kind: "refused"; status: number } // an answer of /api/session
  | { kind: "image-answer"; status: number; view: View | null; unchecked: boolean; stepUp: boolean } // an answer about the study
  | { kind: "view-now"; view: View } // what the archive would give now
  | { kind: "session-ended" };

export const UNREACHABLE_AFTER = 3;
export const LAPSE_SECONDS = 15;

export const START: State = { session: null, view: null, pixelsUnchecked: false, cover: null, failures: 0 };

export function step(state: State, heard: Heard): State {
  if (state.cover === "ended") return state;
  switch (heard.kind) {
    case "session":
      return { ...state, session: heard.session, failures: 0, cover: state.cover === "unreachable" ? null : state.cover };
    case "refused": {
      if (heard.status === 401) return { ...state, cover: "ended" };
      const failures = state.failures + 1;
      return { ...state, failures, cover: state.cover ?? (failures >= UNREACHABLE_AFTER ? "unreachable" : null) };
    }
    case "session-ended":
      return { ...state, cover: "ended" };
    case "image-answer":
      if (heard.status === 401) return { ...state, cover: "ended" };
      if (heard.status === 403 && heard.stepUp) {
        if (state.view === "full") return { ...state, cover: state.cover ?? "lapsed" };
        return { ...state, view: state.view ?? "masked" };
      }
      if (heard.status === 403) return { ...state, cover: state.view === null ? "refused" : "revoked" };
      if (heard.view === null) return state;
      if (state.view === "full" && heard.view === "masked") return { ...state, cover: state.cover ?? "lapsed" };
      return { ...state, view: heard.view, pixelsUnchecked: state.pixelsUnchecked || heard.unchecked };
    case "view-now":
      if (heard.view === "none") return { ...state, cover: "revoked" };
      if (heard.view === "masked" && state.view === "full") return { ...state, cover: state.cover ?? "lapsed" };
      return state;
  }
}

/** Whether the second factor ran out while the full record is shown: the archive is asked what it would give now. */
export function lapsed(state: State, now: number): boolean {
  return state.view === "full" && state.cover === null && state.session !== null && now >= state.session.second_factor_until;
}

/** Whether it is asked in this second: each one at first, so that no clock's error leaves the full record standing, then now and then. */
export function asksAgain(state: State, now: number): boolean {
  if (!lapsed(state, now) || state.session === null) return false;
  const late = Math.floor(now - state.session.second_factor_until);
  return late < LAPSE_SECONDS || late % LAPSE_SECONDS === 0;
}

/** Minutes and seconds that are left, "" when none. */
export function left(until: number, now: number): string {
  const seconds = Math.floor(until - now);
  if (seconds <= 0) return "";
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
