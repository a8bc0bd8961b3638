/**
 * The table of pages: path below /app/ → page. A new page is a file in this folder and one line here.
 * `open`: shown without a session. `listed`: its name in the list of pages, for the named roles.
 */

import type { ComponentType } from "react";
import { Devices } from "../admin/devices";
import { Glass } from "../admin/glass";
import { Grants } from "../admin/grants";
import { Invitations } from "../admin/invitations";
import { Persons } from "../admin/persons";
import { Parked, Status } from "../admin/status";
import type { Word } from "../words";
import { Account } from "./account";
import { Emergency } from "./emergency";
import { LogIn } from "./login";
import { Worklist } from "./worklist";

export interface PageEntry {
  Page: ComponentType;
  open?: boolean;
  listed?: Word;
  roles?: readonly string[];
}

const READERS = ["clinician", "radiologist"] as const;
const OVERSEERS = ["administrator", "officer"] as const;

export const PAGES: Record<string, PageEntry> = {
  "": { Page: Worklist, listed: "images" },
  emergency: { Page: Emergency, listed: "emergency", roles: READERS },
  invitations: { Page: Invitations, listed: "invitations", roles: ["administrator", "technologist"] },
  "admin/status": { Page: Status, listed: "administration", roles: OVERSEERS },
  "admin/persons": { Page: Persons },
  "admin/devices": { Page: Devices },
  "admin/grants": { Page: Grants },
  "admin/parked": { Page: Parked },
  "admin/break-glass": { Page: Glass },
  account: { Page: Account, listed: "account" },
  login: { Page: LogIn, open: true },
};
