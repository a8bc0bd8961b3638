/** The second factor, asked on the page that needs it: names and IDs are neither shown nor searched without it. */

import { useState, type FormEvent } from "react";
import { Button, Form, Input, Label, TextField } from "react-aria-components";
import { Refused, stepUp } from "../../shared/api";
import type { Word } from "../../shared/words";
import { useConsole } from "../context";

export function SecondFactor({ onProved }: { onProved: () => void }) {
  const { t, refresh } = useConsole();
  const [warning, setWarning] = useState<Word | null>(null);

  async function submit(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const form = event.currentTarget;
    const code = String(new FormData(form).get("code")).trim();
    form.reset();
    try {
      await stepUp(code);
      onProved();
    } catch (failure) {
      const status = failure instanceof Refused ? failure.status : 0;
      setWarning(status === 401 || status === 403 ? "wrongCode" : status === 429 ? "tooMany" : "tryAgain");
    }
    await refresh();
  }

  return (
    <Form className="factor" onSubmit={(event) => void submit(event)}>
      <p>{t("maskedList")}</p>
      <TextField name="code" isRequired autoComplete="one-time-code" inputMode="numeric" maxLength={16}>
        <Label>{t("code")}</Label>
        <Input />
      </TextField>
      <Button type="submit">{t("confirm")}</Button>
      <p role="alert" className="warning">
        {warning && t(warning)}
      </p>
    </Form>
  );
}
