/** Log-in by name and password, or by passkey. After a password the second factor is asked where it matters, not here. */

import { useState, type FormEvent } from "react";
import { Button, Form } from "react-aria-components";
import { logIn, Refused } from "../../shared/api";
import { passkeysHere, provePasskey } from "../../shared/passkeys";
import { useConsole, whyNot } from "../context";
import { Field, Title, Warning } from "../parts";
import type { Word } from "../words";

export function LogIn() {
  const { t, go, refresh } = useConsole();
  const [warning, setWarning] = useState<Word | null>(null);
  const [busy, setBusy] = useState(false);

  async function enter(work: Promise<unknown>, wrong: Word): Promise<void> {
    setBusy(true);
    setWarning(null);
    try {
      await work;
      await refresh();
      go("");
    } catch (failure) {
      const status = failure instanceof Refused ? failure.status : 0;
      setWarning([400, 401, 403].includes(status) ? wrong : whyNot(failure));
      setBusy(false);
    }
  }

  function submit(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    void enter(logIn(String(given.get("username")).trim(), String(given.get("password"))), "wrongName");
  }

  return (
    <section className="narrow">
      <Title word="signIn" />
      <Form onSubmit={submit}>
        <Field label="username" name="username" isRequired autoComplete="username" autoFocus />
        <Field label="password" name="password" type="password" isRequired autoComplete="current-password" />
        <Warning word={warning} />
        <Button type="submit" className="main wide" isDisabled={busy}>
          {t("signIn")}
        </Button>
      </Form>
      {passkeysHere() && (
        <>
          <p className="or">{t("orPasskey")}</p>
          <Button className="wide" isDisabled={busy} onPress={() => void enter(provePasskey("/api/login/passkey/begin", "/api/login/passkey"), "wrongPasskey")}>
            {t("signInPasskey")}
          </Button>
        </>
      )}
      <p className="quiet">{t("lostFactor")}</p>
      <p className="quiet">{t("recorded")}</p>
    </section>
  );
}
