/**
 * What stands over OHIF: whether the record is masked, the way to the full one, who is reading, and a cover when the
 * right to read has ended. Plain DOM; loaded before OHIF.
 *
 * Rules, in order:
 * 1. The page's title never changes: OHIF or an extension might put a name there.
 * 2. The watermark and the bar never take a click from the picture.
 * 3. A cover hides the picture, it does not only say that it should be hidden.
 * 4. A full record whose second factor ran out goes back to the masked one by itself: covered first, then loaded anew.
 * 5. In the console's frame one study follows another (`shared/warm.ts`): what OHIF kept of the earlier one is dropped when it
 *    closes and before the next opens, so that the archive is asked for each. The console hears the archive for both.
 */

import "./overlay.css";
import { Refused, session, statusOf, stepUp, viewOf } from "../shared/api";
import { hearEvents, type ArchiveEvent } from "../shared/events";
import { language } from "../shared/language";
import { passkeysHere, provePasskey } from "../shared/passkeys";
import { addressOf, studyOf } from "../shared/warm";
import { say, whyNotProved, type Word } from "../shared/words";
import { Failed } from "./failed";
import { fetchFirst } from "./fetch";
import { firstPicture } from "./first";
import { listen } from "./listen";
import { answered, rehearse } from "./rehearse";
import { asksAgain, left, START, step, type Heard, type State } from "./state";

const POLL_SECONDS = 15;
const MARKS = 40;
const MOST_TURNS = 40; // two for each study: what OHIF never lets go of ends with its page
const AFTERWARDS_MILLISECONDS = 1000; // OHIF takes its page down in turns

const chosen = language();
const framed = parent !== window; // by the console: nobody else may
const t = (word: Word, value = ""): string => say(word, chosen, value);
const now = (): number => Date.now() / 1000;
let study = studyOf(location);
let turn = 0;
let closed = new AbortController();
let state: State = START;
let asking = false;
let rehearsing = false;
let rehearsed = false;

function hear(heard: Heard): void {
  state = step(state, heard);
  draw();
}

function element<K extends keyof HTMLElementTagNameMap>(kind: K, name: string, text = ""): HTMLElementTagNameMap[K] {
  const made = document.createElement(kind);
  made.className = name;
  made.textContent = text;
  return made;
}

// --- asking the archive ---------------------------------------------------------------------------------------

async function poll(): Promise<void> {
  if (framed && !study) return; // nothing is shown: the console asks
  try {
    hear({ kind: "session", session: await session() });
  } catch (failure) {
    hear({ kind: "refused", status: statusOf(failure) });
  }
}

async function askView(): Promise<void> {
  if (asking || !study || state.view === null) return;
  asking = true;
  try {
    hear({ kind: "view-now", view: await viewOf(study) });
  } catch (failure) {
    hear({ kind: "refused", status: statusOf(failure) });
  } finally {
    asking = false;
  }
}

function onEvent(event: ArchiveEvent): void {
  if (event.type === "session-ended") hear({ kind: "session-ended" });
  else void poll().then(askView);
}

// --- bar, watermark, cover --------------------------------------------------------------------------------------

const bar = element("div", "rc-bar");
const label = element("strong", "rc-label");
const note = element("span", "rc-note");
const reader = element("span", "rc-reader");
const full = element("button", "rc-full", t("showFull"));
const list = link("/app/", "toList");
const marks = element("div", "rc-marks");
const cover = element("div", "rc-cover");
const failed = new Failed({ t, prove: () => ask.showModal() });

function draw(): void {
  const until = state.session ? left(state.session.second_factor_until, now()) : "";
  bar.dataset.view = state.view ?? "none";
  label.textContent =
    state.view === null ? t("loading") : state.view === "full" ? (until ? t("fullUntil", until) : t("fullShift")) : t("masked");
  note.textContent = [state.pixelsUnchecked && state.view === "masked" ? t("pixels") : "", t("diagnosis")].filter(Boolean).join(" · ");
  full.hidden = state.view !== "masked" || state.cover !== null;
  reader.textContent = state.session?.display_name ?? "";
  passkey.hidden = !passkeysHere() || (state.session?.factors?.passkeys ?? 0) === 0;
  drawMarks();
  drawCover();
}

function drawMarks(): void {
  const at = new Date();
  const two = (number: number): string => String(number).padStart(2, "0");
  const time = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
  const text = state.session ? `${state.session.display_name} (${state.session.username}) ${time}` : "";
  if (marks.dataset.text === text) return;
  marks.dataset.text = text;
  marks.replaceChildren(...Array.from({ length: MARKS }, () => element("span", "rc-mark", text)));
}

function drawCover(): void {
  const why = state.cover;
  document.documentElement.classList.toggle("rc-covered", why !== null);
  cover.hidden = why === null;
  const drawn = `${why ?? ""} ${readsFilms()}`;
  if (why === null || cover.dataset.drawn === drawn) return;
  cover.dataset.drawn = drawn;
  const box = element("div", "rc-box");
  box.setAttribute("role", "alertdialog");
  const text = element("p", "rc-why", t(why));
  box.append(text);
  if (why === "ended") box.append(link("/app/login", "signIn"));
  if (why === "unreachable" || why === "refused") box.append(reloading("reload"));
  if (why === "refused" && readsFilms()) box.append(link(`/app/emergency#${study}`, "emergency"));
  if (why !== "ended") box.append(link("/app/", "toList"));
  cover.replaceChildren(box);
  if (why === "lapsed") location.reload(); // rule 4; what is loaded anew is what the archive gives now
}

function readsFilms(): boolean {
  return ["clinician", "radiologist"].some((role) => state.session?.roles.includes(role));
}

