/** The way in: an invitation with the date of birth, or the phone's own passkey. */

import { useState, type FormEvent } from "react";
import { Button, Form, Input, Label, Text, TextField } from "react-aria-components";
import { passkeysHere, provePasskey } from "../../shared/passkeys";
import type { PatientWord } from "../words/patient";
import { enter, type Patient } from "./api";
import { useWords, whyNot } from "./context";
import { birthDate } from "./story";

export function Entrance({ token, ended, onEnter }: { token: string; ended: boolean; onEnter: (patient: Patient) => void }) {
  const { t } = useWords();
  const [warning, setWarning] = useState<PatientWord | null>(null);
  const [busy, setBusy] = useState(false);

  async function go(work: () => Promise<Patient>, wrong: PatientWord): Promise<void> {
    setBusy(true);
    setWarning(null);
    try {
      onEnter(await work());
    } catch (failure) {
      setWarning(whyNot(failure, wrong));
      setBusy(false);
    }
  }

  function submit(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    const date = birthDate(String(new FormData(event.currentTarget).get("birth")));
    if (date === "") setWarning("birthDateWrong");
    else void go(() => enter(token, date), "enterWrong");
  }

  return (
    <>
      <h1>{t("welcome")}</h1>
      {ended && <p role="status">{t("ended")}</p>}
      <p>{t("welcomeText")}</p>
      {token && (
        <Form onSubmit={submit}>
          <TextField name="birth" isRequired inputMode="numeric" autoComplete="off" maxLength={14}>
            <Label>{t("birthDate")}</Label>
            <Text slot="description">{t("birthDateHint")}</Text>
            <Input />
          </TextField>
          <Button type="submit" className="main wide" isDisabled={busy}>
            {t("enter")}
          </Button>
        </Form>
      )}
      {!token && passkeysHere() && (
        <Button
          className="main wide"
          isDisabled={busy}
          onPress={() => void go(() => provePasskey<Patient>("/api/patient/passkey/login/begin", "/api/patient/passkey/login"), "thisPhoneWrong")}
        >
          {t("thisPhone")}
        </Button>
      )}
      <p role="alert" className="warning">
        {warning && t(warning)}
      </p>
      {!token && <p className="quiet">{t("noInvitation")}</p>}
    </>
  );
}
