/** Every text of the console's pages. */

import { WORDS } from "../../shared/words";
import { ADMIN } from "./admin";
import { CONSOLE } from "./console";

export const ALL = { ...WORDS, ...CONSOLE, ...ADMIN } as const;

export type Word = keyof typeof ALL;
