/** Grants: who may see what, until when. A patient's ID in a form goes into the request's body, never into an address. */

import { useState } from "react";
import { Button } from "react-aria-components";
import { ask } from "../../shared/api";
import { asTime } from "../../shared/language";
import { useConsole } from "../context";
import { Answer, Choice, Field, Sure, Table, useAsked } from "../parts";
import type { Word } from "../words";
import { Act, textOf } from "./forms";
import { AdminPage, useMayChange } from "./frame";

const PURPOSES = ["TREAT", "ETREAT", "HRESCH", "HOPERAT", "PATRQT"] as const;
const VIEWS = { masked: "viewMasked", full: "viewFull", original: "viewOriginal" } as const satisfies Record<string, Word>;
const HOURS: readonly (readonly [string, Word])[] = [["8", "hours8"], ["24", "hours24"], ["168", "days7"], ["720", "days30"]];

interface Grant {
  grant_id: number;
  subject: string;
  resource: string;
  view: keyof typeof VIEWS;
  purpose: (typeof PURPOSES)[number];
  valid_until: number;
}

export function Grants() {
  const { t, language } = useConsole();
  const mayChange = useMayChange();
  const asked = useAsked<{ grants: Grant[] }>("/api/admin/grants");
  const [chosen, setChosen] = useState<Grant | null>(null);

  async function add(given: FormData): Promise<void> {
    const names = ["subject", "resource", "view", "purpose"].map((name) => [name, textOf(given, name)]);
    const until = Math.floor(Date.now() / 1000) + Number(given.get("hours")) * 3600;
    await ask("/api/admin/grants", { ...Object.fromEntries(names), valid_until: until });
    await asked.again();
  }

  const columns: Word[] = ["subject", "resource", "view", "purpose", "validUntil"];
  return (
    <AdminPage path="admin/grants" title="grants">
      {mayChange && (
        <Act title="addGrant" act={add}>
          <Field label="subject" hint="subjectHint" name="subject" isRequired defaultValue="person:" autoComplete="off" />
          <Field label="resource" hint="resourceHint" name="resource" isRequired autoComplete="off" />
          <Choice label="view" name="view" initial="full" options={Object.entries(VIEWS).map(([value, word]) => [value, t(word)] as const)} />
          <Choice label="purpose" name="purpose" options={PURPOSES.map((each) => [each, t(each)] as const)} />
          <Choice label="hours" name="hours" initial="24" options={HOURS.map(([value, word]) => [value, t(word)] as const)} />
        </Act>
      )}
      <Answer asked={asked}>
        {({ grants }) =>
          grants.length === 0 ? (
            <p className="state">{t("noGrants")}</p>
          ) : (
            <Table
              label={t("grants")}
              columns={columns}
              rows={grants.map((each) => ({
                key: String(each.grant_id),
                cells: [
                  each.subject,
                  <span key="what" className="break">{each.resource}</span>,
                  t(VIEWS[each.view]),
                  t(each.purpose),
                  asTime(each.valid_until, language),
                  mayChange && (
                    <Button key="revoke" onPress={() => setChosen(each)}>
                      {t("revoke")}
                    </Button>
                  ),
                ],
              }))}
            />
          )
        }
      </Answer>
      {chosen && (
        <Sure
          title={t("revoke")}
          text={t("revokeAsk", chosen.subject)}
          act={async () => {
            await ask("/api/admin/grants/revoke", { grant_id: chosen.grant_id });
            await asked.again();
          }}
          onDone={() => setChosen(null)}
        />
      )}
    </AdminPage>
  );
}
