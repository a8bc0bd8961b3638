// OHIF's own build from its npm package, made to live under /viewer/.
//
// Rules, in order:
// 1. The package is what ohif.json names, by its SHA-512; anything else ends the build.
// 2. Left out: source maps; the service worker; OpenID helpers; ONNX runtime and microscopy viewer (156 MB that a chest
//    film never asks for); pictures for phones' home screens. index.html and the configuration are ours.
// 3. OHIF is built for "/": every address of its own files is rewritten, and none may be left (`leftOver`).
// 4. Scripts that run as workers are told apart: the one that decodes pictures makes functions from text (embind), so the
//    server lets that one script do so, in its own worker, and no page.
// 5. What OHIF gets wrong is amended by name (`AMENDED`): each text must be there exactly once, or the build ends.
// 6. What every opening asks for before its first picture (`FIRST`) is named in the page: the overlay has it fetched while the
//    browser reads the app, not one wave after the other. Modes that no address here leads to are not read at all.
// 7. Scripts are made smaller: the browser reads half as much before the first picture. Names of functions and classes
//    stay, because OHIF finds tools by them.
// 8. What was changed no longer fits the hash in its name, and browsers keep it for good: the files stand below the hash
//    of all that this build makes them from (`pathFor`), so that another build has other addresses.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { minify } from "vite";

const run = promisify(execFile);
const PUBLIC_PATH = '__webpack_require__.p = "/"';
const KEPT = /^(?:[\w.-]+\.bundle\.[0-9a-f]{16}\.js|[0-9a-f]{16}\.(?:wasm|woff2)|(?:\d+|app\.bundle)\.css|ohif-logo(?:-light)?\.svg)$/;
const EVALUATES = "libjpegturbowasm_decode";
// [file, from, to]. A film whose Pixel Spacing is 0\\0 ("unknown" of old digitisers) was drawn with no size: a black picture. As if absent.
// A study of which no object names its modality was called absent.
// Between two studies OHIF keeps what it was told of the first: its stores forget it when the overlay says so, and the next
// opening asks the archive again. Contexts of WebGL were left to the garbage collector, and the browser took away those in use
// at the third study: they end with their engine, and three are enough for one screen.
const AMENDED = [
  ["app", "if (PixelSpacing) {\n      [rowPixelSpacing", "if (PixelSpacing && PixelSpacing.every(each => Number(each) > 0)) {\n      [rowPixelSpacing"],
  ["app", '"default"] */.A)(PixelSpacing || 1)', '"default"] */.A)(PixelSpacing?.every(each => Number(each) > 0) ? PixelSpacing : 1)'],
  ["app", "const _model = {\n  studies: []\n};", `const _model = {\n  studies: []\n};\n${forget("_model.studies = []")}`],
  ["app", "this.imageURIToUIDs = new Map();", `this.imageURIToUIDs = new Map();\n${forget("this.imageURIToUIDs.clear(); this.customMetadata.clear()")}`],
  ["app", "function metaDataManager_purge() {", `${forget("metaDataManager_purge()")}\nfunction metaDataManager_purge() {`],
  ["89", "const StudyMetaDataPromises = new Map();", `const StudyMetaDataPromises = new Map();\n${forget("StudyMetaDataPromises.clear()")}`],
  ["app", "if (model.context) deleteGLContext();", 'if (model.context) { deleteGLContext(); model.context.getExtension("WEBGL_lose_context")?.loseContext(); }'],
  ["app", "webGlContextCount: 7,", "webGlContextCount: 3,"],
  ["app", 'pluginImports_extensions.push("@ohif/extension-ultrasound-pleura-bline");\n', ""],
  ["app", ["basic", "segmentation", "tmtv", "microscopy", "preclinical-4d", "ultrasound-pleura-bline"].map((mode) => `pluginImports_modes.push("@ohif/mode-${mode}");\n`).join(""), ""],
  ["app", "i < ModalitiesInStudy.Value.length", "i < (ModalitiesInStudy.Value?.length ?? 0)"],
];
// Pieces of OHIF by number, scripts and styles, in the order in which it asks for them.
const FIRST = [1673, 6938, 6489, 6495, 8478, 89, 6214, 6749, 5696, 9383, 7248, 3833, 781, 9415, 3500, 9116, 100, 5406, 3760, 2623, 1206];
const LEFT_OUT_FILES = ["/silent-refresh.html", "/dicom-microscopy-viewer/"]; // named by code that is never reached