function link(address: string, word: Word): HTMLAnchorElement {
  const made = element("a", "rc-list", t(word));
  made.href = address;
  made.target = "_top";
  if (word === "toList") made.onclick = (event) => {
    if (!framed || parent.ribcageList === undefined || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    parent.ribcageList();
  };
  return made;
}

function reloading(word: Word): HTMLButtonElement {
  const made = element("button", "rc-plain", t(word));
  made.onclick = () => location.reload();
  return made;
}

// --- the second factor ------------------------------------------------------------------------------------------

const ask = element("dialog", "rc-dialog");
const passkey = element("button", "rc-plain", t("usePasskey"));

function makeDialog(): void {
  const form = element("form", "rc-form");
  const warning = element("p", "rc-warning");
  warning.setAttribute("role", "alert");
  const field = element("label", "rc-field", t("code"));
  const hint = element("small", "rc-hint", t("codeHint"));
  const input = element("input", "rc-code");
  Object.assign(input, { autocomplete: "one-time-code", maxLength: 24, required: true, name: "code" });
  field.append(input, hint);
  const confirm = element("button", "rc-full", t("confirm"));
  const cancel = element("button", "rc-plain", t("cancel"));
  cancel.type = "button";
  cancel.onclick = () => ask.close();
  passkey.type = "button";
  form.append(element("h2", "rc-title", t("proveTitle")), element("p", "", t("proveText")), field, warning, confirm, passkey, cancel);
  const prove = (work: Promise<unknown>): void => {
    confirm.disabled = passkey.disabled = true;
    work
      .then(() => location.reload())
      .catch((failure: unknown) => {
        warning.textContent = t(whyNotProved(statusOf(failure), failure instanceof Refused ? failure.code : ""));
        confirm.disabled = passkey.disabled = false;
        input.focus();
        void poll();
      });
  };
  passkey.onclick = () => prove(provePasskey("/api/step-up/passkey/begin", "/api/step-up/passkey"));
  form.onsubmit = (event) => {
    event.preventDefault();
    const code = input.value.trim();
    input.value = "";
    prove(stepUp(code));
  };
  // Keys typed here are no shortcuts of OHIF's.
  for (const kind of ["keydown", "keyup", "keypress"]) ask.addEventListener(kind, (event) => event.stopPropagation());
  ask.append(form);
}

// --- one study after another (rule 5) ----------------------------------------------------------------------------

function open(next: string): void {
  turnTo(next);
  void firstPicture(next, t("preview"), closed.signal);
  void poll();
}

function close(): boolean {
  const whole = state.cover === null && turn < MOST_TURNS;
  turnTo("");
  const mine = turn;
  setTimeout(() => turn === mine && dispatchEvent(new Event("ribcage:forget")), AFTERWARDS_MILLISECONDS);
  return whole;
}

function turnTo(next: string): void {
  turn += 1;
  rehearsing = false;
  closed.abort();
  closed = new AbortController();
  ask.close();
  state = { ...START, session: state.session };
  study = next;
  failed.forget();
  dispatchEvent(new Event("ribcage:forget")); // OHIF's stores listen (console/build/ohif.mjs)
  lead(next);
  draw();
}

function lead(next: string): void {
  history.replaceState(null, "", addressOf(next));
  dispatchEvent(new PopStateEvent("popstate")); // OHIF's router follows
}

function startRehearsal(): void {
  const first = turn;
  const begin = (madeUp: string): void => {
    rehearsing = true;
    lead(madeUp);
  };
  rehearse(() => turn === first, begin, () => {
    rehearsed = true;
    if (turn === first) close();
  });
}

/** Escape leads to the way back, and from there to the list: one key alone ends no measurement that is half drawn. */
function onEscape(event: KeyboardEvent): void {
  if (event.key !== "Escape" || document.querySelector("dialog[open], [role=dialog], [role=menu]")) return;
  if (document.activeElement === list) list.click();
  else list.focus();
}

// --- start ------------------------------------------------------------------------------------------------------

function keepTitle(): void {
  const title = document.title;
  Object.defineProperty(document, "title", { get: () => title, set: () => undefined });
}

function start(): void {
  keepTitle();
  makeDialog();
  full.onclick = () => ask.showModal();
  marks.setAttribute("aria-hidden", "true");
  bar.tabIndex = -1;
  bar.setAttribute("role", "region");
  bar.setAttribute("aria-label", t("viewer"));
  bar.append(list, label, full, note, reader);
  document.body.append(bar, failed.box, marks, cover, ask);
  draw();
  void poll();
  if (!framed) hearEvents("/api/events", onEvent, () => void poll());
  else if (!study) startRehearsal();
  setInterval(() => void poll(), POLL_SECONDS * 1000);
  setInterval(() => {
    draw();
    failed.look();
    if (asksAgain(state, now())) void askView();
  }, 1000);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) void poll();
  });
}

listen(() => turn, (address) => answered(address, rehearsing), (status, view, unchecked, stepUp, about) => {
  hear({ kind: "image-answer", status, view, unchecked, stepUp });
  failed.hear({ kind: "answer", status, about, stepUp });
});
if (study) void firstPicture(study, t("preview"), closed.signal); // before OHIF is read: the archive draws while the browser reads scripts
fetchFirst();
if (framed) window.ribcageViewer = { open, close, waits: () => rehearsed && !study, hear: onEvent, focus: () => bar.focus() };
window.addEventListener("keydown", onEscape, { capture: true }); // OHIF keeps keys to itself, and gets this one too
document.addEventListener("DOMContentLoaded", start);
