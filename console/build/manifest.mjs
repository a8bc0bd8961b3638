// manifest.json: the only files that the server gives out, each with size, hash and what it is. Text and WebAssembly are
// compressed beside the originals (`name.br`).

import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { extname, join, relative, sep } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants } from "node:zlib";

const compress = promisify(brotliCompress);
const PACKED = new Set([".js", ".css", ".html", ".svg", ".wasm", ".txt"]);
const HASHED = /^app\/assets\/.+[.-][0-9A-Za-z_-]{8,}\.(?:js|css|woff2)$/;
const BELOW_A_HASH = /^viewer\/[0-9a-f]{16}\//;
const WORTH_BYTES = 1024;

/** Write it; `workers`: scripts that run as workers, by name. Returns counts for the last line. */
export async function writeManifest(folder, workers) {
  const files = {};
  const sum = { files: 0, bytes: 0, packed: 0 };
  for (const path of (await readdir(folder, { recursive: true, withFileTypes: true })).filter((each) => each.isFile())) {
    const full = join(path.parentPath, path.name);
    const name = relative(folder, full).split(sep).join("/");
    const body = await readFile(full);
    const entry = { size: body.length, sha256: createHash("sha256").update(body).digest("hex"), immutable: immutable(name) };
    if (name in workers) entry.worker = workers[name];
    if (PACKED.has(extname(name)) && body.length >= WORTH_BYTES) {
      const small = await compress(body, {
        params: { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_LGWIN]: 22, [constants.BROTLI_PARAM_SIZE_HINT]: body.length },
      });
      await writeFile(`${full}.br`, small);
      entry.packed = small.length;
      sum.packed += small.length;
    }
    files[name] = entry;
    sum.files += 1;
    sum.bytes += body.length;
  }
  const sorted = Object.fromEntries(Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1)));
  await writeFile(join(folder, "manifest.json"), `${JSON.stringify({ version: 1, files: sorted }, null, 1)}\n`);
  return sum;
}

/** Whether a name holds the hash of its content, or of all that it is made from. */
export function immutable(name) {
  return HASHED.test(name) || BELOW_A_HASH.test(name);
}
