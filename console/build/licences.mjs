// NOTICES.txt: the licence texts of everything that is shipped, OHIF first.

import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

const RULE = `\n${"-".repeat(78)}\n`;

/** Write NOTICES.txt into `target`. */
export async function writeNotices(here, target, ohif) {
  const pieces = ["Third-party software in the web console and the viewer.\n"];
  pieces.push(`${ohif.title}\n\n${ohif.licence}`);
  const lock = JSON.parse(await readFile(join(here, "package-lock.json"), "utf8"));
  for (const [place, entry] of Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (place === "" || entry.dev || entry.optional) continue;
    const text = await licenceIn(join(here, place));
    pieces.push(`${place.replace(/^.*node_modules\//, "")} ${entry.version} (${entry.license ?? "see its files"})\n\n${text}`);
  }
  pieces.push(`Notices found inside ${ohif.title}\n\n${ohif.remarks.join("\n\n")}\n`);
  await writeFile(join(target, "NOTICES.txt"), pieces.join(RULE));
}

async function licenceIn(folder) {
  const name = (await readdir(folder)).find((each) => /^licen[cs]e/i.test(each));
  return name ? readFile(join(folder, name), "utf8") : "";
}
