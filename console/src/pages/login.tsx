/** Log-in by name and password, or by passkey. After a password the second factor is asked where it matters, not here. */

import { useEffect, useState, type FormEvent } from "react";
import { Button, Form } from "react-aria-components";
import { left } from "../../overlay/state";
import { logIn, Refused } from "../../shared/api";
import { passkeysHere, provePasskey } from "../../shared/passkeys";
import { useConsole, whyNot } from "../context";
import { Field, Title, Warning } from "../parts";
import type { Word } from "../words";

export function LogIn() {
  const { t, go, refresh } = useConsole();
  const [warning, setWarning] = useState<Word | null>(null);
  const [busy, setBusy] = useState(false);
  const [until, setUntil] = useState(0);
  const wait = useWait(until);

  /** The archive takes no attempt before: neither does the page. */
  function hold(seconds: number): void {
    setUntil(Date.now() / 1000 + seconds);
    setBusy(false);
  }

  async function enter(work: Promise<unknown>, wrong: Word): Promise<void> {
    setBusy(true);
    setWarning(null);
    try {
      await work;
      await refresh();
      go("");
    } catch (failure) {
      const { status, retry } = failure instanceof Refused ? failure : { status: 0, retry: 0 };
      if (status === 429 && retry > 0) return hold(retry);
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
        <Warning word={warning ?? (wait ? "throttled" : null)} />
        {wait && (
          <p className="notice">
            <span role="timer">{t("throttledWait", wait)}</span> {t("throttledText")}
          </p>
        )}
        <Button type="submit" className="main wide" isDisabled={busy || wait !== ""}>
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

/** What is left until then as minutes and seconds, "" when it is over. */
function useWait(until: number): string {
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    if (until <= Date.now() / 1000) return;
    const timer = setInterval(() => setNow(Date.now() / 1000), 500);
    return () => clearInterval(timer);
  }, [until]);
  return left(until, Math.min(now, until));
}
