/** Saying stop, after what it means was said; and taking it back. */

import { useState } from "react";
import { Button, Dialog, Heading, Modal, ModalOverlay } from "react-aria-components";
import { asTime } from "../../shared/language";
import { PATIENT, type PatientWord } from "../words/patient";
import { object, type Note, type Objection } from "./api";
import { useWords, whyNot } from "./context";
import { nameOf } from "./story";

export interface Target {
  subject: string; // "*" or a label
  name: string;
}

export function StopBox({ target, onDone }: { target: Target; onDone: (note: Note | null) => void }) {
  const { t } = useWords();
  const [busy, setBusy] = useState(false);
  const [warning, setWarning] = useState<PatientWord | null>(null);

  async function stop(): Promise<void> {
    setBusy(true);
    try {
      const { note } = await object(target.subject, true);
      onDone(note ?? both("stopped"));
    } catch (failure) {
      setWarning(whyNot(failure));
      setBusy(false);
    }
  }

  return (
    <ModalOverlay className="shade" isOpen onOpenChange={(open) => !open && onDone(null)}>
      <Modal className="box">
        <Dialog role="alertdialog">
          <Heading slot="title">{t("stopSure", target.name)}</Heading>
          <p>{t("stopPlain")}</p>
          <p>{t("stopEmergency")}</p>
          <p role="alert" className="warning">
            {warning && t(warning)}
          </p>
          <div className="buttons">
            <Button className="danger wide" isDisabled={busy} onPress={() => void stop()}>
              {t("stopDo")}
            </Button>
            <Button className="wide" autoFocus onPress={() => onDone(null)}>
              {t("cancel")}
            </Button>
          </div>
        </Dialog>
      </Modal>
    </ModalOverlay>
  );
}

export function Stopped({ objections, onChange }: { objections: Objection[]; onChange: (note: Note) => void }) {
  const { t, language } = useWords();
  const [warning, setWarning] = useState<PatientWord | null>(null);

  async function allow(subject: string): Promise<void> {
    try {
      await object(subject, false);
      onChange(both("allowed"));
    } catch (failure) {
      setWarning(whyNot(failure));
    }
  }

  return (
    <>
      <ul className="cards">
        {objections.map((each) => (
          <li key={each.subject} className="card stopped">
            <strong>
              {t("stopped")}: {each.subject === "*" ? t("everyone") : nameOf(each, t)}
            </strong>
            <span className="quiet">{t("stoppedSince", asTime(each.since, language))}</span>
            <Button onPress={() => void allow(each.subject)}>{t("allow")}</Button>
          </li>
        ))}
      </ul>
      <p role="alert" className="warning">
        {warning && t(warning)}
      </p>
    </>
  );
}

/** A text in both languages, for somebody may choose the other while it stands there. */
function both(word: PatientWord): Note {
  const [en, zh] = PATIENT[word];
  return { en, zh };
}
