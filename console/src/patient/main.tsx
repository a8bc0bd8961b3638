/**
 * The patient's page, for a phone. It has a cookie of its own and asks only `/api/patient/…`.
 *
 * The invitation stands behind `#` of the address: it is taken out before anything is drawn, kept in memory until it was
 * used, and never becomes part of a request's address.
 */

import { useCallback, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { Button } from "react-aria-components";
import { statusOf } from "../../shared/api";
import { keepLanguage, language as keptLanguage, pick, type Language } from "../../shared/language";
import { takeFragment } from "../router";
import { PATIENT, type PatientWord } from "../words/patient";
import "../app.css";
import "./patient.css";
import { leave as signOut, who, type Patient } from "./api";
import { LanguageContext, whyNot } from "./context";
import { Entrance } from "./entrance";
import { Records } from "./records";

const invitation = takeFragment();

function PatientPage() {
  const [language, setLanguage] = useState<Language>(keptLanguage);
  const [token, setToken] = useState(invitation);
  const [patient, setPatient] = useState<Patient | null>(null);
  const [asked, setAsked] = useState(false);
  const [ended, setEnded] = useState(false);
  const [warning, setWarning] = useState<PatientWord | null>(null);
  const t = (word: PatientWord): string => pick(PATIENT, word, language);

  const ask = useCallback(async () => {
    setWarning(null);
    try {
      setPatient(await who());
    } catch (failure) {
      if (statusOf(failure) !== 401) return setWarning(whyNot(failure));
    }
    setAsked(true);
  }, []);

  useEffect(() => {
    if (invitation) setAsked(true); // whoever brings an invitation comes with it, not with a session that was left here
    else void ask();
    const again = (): void => {
      const given = takeFragment();
      if (!given) return;
      setPatient(null);
      setToken(given);
      setAsked(true);
    };
    window.addEventListener("hashchange", again);
    return () => window.removeEventListener("hashchange", again);
  }, [ask]);
  useEffect(() => {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    document.title = `${pick(PATIENT, "title", language)} · Ribcage`;
  }, [language]);

  const end = useCallback(() => {
    setPatient(null);
    setEnded(true);
  }, []);

  async function leave(): Promise<void> {
    try {
      await signOut();
      end();
    } catch (failure) {
      setWarning(whyNot(failure));
    }
  }

  function enter(entered: Patient): void {
    setToken("");
    setEnded(false);
    setPatient(entered);
  }

  function changeLanguage(): void {
    const other = language === "en" ? "zh" : "en";
    keepLanguage(other);
    setLanguage(other);
  }

  return (
    <LanguageContext value={language}>
      <header className="top">
        <strong>{patient?.hospital || t("title")}</strong>
        <Button className="other" onPress={changeLanguage}>
          {t("language")}
        </Button>
      </header>
      <main>
        {warning && (
          <div role="alert">
            <p>{t(warning)}</p>
            {!asked && <Button onPress={() => void ask()}>{t("retry")}</Button>}
          </div>
        )}
        {!asked && !warning && <p role="status">{t("loading")}</p>}
        {asked && !patient && <Entrance key={token} token={token} ended={ended} onEnter={enter} />}
        {patient && <Records patient={patient} onEnd={end} onPatient={setPatient} />}
        {patient && (
          <Button className="wide out" onPress={() => void leave()}>
            {t("signOut")}
          </Button>
        )}
      </main>
    </LanguageContext>
  );
}

const root = document.getElementById("root");
if (root) createRoot(root).render(<PatientPage />);
