/** Who saw my images, as it happens; who may; and stop. */

import { useCallback, useEffect, useRef, useState } from "react";
import { Button } from "react-aria-components";
import { statusOf } from "../../shared/api";
import { hearEvents } from "../../shared/events";
import { asTime } from "../../shared/language";
import { addPasskey, passkeysHere } from "../../shared/passkeys";
import type { PatientWord } from "../words/patient";
import { rights as askRights, rows as askRows, who, type Grant, type Note, type Objection, type Patient, type Row } from "./api";
import { useWords, whyNot } from "./context";
import { StopBox, Stopped, type Target } from "./stop";
import { nameOf, story } from "./story";

interface Shown {
  rows: Row[];
  next: number | null;
  complete: boolean;
  objections: Objection[];
  grants: Grant[];
}

export function Records({ patient, onEnd, onPatient }: { patient: Patient; onEnd: () => void; onPatient: (patient: Patient) => void }) {
  const { t, language } = useWords();
  const [shown, setShown] = useState<Shown | null>(null);
  const [warning, setWarning] = useState<PatientWord | null>(null);
  const [alarm, setAlarm] = useState<number | null>(null); // the entry that was just written
  const [note, setNote] = useState<Note | null>(null);
  const [target, setTarget] = useState<Target | null>(null);

  const failed = useCallback((failure: unknown) => (statusOf(failure) === 401 ? onEnd() : setWarning(whyNot(failure))), [onEnd]);

  const look = useCallback(async () => {
    try {
      const [{ disclosures, next, complete }, { objections, grants }] = await Promise.all([askRows(), askRights()]);
      setShown({ rows: disclosures, next, complete, objections, grants });
      setWarning(null);
    } catch (failure) {
      failed(failure);
    }
  }, [failed]);

  const older = async (): Promise<void> => {
    try {
      const more = await askRows(shown?.next ?? 0);
      setShown((before) => before && { ...before, rows: [...before.rows, ...more.disclosures], next: more.next, complete: more.complete });
    } catch (failure) {
      failed(failure);
    }
  };

  useEffect(() => void look(), [look]);
  useEffect(
    () =>
      hearEvents(
        "/api/patient/events",
        (event) => {
          if (event.type === "session-ended") return onEnd();
          if (event.type === "disclosure" && LOOKS.has(event.kind ?? "disclosure")) setAlarm(event.n ?? 0);
          void look(); // at the stream's start too: something may have happened before it stood
        },
        () => void look(),
      ),
    [look, onEnd],
  );

  function stopped(said: Note | null): void {
    setTarget(null);
    if (said === null) return;
    setNote(said);
    void look();
  }

  return (
    <>
      <h1>{t("whoSaw")}</h1>
      <Alarm row={shown?.rows.find((row) => row.n === alarm)} sounding={alarm !== null} />
      {patient.passkeys === 0 && passkeysHere() && <SavePhone onPatient={onPatient} />}
      <p role="alert" className="warning">
        {warning && t(warning)}
      </p>
      {warning && <Button onPress={() => void look()}>{t("retry")}</Button>}
      {!shown && !warning && <p role="status">{t("loading")}</p>}
      {shown && (
        <>
          <List shown={shown} onStop={setTarget} />
          {shown.next !== null && (
            <Button className="wide" onPress={() => void older()}>
              {t("older")}
            </Button>
          )}
          {!shown.complete && <p className="quiet">{t("notAll")}</p>}
          <h2>{t("stopTitle")}</h2>
          <p role="status">{note?.[language]}</p>
          <Stopped objections={shown.objections} onChange={stopped} />
          {!shown.objections.some((each) => each.subject === "*") && (
            <>
              <p>{t("stopText")}</p>
              <Button className="danger wide" onPress={() => setTarget({ subject: "*", name: t("everyone") })}>
                {t("stopAll")}
              </Button>
            </>
          )}
          <MayNow grants={shown.grants} />
        </>
      )}
      {target && <StopBox target={target} onDone={stopped} />}
    </>
  );
}

const LOOKS = new Set(["disclosure", "break-glass", "refused"]);

/** Announced politely as soon as it happens; its place is there before, or nobody would hear it. */
function Alarm({ row, sounding }: { row: Row | undefined; sounding: boolean }) {
  const { t, language } = useWords();
  const told = row && story(row, t, language);
  return (
    <div role="status" aria-live="polite" className={sounding ? "alarm" : "calm"}>
      {sounding ? (
        <>
          <strong>{t("now")}</strong> {told ? `${[told.who, told.what].filter(Boolean).join(" ")}${t("fullStop")}${asTime(row.at, language, false)}` : t("nowText")}
        </>
      ) : (
        t("listening")
      )}
    </div>
  );
}

function List({ shown, onStop }: { shown: Shown; onStop: (target: Target) => void }) {
  const { t, language } = useWords();
  const stopped = new Set(shown.objections.map((each) => each.subject));
  if (shown.rows.length === 0) return <p>{t("nobody")}</p>;
  return (
    <>
      <p className="quiet">{t("proofText")}</p>
      <ol className="cards">
      {shown.rows.map((row) => {
        const { who: name, what, how } = story(row, t, language);
        const urgent = row.break_glass || row.kind === "break-glass";
        return (
          <li key={row.n} className={urgent ? "card urgent" : name ? "card" : "card minor"}>
            <span className="quiet">{asTime(row.at, language)}</span>
            {urgent && <strong className="badge">{t("emergency")}</strong>}
            {name && <strong className="name">{name}</strong>}
            <span>{what}</span>
            {how && <span className="quiet">{how}</span>}
            <span className="buttons">
              {row.label && LOOKS.has(row.kind) && !stopped.has(row.label) && !stopped.has("*") && (
                <Button onPress={() => onStop({ subject: row.label, name })}>{t("stopOne")}</Button>
              )}
              <a className="proof" href={`/api/patient/proof/${row.n}`} download={`proof-${row.n}.json`}>
                {t("proof")}
              </a>
            </span>
          </li>
        );
      })}
      </ol>
    </>
  );
}

function MayNow({ grants }: { grants: Grant[] }) {
  const { t, language } = useWords();
  return (
    <>
      <h2>{t("mayNow")}</h2>
      {grants.length === 0 && <p>{t("nobodyMay")}</p>}
      <ul className="plain">
        {grants.map((each, place) => (
          <li key={`${each.label} ${place}`}>
            {nameOf(each, t)} <span className="quiet">{t("until", asTime(each.valid_until, language))}</span>
          </li>
        ))}
      </ul>
    </>
  );
}

function SavePhone({ onPatient }: { onPatient: (patient: Patient) => void }) {
  const { t } = useWords();
  const [busy, setBusy] = useState(false);
  const [warning, setWarning] = useState<PatientWord | null>(null);
  const here = useRef(true);
  useEffect(() => {
    here.current = true;
    return () => void (here.current = false);
  }, []);

  async function save(): Promise<void> {
    setBusy(true);
    setWarning(null);
    try {
      await addPasskey("/api/patient/passkey/begin", "/api/patient/passkey", t("myPhone"));
      onPatient(await who());
    } catch (failure) {
      if (here.current) setWarning(whyNot(failure));
    } finally {
      if (here.current) setBusy(false);
    }
  }

  return (
    <div className="card">
      <p>{t("savePhoneText")}</p>
      <Button className="main wide" isDisabled={busy} onPress={() => void save()}>
        {t("savePhone")}
      </Button>
      <p role="alert" className="warning">
        {warning && t(warning)}
      </p>
    </div>
  );
}
