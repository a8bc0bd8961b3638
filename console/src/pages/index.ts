/**
 * The table of pages: path below /app/ → page. A new page is a file in this folder and one line here.
 * `open`: shown without a session.
 */

import type { ComponentType } from "react";
import { LogIn } from "./login";
import { Worklist } from "./worklist";

export interface PageEntry {
  Page: ComponentType;
  open?: boolean;
}

export const PAGES: Record<string, PageEntry> = {
  "": { Page: Worklist },
  login: { Page: LogIn, open: true },
};
