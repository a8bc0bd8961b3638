/**
 * The study's first picture, drawn by the archive, until OHIF has drawn its own.
 *
 * Rules, in order:
 * 1. It is asked for as any picture is: the guard decides, the view's masking holds, who looks and when stands in it.
 * 2. It says that it is a preview: it takes no click, has no tools, and stays below watermark and cover.
 * 3. It goes with OHIF's first picture, with its study, or when OHIF shows none in `PATIENCE_SECONDS`; nothing of it is kept.
 */

const PATIENCE_SECONDS = 20;
const OHIF_TOOLS_PIXELS = 82; // bar and tools, above the picture

/** Ask, show, and take away. A study without pictures, or a refusal, shows nothing: OHIF says why. */
export async function firstPicture(study: string, title: string, closed: AbortSignal): Promise<void> {
  const gone = new AbortController();
  closed.addEventListener("abort", () => gone.abort(), { signal: gone.signal });
  // Cornerstone tells an element of its own, without bubbling: it is heard on the way down.
  document.addEventListener("CORNERSTONE_IMAGE_RENDERED", () => gone.abort(), { capture: true, once: true, signal: gone.signal });
  setTimeout(() => gone.abort(), PATIENCE_SECONDS * 1000);
  try {
    const room = `${Math.round(innerWidth)},${Math.round(innerHeight - OHIF_TOOLS_PIXELS)}`;
    const answer = await fetch(`/dicom-web/studies/${encodeURIComponent(study)}/rendered?viewport=${room}`, {
      credentials: "same-origin", cache: "no-store", headers: { Accept: "image/jpeg" }, signal: gone.signal,
    });
    if (!answer.ok || !answer.headers.get("Content-Type")?.startsWith("image/")) return;
    const picture = document.createElement("img");
    picture.src = URL.createObjectURL(await answer.blob());
    picture.alt = "";
    await picture.decode();
    URL.revokeObjectURL(picture.src);
    if (gone.signal.aborted) return;
    const box = document.createElement("div");
    box.className = "rc-first";
    box.append(picture, title);
    document.body.append(box);
    gone.signal.addEventListener("abort", () => box.remove());
  } catch {
    // no preview: OHIF's own picture follows
  }
}
