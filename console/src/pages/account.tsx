/** One's own sessions, passkeys and recovery codes. */

import { useState, type FormEvent } from "react";
import { Button, Form } from "react-aria-components";
import { ask, askJson, statusOf } from "../../shared/api";
import { asTime } from "../../shared/language";
import { addPasskey, passkeysHere } from "../../shared/passkeys";
import { useConsole, whyNot } from "../context";
import { Answer, Box, Field, Sure, Table, Title, useAsked, Warning } from "../parts";
import { QrCode } from "../qr";
import type { Word } from "../words";

const NOTICES: Record<string, Word> = {
  recovery_code_used: "noticeRecoveryUsed",
  few_recovery_codes: "noticeFewCodes",
  passkey_counter: "noticeCounter",
};

export function Account() {
  const { t, session } = useConsole();
  const notices = (session?.notices ?? []).flatMap((each) => NOTICES[each] ?? []);
  return (
    <section>
      <Title word="account" />
      {notices.map((word) => (
        <p key={word} className="notice strong">
          {t(word)}
        </p>
      ))}
      <Passkeys />
      <RecoveryCodes />
      <section aria-labelledby="app">
        <h2 id="app">{t("factorApp")}</h2>
        <p>{t(session?.factors?.totp ? "factorAppYes" : "factorAppNo")}</p>
        {session && session.factors?.totp === false && <Enrol />}
      </section>
      <Sessions />
    </section>
  );
}

/** After a reset: the code that an administrator handed over, for a new app. */
function Enrol() {
  const { t, refresh } = useConsole();
  const [warning, setWarning] = useState<Word | null>(null);
  const [busy, setBusy] = useState(false);
  const [uri, setUri] = useState("");

  async function enrol(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const code = String(new FormData(event.currentTarget).get("handed")).trim();
    setBusy(true);
    setWarning(null);
    try {
      setUri((await askJson<{ totp_uri: string }>("/api/enrol", { code })).totp_uri);
    } catch (failure) {
      setWarning(statusOf(failure) === 401 ? "wrongCode" : whyNot(failure));
    } finally {
      setBusy(false);
    }
  }

  return (
    <>
      <Form className="row" onSubmit={(event) => void enrol(event)}>
        <Field label="resetCode" hint="resetCodeHint" name="handed" isRequired autoComplete="off" maxLength={24} />
        <div className="buttons">
          <Button type="submit" className="main" isDisabled={busy}>
            {t("enrol")}
          </Button>
        </div>
        <Warning word={warning} />
      </Form>
      {uri && (
        <Box title={t("personOnce")}>
          <p>{t("totpPicture")}</p>
          <QrCode text={uri} label={t("totpPicture")} />
          <p className="quiet">{t("totpText")}</p>
          <p className="secret">{(new URL(uri).searchParams.get("secret") ?? "").replace(/(.{4})(?=.)/g, "$1 ")}</p>
          <div className="buttons">
            <Button className="main" autoFocus onPress={() => (setUri(""), void refresh())}>
              {t("stored")}
            </Button>
          </div>
        </Box>
      )}
    </>
  );
}

interface Passkey {
  id: string;
  label: string;
  created_at: number;
  used_at: number;
}