/** Unpack below `target`; returns which scripts are workers, and the licence texts. */
export async function unpackOhif(here, target) {
  const wanted = JSON.parse(await readFile(join(here, "ohif.json"), "utf8"));
  const path = await pathFor(here);
  const base = `/viewer/${path}/`;
  const folder = await mkdtemp(join(tmpdir(), "ribcage-ohif-"));
  try {
    await mkdir(join(target, path));
    const dist = join(await fetchPackage(wanted, folder), "dist");
    const names = (await readdir(dist)).filter((name) => KEPT.test(name)).sort();
    const workers = {};
    const remarks = new Set();
    for (const name of names) {
      if (!/\.(?:js|css)$/.test(name)) {
        await cp(join(dist, name), join(target, path, name));
        continue;
      }
      const given = await readFile(join(dist, name), "utf8");
      const text = moved(name, amended(given, AMENDED.filter(([file]) => name.startsWith(`${file}.bundle.`) && name.endsWith(".js"))), base);
      const left = leftOver(text, names);
      if (left.length > 0) throw new Error(`OHIF: ${name} still names ${left.join(", ")} below "/"`);
      if (isWorker(name, text)) workers[`viewer/${path}/${name}`] = text.includes(EVALUATES) ? "evaluates" : "plain";
      for (const remark of text.match(/\/\*!(?:[^*]|\*(?!\/))*\*\/|\/\*\*?[^*]*@(?:license|preserve)(?:[^*]|\*(?!\/))*\*\//g) ?? [])
        remarks.add(remark);
      await writeFile(join(target, path, name), name.endsWith(".js") ? await smaller(name, text) : text);
    }
    if (!Object.values(workers).includes("evaluates")) throw new Error("OHIF: the worker that decodes pictures was not found");
    await cp(join(dist, "assets", "favicon.ico"), join(target, "favicon.ico"));
    const entry = names.find(isApp);
    const page = await readFile(join(here, "viewer", "index.html"), "utf8");
    await writeFile(join(target, "index.html"), page.replaceAll("%BASE%", base).replace("%APP%", entry).replace("%FIRST%", first(names, base).join(" ")));
    for (const name of ["boot.js", "app-config.js"]) await cp(join(here, "viewer", name), join(target, name));
    const licence = await readFile(join(dist, "..", "LICENSE"), "utf8");
    return { workers, notices: { title: `${wanted.package} ${wanted.version}`, licence, remarks: [...remarks] } };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The text with its addresses below `base`. */
export function moved(name, text, base) {
  if (name.endsWith(".css")) return text.replaceAll("url(/", `url(${base}`);
  return text.replaceAll(PUBLIC_PATH, `__webpack_require__.p = "${base}"`);
}

/** The hash of what OHIF's files are made from: the package, this program, the packages that it runs with (rule 8). */
export async function pathFor(here) {
  const hash = createHash("sha256");
  for (const source of [join(here, "ohif.json"), fileURLToPath(import.meta.url), join(here, "package-lock.json")])
    hash.update(createHash("sha256").update(await readFile(source)).digest());
  return hash.digest("hex").slice(0, 16);
}

/** The script without blanks, remarks and long local names (rule 7). */
export async function smaller(name, text) {
  const { code, errors } = await minify(name, text, { compress: true, mangle: { keepNames: true } });
  if (errors.length > 0) throw new Error(`OHIF: ${name} cannot be made smaller: ${errors[0].message}`);
  return code;
}

/** The addresses of `FIRST` (rule 6); throws when OHIF has no such piece any more. */
export function first(names, base, numbers = FIRST) {
  return numbers.flatMap((number) => {
    const found = names.filter((name) => name === `${number}.css` || new RegExp(`^${number}\\.bundle\\.\\w+\\.js$`).test(name));
    if (found.length === 0) throw new Error(`OHIF: expected a piece ${number}, found none`);
    return found.map((name) => base + name);
  });
}

/** Addresses below "/" of OHIF's own files that are left in the text. */
export function leftOver(text, names) {
  const own = new Set(names);
  const found = text.includes(PUBLIC_PATH) ? [PUBLIC_PATH] : [];
  for (const [, path] of text.matchAll(/["'`(](\/[\w./-]{3,80})["'`)]/g))
    if (own.has(path.slice(1)) && !LEFT_OUT_FILES.some((left) => path.startsWith(left))) found.push(path);
  return found;
}

/** The text with each `[file, from, to]` replaced; throws unless each stands there exactly once (rule 5). */
export function amended(text, changes) {
  for (const [, from, to] of changes) {
    const pieces = text.split(from);
    if (pieces.length !== 2) throw new Error(`OHIF: expected one place to amend, found ${pieces.length - 1}: ${from}`);
    text = pieces.join(to);
  }
  return text;
}

/** The statement that does `work` when the overlay says that what was shown is to be forgotten. */
function forget(work) {
  return `addEventListener("ribcage:forget", () => { ${work}; });`;
}

function isApp(name) {
  return name.startsWith("app.bundle.") && name.endsWith(".js");
}

function isWorker(name, text) {
  return text.includes("__webpack_require__.p =") && !isApp(name);
}

async function fetchPackage(wanted, folder) {
  const npm = process.env.npm_execpath; // set by `npm run`
  const [program, first] = npm ? [process.execPath, [npm]] : ["npm", []];
  const { stdout } = await run(program, [...first, "pack", "--silent", "--pack-destination", folder, `${wanted.package}@${wanted.version}`], { cwd: folder });
  const file = join(folder, stdout.trim().split("\n").pop());
  const digest = `sha512-${createHash("sha512").update(await readFile(file)).digest("base64")}`;
  if (digest !== wanted.integrity) throw new Error(`OHIF: expected ${wanted.integrity}, got ${digest}`);
  await run("tar", ["-xzf", file, "-C", folder]);
  return join(folder, "package");
}
