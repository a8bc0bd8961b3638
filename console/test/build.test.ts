import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript of the build
import { immutable } from "../build/manifest.mjs";
// @ts-expect-error plain JavaScript of the build
import { amended, first, leftOver, moved, pathFor, smaller } from "../build/ohif.mjs";
import { pathOf } from "../src/router";

describe("OHIF below /viewer/", () => {
  it("moves the public path and what style sheets load", () => {
    const base = "/viewer/0123456789abcdef/";
    expect(moved("a.js", 'x;__webpack_require__.p = "/";', base)).toBe(`x;__webpack_require__.p = "${base}";`);
    expect(moved("a.css", "src:url(/a34f9d1faa5f3315.woff2)", base)).toBe(`src:url(${base}a34f9d1faa5f3315.woff2)`);
  });
  it("has another address when anything it is made from changes", async () => {
    const folder = await mkdtemp(join(tmpdir(), "ribcage-test-"));
    try {
      await writeFile(join(folder, "package-lock.json"), "{}");
      const paths = new Set<string>();
      for (const text of ["one", "two"]) {
        await writeFile(join(folder, "ohif.json"), text);
        paths.add(await pathFor(folder));
      }
      expect(paths.size).toBe(2);
      for (const path of paths) expect(path).toMatch(/^[0-9a-f]{16}$/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
  it("is made smaller without losing names, or nothing is built", async () => {
    expect(await smaller("a.js", "class  ZoomTool {}\n// remark\nwindow.tools = [ZoomTool];")).toContain("class ZoomTool");
    await expect(smaller("a.js", "class {")).rejects.toThrow("a.js");
  });
  it("names what every opening needs, scripts and styles, or nothing is built", () => {
    const names = ["7.css", "7.bundle.0123456789abcdef.js", "77.bundle.0123456789abcdef.js", "8.bundle.0123456789abcdef.js"];
    expect(first(names, "/viewer/1/", [8, 7])).toEqual(["/viewer/1/8.bundle.0123456789abcdef.js", "/viewer/1/7.css", "/viewer/1/7.bundle.0123456789abcdef.js"]);
    expect(() => first(names, "/viewer/1/", [9])).toThrow("piece 9");
  });
  it("finds what is left", () => {
    const names = ["12.bundle.b4688cdbdd856b75.js"];
    expect(leftOver('import("/12.bundle.b4688cdbdd856b75.js")', names)).toEqual(["/12.bundle.b4688cdbdd856b75.js"]);
    expect(leftOver('__webpack_require__.p = "/"', names)).toHaveLength(1);
    expect(leftOver('fetch("/dicom-web")', names)).toEqual([]);
  });
  it("amends exactly one place, or nothing is built", () => {
    expect(amended("a b c", [["f", "b", "x"]])).toBe("a x c");
    expect(() => amended("a c", [["f", "b", "x"]])).toThrow("found 0");
    expect(() => amended("b b", [["f", "b", "x"]])).toThrow("found 2");
  });
  it("keeps for good only what has its hash in its name", () => {
    for (const name of ["app/assets/index-Y8nQGUzx.js", "viewer/0123456789abcdef/12.bundle.b4688cdbdd856b75.js", "viewer/0123456789abcdef/app.bundle.css"])
      expect(immutable(name), name).toBe(true);
    for (const name of ["viewer/app-config.js", "viewer/overlay.js", "viewer/index.html", "viewer/12.bundle.b4688cdbdd856b75.js", "app/index.html"])
      expect(immutable(name), name).toBe(false);
  });
});

describe("console", () => {
  it("routes below /app/", () => {
    expect(pathOf("/app/")).toBe("");
    expect(pathOf("/app/login")).toBe("login");
    expect(pathOf("/app/patient/")).toBe("patient");
  });
});
