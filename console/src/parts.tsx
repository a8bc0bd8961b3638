/** Small parts that pages share: headings, states of a question, dialogs, fields. */

import { useCallback, useEffect, useRef, useState, type ReactNode } from "react";
import { Button, Dialog, FieldError, Heading, Input, Label, Modal, ModalOverlay, Text, TextField, type TextFieldProps } from "react-aria-components";
import { askJson, statusOf } from "../shared/api";
import { useConsole, whyNot } from "./context";
import type { Word } from "./words";

/** A page's heading; it takes the focus when the page opens, so that a screen reader says where one is. */
export function Title({ word }: { word: Word }) {
  const { t } = useConsole();
  const here = useRef<HTMLHeadingElement>(null);
  const text = t(word);
  useEffect(() => here.current?.focus({ preventScroll: true }), []);
  useEffect(() => {
    document.title = `${text} · Ribcage`;
  }, [text]);
  return (
    <h1 ref={here} tabIndex={-1}>
      {text}
    </h1>
  );
}

export interface Asked<T> {
  data: T | null;
  failure: unknown;
  again: () => Promise<void>;
}

/** GET `path` when the part appears, and again when told; nothing is kept after it is gone. */
export function useAsked<T>(path: string): Asked<T> {
  const { guarded, refresh } = useConsole();
  const [data, setData] = useState<T | null>(null);
  const [failure, setFailure] = useState<unknown>(null);
  const again = useCallback(async () => {
    setFailure(null);
    try {
      setData(await guarded(() => askJson<T>(path)));
    } catch (refused) {
      setFailure(refused);
      if (statusOf(refused) === 401) await refresh();
    }
  }, [path]);
  useEffect(() => void again(), [again]);
  return { data, failure, again };
}

/** Loading, refused, or the answer. */
export function Answer<T>({ asked, children }: { asked: Asked<T>; children: (data: T) => ReactNode }) {
  const { t } = useConsole();
  if (asked.failure !== null)
    return (
      <div className="state" role="alert">
        <p>{t(whyNot(asked.failure))}</p>
        <Button onPress={() => void asked.again()}>{t("retry")}</Button>
      </div>
    );
  if (asked.data === null) return <p className="state" role="status">{t("loading")}</p>;
  return <>{children(asked.data)}</>;
}

/** A line that says what went wrong; empty where nothing did. Its place is kept. */
export function Warning({ word }: { word: Word | null }) {
  const { t } = useConsole();
  return (
    <p role="alert" className="warning">
      {word && t(word)}
    </p>
  );
}

/** A labelled field. */
export function Field({ label, hint, children, ...given }: Omit<TextFieldProps, "children"> & { label: Word; hint?: Word; children?: ReactNode }) {
  const { t } = useConsole();
  return (
    <TextField maxLength={128} {...given}>
      <Label>{t(label)}</Label>
      {children ?? <Input />}
      {hint && <Text slot="description">{t(hint)}</Text>}
      <FieldError />
    </TextField>
  );
}

/** A labelled choice: the browser's own, which every reader and phone knows. */
export function Choice({ label, name, options, initial }: { label: Word; name: string; options: readonly (readonly [string, string])[]; initial?: string }) {
  const { t } = useConsole();
  return (
    <label className="field">
      {t(label)}
      <select name={name} defaultValue={initial}>
        {options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

/** A dialog over the page. Without `onClose` only its own buttons end it. */
export function Box({ title, onClose, children }: { title: string; onClose?: () => void; children: ReactNode }) {
  return (
    <ModalOverlay className="shade" isOpen isDismissable={false} isKeyboardDismissDisabled={!onClose} onOpenChange={(open) => !open && onClose?.()}>
      <Modal className="box">
        <Dialog>
          <Heading slot="title">{title}</Heading>
          {children}
        </Dialog>
      </Modal>
    </ModalOverlay>
  );
}

/** A question before something that cannot be taken back. */
export function Sure({ title, text, act, onDone }: { title: string; text: string; act: () => Promise<void>; onDone: () => void }) {
  const { t, guarded } = useConsole();
  const [busy, setBusy] = useState(false);
  const [warning, setWarning] = useState<Word | null>(null);

  async function go(): Promise<void> {
    setBusy(true);
    try {
      await guarded(act);
      onDone();
    } catch (failure) {
      setWarning(whyNot(failure));
      setBusy(false);
    }
  }

  return (
    <Box title={title} onClose={onDone}>
      <p>{text}</p>
      <Warning word={warning} />
      <div className="buttons">
        <Button className="danger" isDisabled={busy} onPress={() => void go()}>
          {title}
        </Button>
        <Button autoFocus onPress={onDone}>
          {t("cancel")}
        </Button>
      </div>
    </Box>
  );
}

/** A table that becomes a list of cards on a phone: each cell names its column. The roles are said, for cards lose them. */
export function Table({ label, columns, rows }: { label: string; columns: readonly Word[]; rows: { key: string; cells: ReactNode[]; more?: ReactNode }[] }) {
  const { t } = useConsole();
  return (
    <table role="table" aria-label={label}>
      <thead role="rowgroup">
        <tr role="row">
          {columns.map((word) => (
            <th key={word} role="columnheader" scope="col">
              {t(word)}
            </th>
          ))}
          <th role="columnheader" scope="col">
            <span className="unseen">{t("acts")}</span>
          </th>
        </tr>
      </thead>
      {rows.map(({ key, cells, more }) => (
        <tbody key={key} role="rowgroup">
          <tr role="row">
            {cells.map((cell, place) => {
              const word = columns[place];
              return (
                <td key={place} role="cell" data-label={word ? t(word) : undefined} className={word ? undefined : "acts"}>
                  {cell}
                </td>
              );
            })}
          </tr>
          {more}
        </tbody>
      ))}
    </table>
  );
}
