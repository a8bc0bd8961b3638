/** The two languages: the browser's decides until somebody chooses. */

export type Language = "en" | "zh";
export type Words = Record<string, readonly [string, string]>; // English, Chinese

const KEPT_AS = "ribcage-language"; // the only thing that the console keeps in the browser

/** The language chosen before, else the browser's. */
export function language(): Language {
  const kept = localStorage.getItem(KEPT_AS);
  if (kept === "en" || kept === "zh") return kept;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** Keep the choice. */
export function keepLanguage(chosen: Language): void {
  localStorage.setItem(KEPT_AS, chosen);
}

/** One text of a table; `{0}` stands for `value`. */
export function pick<T extends Words>(words: T, word: keyof T, chosen: Language, value: string | number = ""): string {
  return (words[word]?.[chosen === "en" ? 0 : 1] ?? "").replace("{0}", String(value));
}

/** A moment (Unix seconds) for people: day and time, or the time alone. */
export function asTime(seconds: number, chosen: Language, dayToo = true): string {
  const form: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", hour12: false };
  if (dayToo) Object.assign(form, { year: "numeric", month: chosen === "zh" ? "long" : "short", day: "numeric" });
  return new Intl.DateTimeFormat(chosen === "zh" ? "zh-CN" : "en-GB", form).format(seconds * 1000);
}

/** A DICOM date (YYYYMMDD) for people; anything else as it is. */
export function asDate(text: string, chosen: Language): string {
  const [, year, month, day] = /^(\d{4})(\d{2})(\d{2})$/.exec(text) ?? [];
  if (day === undefined) return text;
  const form: Intl.DateTimeFormatOptions = { year: "numeric", month: chosen === "zh" ? "long" : "short", day: "numeric", timeZone: "UTC" };
  return new Intl.DateTimeFormat(chosen === "zh" ? "zh-CN" : "en-GB", form).format(Date.UTC(Number(year), Number(month) - 1, Number(day)));
}
