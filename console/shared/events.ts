/** The archive's own word, as it happens (Server-Sent Events), and what to do while it cannot be heard. */

export interface ArchiveEvent {
  type: string;
  n?: number;
  kind?: string;
  study?: string;
  until?: number;
}

const AGAIN_SECONDS = 30;

/** Hear events until the returned function is called; `unheard` is called each half minute while no stream stands. */
export function hearEvents(address: string, onEvent: (event: ArchiveEvent) => void, unheard: () => void): () => void {
  let source: EventSource | null = null;
  let timer = 0;
  const open = (): void => {
    source = new EventSource(address);
    source.onmessage = (message) => onEvent(asEvent(String(message.data)));
    source.onerror = () => {
      if (source?.readyState !== EventSource.CLOSED) return; // the browser opens it again by itself
      unheard();
      clearTimeout(timer);
      timer = window.setTimeout(open, AGAIN_SECONDS * 1000);
    };
  };
  open();
  return () => {
    clearTimeout(timer);
    source?.close();
  };
}

/** One event's data; what cannot be read is of type `unknown`: something was said, asking again does no harm. */
export function asEvent(data: string): ArchiveEvent {
  try {
    const given = JSON.parse(data) as { type?: unknown };
    if (typeof given === "object" && given !== null && typeof given.type === "string") return given as ArchiveEvent;
  } catch {
    // as below
  }
  return { type: "unknown" };
}
