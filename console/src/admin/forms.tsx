/** A form of the administration: its fields, one act, and a warning where the archive refuses. */

import { useState, type FormEvent, type ReactNode } from "react";
import { Button, Form } from "react-aria-components";
import { useConsole, whyNot } from "../context";
import { Warning } from "../parts";
import type { Word } from "../words";

export interface ActProps {
  title: Word;
  act: (given: FormData) => Promise<void>;
  children: ReactNode;
  why?: (failure: unknown) => Word;
}

/** Folded until it is wanted; cleared after it was done. */
export function Act(given: ActProps) {
  const { t } = useConsole();
  return (
    <details className="act">
      <summary>{t(given.title)}</summary>
      <ActForm {...given} />
    </details>
  );
}

export function ActForm({ title, act, children, why = whyNot }: ActProps) {
  const { t, guarded } = useConsole();
  const [busy, setBusy] = useState(false);
  const [warning, setWarning] = useState<Word | null>(null);

  async function submit(event: FormEvent<HTMLFormElement>): Promise<void> {
    event.preventDefault();
    const form = event.currentTarget;
    const given = new FormData(form);
    setBusy(true);
    setWarning(null);
    try {
      await guarded(() => act(given));
      form.reset();
    } catch (failure) {
      setWarning(why(failure));
    } finally {
      setBusy(false);
    }
  }

  return (
    <Form className="row" onSubmit={(event) => void submit(event)}>
      {children}
      <div className="buttons">
        <Button type="submit" className="main" isDisabled={busy}>
          {t(title)}
        </Button>
      </div>
      <Warning word={warning} />
    </Form>
  );
}

/** Boxes to tick, all of one name. */
export function Ticks({ label, name, options, initial = [] }: { label: Word; name: string; options: readonly Word[]; initial?: readonly Word[] }) {
  const { t } = useConsole();
  return (
    <fieldset>
      <legend>{t(label)}</legend>
      {options.map((each) => (
        <label key={each} className="tick">
          <input type="checkbox" name={name} value={each} defaultChecked={initial.includes(each)} />
          {t(each)}
        </label>
      ))}
    </fieldset>
  );
}

/** A field's text, trimmed. */
export function textOf(given: FormData, name: string): string {
  return String(given.get(name) ?? "").trim();
}
