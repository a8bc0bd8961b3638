/**
 * The viewer kept warm: OHIF starts once, in a frame behind the list, and opens one study after the other there.
 *
 * Rules, in order:
 * 1. The frame is made when a list shows something to open. It ends with the session, and all that it holds with it.
 * 2. The address bar names the study's viewer, as its link does: reload, link and another tab lead to the viewer alone.
 * 3. What the frame cannot do is the browser's: the link opens the viewer's page.
 * 4. A viewer that stood covered, or went somewhere else, is thrown away; the next one starts from nothing. So is one that waits
 *    when the second factor ends: it has been told full records.
 */

import { useCallback, useEffect, useRef, useState, type ReactNode } from "react";
import type { Language } from "../shared/language";
import { addressOf, studyOf, type Viewer } from "../shared/warm";
import { BASE } from "./router";

const SOON_MILLISECONDS = 2000;
const TITLE = "Ribcage 阅片 Viewer"; // as the viewer's page has it

export interface WarmViewer {
  study: string; // what is shown, "" while it waits
  frame: (title: string) => ReactNode;
  warm: () => void; // there is something to open
  open: (study: string) => boolean; // false: not here
  hear: Viewer["hear"];
}

/** `known`: a session stands; `proved`: with the second factor. `lost`: the frame went elsewhere, as without a session it does. */
export function useViewer(known: boolean, proved: boolean, language: Language, lost: () => void): WarmViewer {
  const frame = useRef<HTMLIFrameElement>(null);
  const opener = useRef<Element | null>(null);
  const [wanted, setWanted] = useState(false);
  const [number, setNumber] = useState(0);
  const [study, setStudy] = useState("");

  const viewer = (): Viewer | undefined => {
    try {
      return frame.current?.contentWindow?.ribcageViewer;
    } catch {
      return undefined; // an error page of the browser's: another origin
    }
  };
  const show = (next: string): boolean => {
    const standing = viewer();
    if (!standing) return false;
    opener.current ??= document.activeElement;
    standing.open(next);
    setStudy(next);
    return true;
  };
  const hide = (): void => {
    if (!viewer()?.close()) setNumber((before) => before + 1); // rule 4
    setStudy("");
  };
  const focus = (): void => {
    frame.current?.focus();
    viewer()?.focus();
  };
  const toList = (): void => {
    history.pushState(null, "", BASE);
    dispatchEvent(new PopStateEvent("popstate"));
  };

  useEffect(() => {
    const onAddress = (): void => {
      const named = studyOf(location);
      if (named && !show(named)) location.reload(); // rule 3
      if (!named && study) hide();
    };
    window.addEventListener("popstate", onAddress);
    window.ribcageList = toList;
    return () => window.removeEventListener("popstate", onAddress);
  }, [study]);
  useEffect(() => {
    if (!study) return;
    const title = document.title;
    document.title = TITLE;
    document.documentElement.classList.add("viewing");
    focus();
    return () => {
      document.title = title;
      document.documentElement.classList.remove("viewing");
      if (opener.current instanceof HTMLElement) opener.current.focus();
      opener.current = null;
    };
  }, [study]);
  useEffect(() => {
    if (!proved && !study) setNumber((before) => before + 1); // rule 4
  }, [proved]);
  useEffect(() => {
    if (!study) setNumber((before) => before + 1); // it speaks the language in which it started
  }, [language]);
  useEffect(() => {
    if (known) return;
    setWanted(false); // rule 1
    setStudy("");
  }, [known]);

  const warm = useCallback(() => {
    if ("requestIdleCallback" in window) requestIdleCallback(() => setWanted(true), { timeout: SOON_MILLISECONDS });
    else setWanted(true);
  }, []);

  function open(next: string): boolean {
    if (!show(next)) return false;
    history.pushState(null, "", addressOf(next));
    return true;
  }

  function onLoad(): void {
    if (viewer()) return study ? focus() : undefined;
    if (study) location.reload(); // rule 3
    setWanted(false);
    lost();
  }

  return {
    study, warm, open,
    hear: (event) => viewer()?.hear(event),
    frame: (title) =>
      known && wanted ? (
        <iframe key={number} ref={frame} className={study ? "viewer shown" : "viewer"} src={addressOf("")} title={title} onLoad={onLoad} />
      ) : null,
  };
}
