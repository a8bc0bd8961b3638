import { describe, expect, it } from "vitest";
import { answered } from "../overlay/rehearse";

const UID = "2.25.314159265358979323846264338327950288";
const read = (address: string, rehearsing = true): unknown => JSON.parse(decodeURIComponent((answered(address, rehearsing) ?? "").split(",")[1] ?? "null"));
const value = (found: unknown, tag: string): unknown => (found as Record<string, { Value: unknown[] }>[])[0]?.[tag]?.Value[0];

describe("a rehearsal", () => {
  it("asks the archive for nothing while it goes on, nor afterwards about what it made up", () => {
    for (const address of ["/dicom-web/studies?PatientID=1", "/dicom-web/studies/1.2.3/series", "https://localhost/dicom-web/studies/1.2.3/metadata"]) expect(read(address), address).toEqual([]);
    for (const address of [`/dicom-web/studies?StudyInstanceUID=${UID}.1`, `/dicom-web/studies?00100020=${UID}`, `/dicom-web/studies/${UID}.1/series/${UID}.2/metadata`])
      expect(answered(address, false), address).toMatch(/^data:/);
  });
  it("leaves every other question to the archive", () => {
    for (const address of ["/dicom-web/studies/1.2.3/metadata", "/dicom-web/studies?limit=25"]) expect(answered(address, false), address).toBeNull();
    for (const address of ["/api/session", "/viewer/1/app.bundle.1.js", "blob:https://localhost/1"]) expect(answered(address, true), address).toBeNull();
  });
  it("names one study, one series and one picture that fit together", () => {
    const study = value(read(`/dicom-web/studies?StudyInstanceUID=${UID}.1`), "0020000D");
    const series = value(read(`/dicom-web/studies/${study}/series`), "0020000E");
    const image = read(`/dicom-web/studies/${study}/series/${series}/metadata`);
    expect([value(image, "0020000D"), value(image, "0020000E")]).toEqual([study, series]);
    const frame = answered(`/dicom-web/studies/${study}/series/${series}/instances/${value(image, "00080018")}/frames/1`, true) ?? "";
    const bytes = atob(frame.split(",")[1] ?? "");
    expect(bytes.length).toBe(Number(value(image, "00280010")) * Number(value(image, "00280011")) * 2);
    expect(new Set(bytes).size).toBe(1); // one grey
  });
  it("names nobody", () => {
    for (const path of ["studies?", `studies/${UID}.1/series?`, `studies/${UID}.1/series/${UID}.2/metadata`]) expect(JSON.stringify(read(`/dicom-web/${path}${UID}.1`))).not.toMatch(/"PN"|00100010/);
  });
});
