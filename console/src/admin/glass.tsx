/**
 * Broken glass: who opened films without a grant, and the verdict of somebody else. What it was about is shown on request
 * alone, since looking is an entry of the log; it is dropped with its box.
 */

import { useState, type FormEvent, type ReactNode } from "react";
import { Button, Form } from "react-aria-components";
import { ask, askJson, statusOf } from "../../shared/api";
import { asTime } from "../../shared/language";
import { useConsole, whyNot } from "../context";
import { Answer, Box, Field, Table, useAsked, Warning } from "../parts";
import { REASONS } from "../pages/emergency";
import type { Word } from "../words";
import { AdminPage } from "./frame";

export interface Access {
  number: number;
  username: string;
  display_name: string;
  roles: ("administrator" | "clinician" | "officer" | "radiologist" | "technologist")[];
  scope: "study" | "patient";
  reason: string;
  emergency: boolean;
  occurred_at: number;
  valid_until: number;
  ended_at: number;
  verdict: "" | "justified" | "unjustified";
  reviewed_at: number;
  reviewed_by: string;
  due_at: number;
  overdue: boolean;
}

interface About {
  studies: string[];
  note: string;
  comment: string;
}

const VERDICTS = ["justified", "unjustified"] as const;

export function Glass() {
  const { t, session } = useConsole();
  const asked = useAsked<{ accesses: Access[] }>("/api/admin/break-glass");
  const [shown, setShown] = useState<Access | null>(null);
  const [judged, setJudged] = useState<Access | null>(null);

  const acts = (each: Access) =>
    each.username !== session?.username && (
      <>
        <Button aria-label={`${t("glassShow")} ${each.number}`} onPress={() => setShown(each)}>
          {t("glassShow")}
        </Button>
        {each.verdict === "" && (
          <Button className="main" aria-label={`${t("glassJudge")} ${each.number}`} onPress={() => setJudged(each)}>
            {t("glassJudge")}
          </Button>
        )}
      </>
    );

  return (
    <AdminPage path="admin/break-glass" title="glass" mayAct>
      <p className="quiet">{t("glassText")}</p>
      <Answer asked={asked}>
        {({ accesses }) => {
          const open = accesses.filter((each) => each.verdict === "");
          return (
            <>
              <h2>{t("glassOpen")}</h2>
              <Accesses label="glassOpen" none="glassNoneOpen" accesses={open} last="glassDue" acts={acts} />
              <h2>{t("glassJudged")}</h2>
              <Accesses label="glassJudged" none="glassNoneJudged" accesses={accesses.filter((each) => each.verdict !== "")} last="verdict" acts={acts} />
            </>
          );
        }}
      </Answer>
      {shown && <ShowBox access={shown} onDone={() => setShown(null)} />}
      {judged && (
        <JudgeBox
          access={judged}
          onDone={() => {
            setJudged(null);
            void asked.again();
          }}
        />
      )}
    </AdminPage>
  );
}

interface AccessesProps {
  label: Word;
  none: Word;
  accesses: Access[];
  last: Word;
  acts: (access: Access) => ReactNode;
}

function Accesses({ label, none, accesses, last, acts }: AccessesProps) {
  const { t, language } = useConsole();
  if (accesses.length === 0) return <p className="state">{t(none)}</p>;
  const outcome = (each: Access): ReactNode => {
    if (each.verdict) return `${t(each.verdict)} · ${each.reviewed_by} · ${asTime(each.reviewed_at, language)}`;
    return each.overdue ? <strong key="late">{t("glassLate", asTime(each.due_at, language))}</strong> : asTime(each.due_at, language);
  };
  return (
    <Table
      label={t(label)}
      columns={["ordinal", "glassWho", "roles", "glassWhen", "reason", "glassScope", last]}
      rows={accesses.map((each) => ({
        key: String(each.number),
        cells: [
          each.number,
          each.display_name || each.username,
          each.roles.map((role) => t(role)).join(", "),
          asTime(each.occurred_at, language),
          [t(reasonOf(each.reason)), each.emergency && t("glassInAFault")].filter(Boolean).join(" · "),
          t(each.scope === "study" ? "glassOneStudy" : "glassAllStudies"),
          outcome(each),
          acts(each),
        ],
      }))}
    />
  );
}

function reasonOf(reason: string): Word {
  return REASONS.find(([value]) => value === reason)?.[1] ?? "none";
}

/** Asked before it is shown: the look is recorded with the reader's name. */
function ShowBox({ access, onDone }: { access: Access; onDone: () => void }) {
  const { t, guarded } = useConsole();
  const [about, setAbout] = useState<About | null>(null);
  const [busy, setBusy] = useState(false);
  const [warning, setWarning] = useState<Word | null>(null);

  async function show(): Promise<void> {
    setBusy(true);
    setWarning(null);
    try {
      setAbout(await guarded(() => askJson<About>("/api/admin/break-glass/show", { number: access.number })));
    } catch (failure) {
      setWarning(whyNot(failure));
    } finally {
      setBusy(false);
    }
  }

  return (
    <Box title={t("glassShow")} onClose={onDone}>
      {about ? (
        <dl>
          <dt>{t("studies")}</dt>
          {about.studies.length === 0 ? <dd>{t("glassGone")}</dd> : about.studies.map((uid) => <dd key={uid}>{uid}</dd>)}
          <dt>{t("glassNote")}</dt>
          <dd>{about.note || t("none")}</dd>
          {access.verdict && <dt>{t("glassComment")}</dt>}
          {access.verdict && <dd>{about.comment || t("none")}</dd>}
        </dl>
      ) : (
        <p>{t("glassShowText")}</p>
      )}
      <Warning word={warning} />
      <div className="buttons">
        {!about && (
          <Button className="main" isDisabled={busy} onPress={() => void show()}>
            {t("glassShowDo")}
          </Button>
        )}
        <Button key={about ? "shown" : "asked"} autoFocus onPress={onDone}>
          {t("close")}
        </Button>
      </div>
    </Box>
  );
}

function JudgeBox({ access, onDone }: { access: Access; onDone: () => void }) {
  const { t, guarded } = useConsole();
  const [busy, setBusy] = useState(false);
  const [warning, setWarning] = useState<Word | null>(null);

  async function judge(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    const body = { number: access.number, verdict: given.get("verdict"), comment: String(given.get("comment")).trim() };
    setBusy(true);
    setWarning(null);
    try {
      await guarded(() => ask("/api/admin/break-glass/review", body));
      onDone();
    } catch (failure) {
      setWarning(statusOf(failure) === 409 ? "glassAlready" : whyNot(failure));
      setBusy(false);
    }
  }

  return (
    <Box title={t("glassJudge")} onClose={onDone}>
      <p>{t("glassJudgeText", access.display_name || access.username)}</p>
      <Form onSubmit={(event) => void judge(event)}>
        <fieldset>
          <legend>{t("verdict")}</legend>
          {VERDICTS.map((each) => (
            <label key={each} className="tick">
              <input type="radio" name="verdict" value={each} required />
              {t(each)}
            </label>
          ))}
        </fieldset>
        <Field label="glassComment" hint="glassCommentHint" name="comment" autoComplete="off" maxLength={200} />
        <Warning word={warning} />
        <div className="buttons">
          <Button type="submit" className="main" isDisabled={busy}>
            {t("glassJudgeDo")}
          </Button>
          <Button onPress={onDone}>{t("cancel")}</Button>
        </div>
      </Form>
    </Box>
  );
}
