/** Search and open. Terms and results stay in memory: no address, title or storage holds them. */

import { useEffect, useRef, useState, type FormEvent } from "react";
import { Button, Form } from "react-aria-components";
import { statusOf } from "../../shared/api";
import { asFilters, PAGE, search, type Found, type Study } from "../../shared/studies";
import { addressOf } from "../../shared/warm";
import { useConsole, whyNot } from "../context";
import { Choice, Field, Table, Title, Warning } from "../parts";
import { StepUp } from "../step_up";
import type { Say } from "../context";
import type { Word } from "../words";

const MODALITIES = ["CR", "CT", "DX", "MG", "MR", "NM", "PT", "RF", "US", "XA"];
const COLUMNS: readonly Word[] = ["name", "patientId", "date", "modality", "description", "count"];
const PRIORS = 50;

export function Worklist() {
  const { t, session, refresh } = useConsole();
  const [found, setFound] = useState<Found | null>(null);
  const [filters, setFilters] = useState<Record<string, string>>({});
  const [offset, setOffset] = useState(0);
  const [busy, setBusy] = useState(false);
  const [warning, setWarning] = useState<Word | null>(null);
  const form = useRef<HTMLFormElement>(null);
  const masked = (session?.assurance ?? 0) < 2;

  async function look(wanted: Record<string, string>, from: number): Promise<void> {
    setBusy(true);
    setWarning(null);
    try {
      setFound(await search(wanted, from));
      setFilters(wanted);
      setOffset(from);
    } catch (failure) {
      setFound(null);
      if (statusOf(failure) === 401) await refresh();
      setWarning(whyNot(failure));
    } finally {
      setBusy(false);
    }
  }

  useEffect(() => void look(filters, offset), [masked]); // a name that was masked is asked for again, and the other way round

  function submit(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    const given = [...new FormData(event.currentTarget)].map(([name, value]) => [name, String(value)]);
    void look(asFilters(Object.fromEntries(given) as Record<string, string>), 0);
  }

  function clear(): void {
    form.current?.reset();
    void look({}, 0);
  }

  return (
    <section>
      <Title word="images" />
      {masked && <StepUp text="maskedList" onProved={() => undefined} />}
      <Form ref={form} className="row" onSubmit={submit}>
        <Field label="name" hint="nameHint" name="PatientName" autoComplete="off" />
        <Field label="patientId" name="PatientID" autoComplete="off" />
        <Field label="accession" name="AccessionNumber" autoComplete="off" />
        <Field label="from" name="from" type="date" />
        <Field label="to" name="to" type="date" />
        <Choice label="modality" name="ModalitiesInStudy" options={[["", t("anyModality")], ...MODALITIES.map((each) => [each, each] as const)]} />
        <div className="buttons">
          <Button type="submit" className="main" isDisabled={busy}>
            {t(busy ? "searching" : "search")}
          </Button>
          <Button type="button" onPress={clear}>
            {t("clear")}
          </Button>
        </div>
      </Form>
      <Warning word={warning} />
      <div aria-live="polite" aria-busy={busy}>
        {!found && busy && <p className="state">{t("searching")}</p>}
        {found && found.studies.length === 0 && <Nothing masked={masked} filtered={Object.keys(filters).length > 0} t={t} />}
        {found && found.studies.length > 0 && <Results studies={found.studies} masked={masked} />}
      </div>
      {found && (found.more || offset > 0) && (
        <div className="pages">
          <Button isDisabled={busy || offset === 0} onPress={() => void look(filters, Math.max(0, offset - PAGE))}>
            {t("previous")}
          </Button>
          <span>{t("shown", `${offset + 1}–${offset + found.studies.length}`)}</span>
          <Button isDisabled={busy || !found.more} onPress={() => void look(filters, offset + PAGE)}>
            {t("next")}
          </Button>
        </div>
      )}
    </section>
  );
}

function Nothing({ masked, filtered, t }: { masked: boolean; filtered: boolean; t: Say }) {
  return (
    <div className="state">
      <p>{t("nothing")}</p>
      <p className="quiet">
        {masked && filtered ? `${t("nothingMasked")} ` : ""}
        {t("nothingWhy")} {filtered && t("nothingFilters")}
      </p>
    </div>
  );
}

/** Rows of studies; in the full record each can list the patient's other studies. */
export function Results({ studies, masked }: { studies: Study[]; masked: boolean }) {
  const { t, viewer } = useConsole();
  const [opened, setOpened] = useState("");
  useEffect(viewer.warm, []);
  const rows = studies.map((study) => ({
    key: study.uid,
    cells: [
      ...cells(study).map((cell, place) => (cell === "" && masked && place < 3 ? <span key={place} className="quiet">{t("masked")}</span> : cell)),
      <span className="buttons" key="acts">
        <Open study={study} />
        {!masked && study.patientId !== "" && (
          <Button aria-expanded={opened === study.uid} onPress={() => setOpened(opened === study.uid ? "" : study.uid)}>
            {t(opened === study.uid ? "hidePriors" : "priors")}
          </Button>
        )}
      </span>,
    ],
    more: opened === study.uid ? <Priors of={study} /> : null,
  }));
  return <Table label={t("images")} columns={COLUMNS} rows={rows} />;
}

function cells(study: Study): (string | number)[] {
  return [study.name, study.patientId, study.date, study.modalities, study.description, study.instances];
}

function Open({ study }: { study: Study }) {
  const { t, viewer } = useConsole();
  return (
    <a
      className="button"
      href={addressOf(study.uid)}
      onClick={(event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return; // another tab or window
        if (viewer.open(study.uid)) event.preventDefault();
      }}
    >
      {t("open")}
    </a>
  );
}

function Priors({ of }: { of: Study }) {
  const { t } = useConsole();
  const [found, setFound] = useState<Study[] | null>(null);
  const [warning, setWarning] = useState<Word | null>(null);
  useEffect(() => {
    let gone = false;
    search({ PatientID: of.patientId }, 0, PRIORS).then(
      (answer) => !gone && setFound(answer.studies.filter((each) => each.uid !== of.uid && each.patientId === of.patientId)),
      (failure: unknown) => !gone && setWarning(whyNot(failure)),
    );
    return () => {
      gone = true;
    };
  }, [of.uid]);
  if (found !== null && found.length > 0)
    return found.map((study) => (
      <tr key={study.uid} role="row" className="prior">
        {cells(study).map((cell, place) => (
          <td key={place} role="cell" data-label={COLUMNS[place] && t(COLUMNS[place])}>
            {cell}
          </td>
        ))}
        <td role="cell" className="acts">
          <Open study={study} />
        </td>
      </tr>
    ));
  return (
    <tr role="row" className="prior">
      <td role="cell" aria-live="polite" colSpan={COLUMNS.length + 1}>
        {warning ? t(warning) : t(found === null ? "searching" : "noPriors")}
      </td>
    </tr>
  );
}
