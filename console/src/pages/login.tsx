/** Log-in by name and password. The second factor is asked where it matters, not here. */

import { useState, type FormEvent } from "react";
import { Button, Form, Input, Label, TextField } from "react-aria-components";
import { logIn, Refused } from "../../shared/api";
import type { Word } from "../../shared/words";
import { useConsole } from "../context";

export function LogIn() {
  const { t, go, refresh } = useConsole();
  const [warning, setWarning] = useState<Word | null>(null);
  const [busy, setBusy] = useState(false);

  async function submit(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    setBusy(true);
    try {
      await logIn(String(given.get("username")), String(given.get("password")));
      await refresh();
      go("");
    } catch (failure) {
      const status = failure instanceof Refused ? failure.status : 0;
      setWarning(status === 429 ? "tooMany" : status >= 400 && status < 500 ? "wrongName" : "tryAgain");
      setBusy(false);
    }
  }

  return (
    <section className="narrow">
      <h1>{t("signIn")}</h1>
      <Form onSubmit={(event) => void submit(event)}>
        <TextField name="username" isRequired autoFocus autoComplete="username" maxLength={128}>
          <Label>{t("username")}</Label>
          <Input />
        </TextField>
        <TextField name="password" type="password" isRequired autoComplete="current-password" maxLength={128}>
          <Label>{t("password")}</Label>
          <Input />
        </TextField>
        <p role="alert" className="warning">
          {warning && t(warning)}
        </p>
        <Button type="submit" className="main" isDisabled={busy}>
          {t("signIn")}
        </Button>
      </Form>
    </section>
  );
}
