/**
 * Emergency access (break-glass): a film without a grant, said plainly to be reviewed and told to the patient.
 * A study that the viewer was refused comes in the fragment of the address, which is emptied at once.
 */

import { useState, type FormEvent } from "react";
import { Button, Form } from "react-aria-components";
import { askJson, Refused } from "../../shared/api";
import { asTime } from "../../shared/language";
import { search, type Study } from "../../shared/studies";
import { useConsole, whyNot } from "../context";
import { Choice, Field, Title, Warning } from "../parts";
import { takeFragment } from "../router";
import type { Word } from "../words";
import { Results } from "./worklist";

export const REASONS: readonly (readonly [string, Word])[] = [
  ["emergency", "reasonEmergency"],
  ["patient-unconscious", "reasonUnconscious"],
  ["on-call", "reasonOnCall"],
  ["system-failure", "reasonFailure"],
];

export function Emergency() {
  const { t, language, guarded, session } = useConsole();
  const [study] = useState(() => /^[0-9.]{1,64}$/.exec(takeFragment())?.[0] ?? "");
  const [warning, setWarning] = useState<Word | null>(null);
  const [busy, setBusy] = useState(false);
  const [until, setUntil] = useState(0);
  const [studies, setStudies] = useState<Study[] | null>(null);

  async function submit(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const given = Object.fromEntries([...new FormData(event.currentTarget)].map(([name, value]) => [name, String(value).trim()]));
    const { patient = "", reason = "", note = "", code = "" } = given;
    setBusy(true);
    setWarning(null);
    try {
      const whom = study ? { study } : { patient };
      const { valid_until } = await guarded(() => askJson<{ valid_until: number }>("/api/break-glass", { ...whom, reason, note, code }));
      setUntil(valid_until);
      setStudies((await search(study ? { StudyInstanceUID: study } : { PatientID: patient.split("|")[0] ?? "" })).studies);
    } catch (failure) {
      const { status, code } = failure instanceof Refused ? failure : { status: 0, code: "" };
      const refused = [403, 404].includes(status) && code !== "second_factor_needed";
      setWarning(refused ? "emergencyNot" : status === 429 ? "emergencyMany" : whyNot(failure));
    } finally {
      setBusy(false);
    }
  }

  return (
    <section className="middle">
      <Title word="emergencyTitle" />
      <p>{t("emergencyText")}</p>
      <p className="notice strong">{t("emergencyPlain")}</p>
      {until === 0 && (
        <Form onSubmit={(event) => void submit(event)}>
          {study ? <p>{t("emergencyThis")}</p> : <Field label="emergencyWhom" hint="emergencyWhomHint" name="patient" isRequired autoComplete="off" />}
          <Choice label="reason" name="reason" options={REASONS.map(([value, word]) => [value, t(word)] as const)} />
          <Field label="note" hint="noteHint" name="note" autoComplete="off" maxLength={200} />
          {(session?.assurance ?? 0) < 2 && <Field label="code" hint="emergencyCode" name="code" autoComplete="one-time-code" maxLength={16} />}
          <Warning word={warning} />
          <Button type="submit" className="danger" isDisabled={busy}>
            {t("emergencyDo")}
          </Button>
        </Form>
      )}
      {until > 0 && <p role="status">{t("emergencyDone", asTime(until, language))}</p>}
      {until > 0 && <Warning word={warning} />}
      {studies && studies.length > 0 && (
        <>
          <h2>{t("emergencyList")}</h2>
          <Results studies={studies} masked={false} />
        </>
      )}
    </section>
  );
}
