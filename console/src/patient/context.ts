/** The language of the patient's page, and its texts. */

import { createContext, useContext } from "react";
import { Refused } from "../../shared/api";
import { pick, type Language } from "../../shared/language";
import { PATIENT, type PatientWord } from "../words/patient";
import type { Tell } from "./story";

export const LanguageContext = createContext<Language>("zh");

export function useWords(): { t: Tell; language: Language } {
  const language = useContext(LanguageContext);
  return { language, t: (word, value) => pick(PATIENT, word, language, value) };
}

/** A refusal in plain words; `wrong`: what a 401 means here. */
export function whyNot(failure: unknown, wrong: PatientWord = "tryAgain"): PatientWord {
  const { status, code } = failure instanceof Refused ? failure : { status: -1, code: "" };
  if (code === "passkey") return "thisPhoneNot";
  if (status === 0 || status === 503) return "noAnswer";
  if (status === 429) return "tooMany";
  return status >= 400 && status < 500 ? wrong : "tryAgain";
}
