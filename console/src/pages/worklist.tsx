/** Search and open. Terms and results stay in memory: no address, title or storage holds them. */

import { useState, type FormEvent } from "react";
import { Button, Form, Input, Label, Text, TextField } from "react-aria-components";
import { Refused, search, type Study } from "../../shared/api";
import type { Word } from "../../shared/words";
import { useConsole } from "../context";
import { SecondFactor } from "./second_factor";

const FIELDS: readonly (readonly [string, Word, Word?])[] = [
  ["PatientName", "name"],
  ["PatientID", "patientId"],
  ["AccessionNumber", "accession"],
  ["StudyDate", "date", "dateHint"],
];
const COLUMNS: readonly Word[] = ["name", "patientId", "date", "modality", "description", "count"];

export function Worklist() {
  const { t, session, refresh } = useConsole();
  const [found, setFound] = useState<{ studies: Study[]; more: boolean } | null>(null);
  const [busy, setBusy] = useState(false);
  const [warning, setWarning] = useState<Word | null>(null);

  async function submit(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const given = [...new FormData(event.currentTarget)].map(([name, value]) => [name, String(value).trim()] as const);
    setBusy(true);
    setWarning(null);
    try {
      setFound(await search(Object.fromEntries(given.filter(([, value]) => value !== ""))));
    } catch (failure) {
      setFound(null);
      if (failure instanceof Refused && failure.status === 401) await refresh();
      setWarning("tryAgain");
    } finally {
      setBusy(false);
    }
  }

  return (
    <section>
      <h1>{t("images")}</h1>
      {(session?.assurance ?? 0) < 2 && <SecondFactor onProved={() => setFound(null)} />}
      <Form className="row" onSubmit={(event) => void submit(event)}>
        {FIELDS.map(([name, label, hint]) => (
          <TextField key={name} name={name} autoComplete="off" maxLength={128}>
            <Label>{t(label)}</Label>
            <Input />
            {hint && <Text slot="description">{t(hint)}</Text>}
          </TextField>
        ))}
        <Button type="submit" className="main" isDisabled={busy}>
          {t(busy ? "searching" : "search")}
        </Button>
      </Form>
      <p role="alert" className="warning">
        {warning && t(warning)}
      </p>
      {found && found.studies.length === 0 && <p>{t("nothing")}</p>}
      {found && found.studies.length > 0 && <Results studies={found.studies} />}
      {found?.more && <p>{t("more")}</p>}
    </section>
  );
}

function Results({ studies }: { studies: Study[] }) {
  const { t } = useConsole();
  return (
    <table>
      <thead>
        <tr>
          {COLUMNS.map((word) => (
            <th key={word}>{t(word)}</th>
          ))}
          <th />
        </tr>
      </thead>
      <tbody>
        {studies.map((study) => (
          <tr key={study.uid}>
            <td>{study.name}</td>
            <td>{study.patientId}</td>
            <td>{study.date}</td>
            <td>{study.modalities}</td>
            <td>{study.description}</td>
            <td>{study.instances}</td>
            <td>
              <a className="button" href={`/viewer/viewer?StudyInstanceUIDs=${encodeURIComponent(study.uid)}`}>
                {t("open")}
              </a>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
