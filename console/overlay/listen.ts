/** Hears what the archive answers to OHIF: status and view of each answer about images, nothing of its content. */

import { asView, type View } from "../shared/api";
import type { About } from "./shown";

export type OnAnswer = (status: number, view: View | null, unchecked: boolean, stepUp: boolean, about: About) => void;

const IMAGES = /^\/dicom-web\/studies\/[0-9.]+/;
const PIXELS = /\/(frames|rendered)(?:\/[0-9,]+)?$/;

function aboutOf(path: string): About {
  const [, found] = PIXELS.exec(path) ?? [];
  return found === "frames" || found === "rendered" ? found : "others";
}

/**
 * Watch XMLHttpRequest and fetch, both of which OHIF uses. Call before OHIF's own scripts run. An answer to what was
 * asked in an earlier `turn` is not told: it speaks of a study that is no longer shown. `instead`: the address of an answer
 * for which the archive is not asked.
 */
export function listen(turn: () => number, instead: (address: string) => string | null, onAnswer: OnAnswer): void {
  const tell = (asked: number, address: string, status: number, field: (name: string) => string | null): void => {
    const url = new URL(address, location.href);
    if (asked !== turn() || url.origin !== location.origin || !IMAGES.test(url.pathname)) return;
    const view = field("X-Ribcage-View");
    onAnswer(status, view === null ? null : asView(view), field("X-Ribcage-Pixels") === "unchecked", field("X-Ribcage-Step-Up") !== null, aboutOf(url.pathname));
  };
  const open = XMLHttpRequest.prototype.open;
  XMLHttpRequest.prototype.open = function (this: XMLHttpRequest, ...given: unknown[]): void {
    const asked = turn();
    this.addEventListener("load", () => tell(asked, this.responseURL, this.status, (name) => this.getResponseHeader(name)));
    given[1] = instead(String(given[1])) ?? given[1];
    open.apply(this, given as Parameters<typeof open>);
  } as typeof open;
  const plain = window.fetch.bind(window);
  window.fetch = async (...given) => {
    const asked = turn();
    const answer = await plain(...given);
    tell(asked, answer.url, answer.status, (name) => answer.headers.get(name));
    return answer;
  };
}
