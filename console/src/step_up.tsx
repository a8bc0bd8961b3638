/** The second factor: app code or recovery code in one field, or a passkey. In a dialog, or on the page that needs it. */

import { useState, type FormEvent } from "react";
import { Button, Form } from "react-aria-components";
import { Refused, statusOf, stepUp } from "../shared/api";
import { passkeysHere, provePasskey } from "../shared/passkeys";
import { whyNotProved } from "../shared/words";
import { useConsole } from "./context";
import { Box, Field, Warning } from "./parts";
import type { Word } from "./words";

export function StepUp({ text, onProved, onCancel }: { text: Word; onProved: () => void; onCancel?: () => void }) {
  const { t, session, refresh } = useConsole();
  const [warning, setWarning] = useState<Word | null>(null);
  const [busy, setBusy] = useState(false);

  async function prove(work: Promise<unknown>): Promise<void> {
    setBusy(true);
    setWarning(null);
    try {
      await work;
    } catch (failure) {
      setWarning(whyNotProved(statusOf(failure), failure instanceof Refused ? failure.code : ""));
      setBusy(false);
      await refresh(); // a session that ended meanwhile
      return;
    }
    setBusy(false);
    await refresh();
    onProved();
  }

  function submit(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    const form = event.currentTarget;
    const code = String(new FormData(form).get("code")).trim();
    form.reset();
    void prove(stepUp(code));
  }

  return (
    <Form className="factor" onSubmit={submit}>
      <p>{t(text)}</p>
      <Field label="code" hint="codeHint" name="code" isRequired autoFocus={onCancel !== undefined} autoComplete="one-time-code" maxLength={24} />
      <div className="buttons">
        <Button type="submit" className="main" isDisabled={busy}>
          {t("confirm")}
        </Button>
        {passkeysHere() && (session?.factors?.passkeys ?? 0) > 0 && (
          <Button isDisabled={busy} onPress={() => void prove(provePasskey("/api/step-up/passkey/begin", "/api/step-up/passkey"))}>
            {t("usePasskey")}
          </Button>
        )}
        {onCancel && <Button onPress={onCancel}>{t("cancel")}</Button>}
      </div>
      <Warning word={warning} />
    </Form>
  );
}

export function StepUpBox({ onEnd }: { onEnd: (proved: boolean) => void }) {
  const { t } = useConsole();
  return (
    <Box title={t("proveTitle")} onClose={() => onEnd(false)}>
      <StepUp text="factorNeeded" onProved={() => onEnd(true)} onCancel={() => onEnd(false)} />
    </Box>
  );
}
