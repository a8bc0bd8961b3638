import { describe, expect, it } from "vitest";
// @ts-expect-error plain JavaScript of the build
import { immutable } from "../build/manifest.mjs";
// @ts-expect-error plain JavaScript of the build
import { amended, leftOver, moved } from "../build/ohif.mjs";
import { pathOf } from "../src/router";

describe("OHIF below /viewer/", () => {
  it("moves the public path and what style sheets load", () => {
    expect(moved("a.js", 'x;__webpack_require__.p = "/";')).toBe('x;__webpack_require__.p = "/viewer/";');
    expect(moved("a.css", "src:url(/a34f9d1faa5f3315.woff2)")).toBe("src:url(/viewer/a34f9d1faa5f3315.woff2)");
  });
  it("finds what is left", () => {
    const names = ["12.bundle.b4688cdbdd856b75.js"];
    expect(leftOver('import("/12.bundle.b4688cdbdd856b75.js")', names)).toEqual(["/12.bundle.b4688cdbdd856b75.js"]);
    expect(leftOver('__webpack_require__.p = "/"', names)).toHaveLength(1);
    expect(leftOver('fetch("/dicom-web")', names)).toEqual([]);
  });
  it("amends exactly one place, or nothing is built", () => {
    expect(amended("a b c", [["b", "x"]])).toBe("a x c");
    expect(() => amended("a c", [["b", "x"]])).toThrow("found 0");
    expect(() => amended("b b", [["b", "x"]])).toThrow("found 2");
  });
  it("keeps for good only what has its hash in its name", () => {
    for (const name of ["app/assets/index-Y8nQGUzx.js", "viewer/12.bundle.b4688cdbdd856b75.js", "viewer/0ddf166f7a343eda.wasm"])
      expect(immutable(name), name).toBe(true);
    for (const name of ["viewer/app-config.js", "viewer/overlay.js", "viewer/app.bundle.css", "viewer/index.html", "viewer/1602.css"])
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