function Passkeys() {
  const { t, language, guarded, refresh } = useConsole();
  const asked = useAsked<{ passkeys: Passkey[] }>("/api/passkeys");
  const [warning, setWarning] = useState<Word | null>(null);
  const [busy, setBusy] = useState(false);
  const [leaving, setLeaving] = useState<Passkey | null>(null);

  async function add(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const form = event.currentTarget;
    const label = String(new FormData(form).get("label")).trim();
    setBusy(true);
    setWarning(null);
    try {
      await guarded(() => addPasskey("/api/passkeys/begin", "/api/passkeys", label));
      form.reset();
      await Promise.all([asked.again(), refresh()]);
    } catch (failure) {
      setWarning(whyNot(failure));
    } finally {
      setBusy(false);
    }
  }

  return (
    <section aria-labelledby="passkeys">
      <h2 id="passkeys">{t("passkeys")}</h2>
      <p className="quiet">{t("passkeysText")}</p>
      <Answer asked={asked}>
        {({ passkeys }) =>
          passkeys.length === 0 ? (
            <p className="state">{t("noPasskeys")}</p>
          ) : (
            <Table
              label={t("passkeys")}
              columns={["label", "added", "lastUsed"]}
              rows={passkeys.map((each) => ({
                key: each.id,
                cells: [
                  each.label,
                  asTime(each.created_at, language),
                  each.used_at ? asTime(each.used_at, language) : t("neverUsed"),
                  <Button key="remove" onPress={() => setLeaving(each)}>
                    {t("remove")}
                  </Button>,
                ],
              }))}
            />
          )
        }
      </Answer>
      {passkeysHere() ? (
        <Form className="line" onSubmit={(event) => void add(event)}>
          <Field label="passkeyName" name="label" isRequired maxLength={64} autoComplete="off" />
          <Button type="submit" isDisabled={busy}>
            {t("addPasskey")}
          </Button>
        </Form>
      ) : (
        <p className="quiet">{t("noPasskeysHere")}</p>
      )}
      <Warning word={warning} />
      {leaving && (
        <Sure
          title={t("remove")}
          text={leaving.label}
          act={async () => {
            await ask("/api/passkeys/remove", { id: leaving.id });
            await Promise.all([asked.again(), refresh()]);
          }}
          onDone={() => setLeaving(null)}
        />
      )}
    </section>
  );
}

function RecoveryCodes() {
  const { t, session, guarded, refresh } = useConsole();
  const [codes, setCodes] = useState<string[] | null>(null);
  const [asks, setAsks] = useState(false);

  async function make(): Promise<void> {
    const answer = await guarded(() => askJson<{ codes: string[] }>("/api/recovery-codes", {}));
    setCodes(answer.codes);
    await refresh();
  }

  return (
    <section aria-labelledby="codes">
      <h2 id="codes">{t("recoveryCodes")}</h2>
      <p className="quiet">{t("recoveryText")}</p>
      <p>{t("recoveryLeft", session?.factors?.recovery_codes ?? 0)}</p>
      <Button onPress={() => setAsks(true)}>{t("makeCodes")}</Button>
      {asks && <Sure title={t("makeCodes")} text={t("makeCodesText")} act={make} onDone={() => setAsks(false)} />}
      {codes && !asks && (
        <Box title={t("recoveryCodes")}>
          <p>{t("codesOnce")}</p>
          <ol className="codes">
            {codes.map((code) => (
              <li key={code}>{code}</li>
            ))}
          </ol>
          <div className="buttons">
            <Button className="main" onPress={() => window.print()}>
              {t("print")}
            </Button>
            <Button onPress={() => setCodes(null)}>{t("stored")}</Button>
          </div>
        </Box>
      )}
    </section>
  );
}

interface Login {
  id: string;
  created_at: number;
  used_at: number;
  address: string;
  this: boolean;
}

function Sessions() {
  const { t, language } = useConsole();
  const asked = useAsked<{ sessions: Login[] }>("/api/sessions");
  const [warning, setWarning] = useState<Word | null>(null);

  async function end(path: string, body: unknown): Promise<void> {
    setWarning(null);
    try {
      await ask(path, body);
      await asked.again();
    } catch (failure) {
      setWarning(whyNot(failure));
    }
  }

  return (
    <section aria-labelledby="sessions">
      <h2 id="sessions">{t("sessions")}</h2>
      <Answer asked={asked}>
        {({ sessions }) => (
          <>
            <Table
              label={t("sessions")}
              columns={["since", "lastUsed", "address"]}
              rows={sessions.map((each) => ({
                key: each.id,
                cells: [
                  asTime(each.created_at, language),
                  asTime(each.used_at, language),
                  each.address,
                  each.this ? (
                    <em key="this">{t("thisOne")}</em>
                  ) : (
                    <Button key="end" onPress={() => void end("/api/sessions/end", { id: each.id })}>
                      {t("end")}
                    </Button>
                  ),
                ],
              }))}
            />
            {sessions.length > 1 ? (
              <Button onPress={() => void end("/api/sessions/end-others", {})}>{t("endOthers")}</Button>
            ) : (
              <p className="quiet">{t("onlyHere")}</p>
            )}
          </>
        )}
      </Answer>
      <Warning word={warning} />
    </section>
  );
}
