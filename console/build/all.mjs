// The whole build, into ../src/ribcage/console/static (git-ignored): the console's own app, the viewer's overlay,
// OHIF made to live under /viewer/, licences, and the manifest that the server serves from.
//
// Everything is made in a folder beside the target and renamed at the end: a build that fails leaves the old one.

import { mkdir, rename, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { writeNotices } from "./licences.mjs";
import { writeManifest } from "./manifest.mjs";
import { unpackOhif } from "./ohif.mjs";

const here = fileURLToPath(new URL("..", import.meta.url));
const target = fileURLToPath(new URL("../../src/ribcage/console/static", import.meta.url));
const fresh = `${target}.new`;
const started = Date.now();
const say = (text) => console.log(`[${((Date.now() - started) / 1000).toFixed(0)} s] ${text}`);

await rm(fresh, { recursive: true, force: true });
await mkdir(fresh, { recursive: true });

say("console: the app and the patient's page");
await build({
  configFile: false,
  root: here,
  base: "/app/",
  logLevel: "warn",
  build: {
    outDir: `${fresh}/app`,
    assetsInlineLimit: 0,
    emptyOutDir: false,
    modulePreload: { polyfill: false },
    rollupOptions: { input: ["index.html", "patient.html"].map((page) => `${here}${page}`) },
  },
});

say("console: the viewer's overlay");
await build({
  configFile: false,
  root: here,
  logLevel: "warn",
  build: {
    outDir: `${fresh}/viewer`,
    emptyOutDir: false,
    lib: { entry: "overlay/main.ts", formats: ["iife"], name: "ribcage", fileName: () => "overlay.js", cssFileName: "overlay" },
  },
});

say("OHIF: fetch, check its hash, move to /viewer/");
const ohif = await unpackOhif(here, `${fresh}/viewer`);

say("licences and manifest (compresses; the longest step)");
await writeNotices(here, fresh, ohif.notices);
const sum = await writeManifest(fresh, ohif.workers);

await rm(target, { recursive: true, force: true });
await rename(fresh, target);
say(`done: ${sum.files} files, ${(sum.bytes / 1e6).toFixed(1)} MB, ${(sum.packed / 1e6).toFixed(1)} MB compressed beside them`);
