/** People: add one, with secrets that are shown once; suspend one. */

import { useState } from "react";
import { Button, Input } from "react-aria-components";
import { ask, askJson } from "../../shared/api";
import { asTime } from "../../shared/language";
import { useConsole } from "../context";
import { Answer, Box, Field, Sure, Table, useAsked } from "../parts";
import { QrCode } from "../qr";
import type { Word } from "../words";
import { Act, textOf, Ticks } from "./forms";
import { AdminPage, useMayChange } from "./frame";

const ROLES = ["radiologist", "clinician", "technologist", "administrator", "officer"] as const;

interface Person {
  username: string;
  display_name: string;
  roles: (typeof ROLES)[number][];
  department: string;
  suspended: boolean;
  passkeys: number;
  recovery_codes: number;
  totp: boolean;
  reset_asked_by: string;
}

interface Secrets {
  username: string;
  password: string;
  totp_uri: string;
}

export function Persons() {
  const { t, session } = useConsole();
  const mayChange = useMayChange();
  const [resetting, setResetting] = useState<Person | null>(null);
  const [code, setCode] = useState("");
  const asked = useAsked<{ persons: Person[] }>("/api/admin/persons");
  const [secrets, setSecrets] = useState<Secrets | null>(null);
  const [chosen, setChosen] = useState<Person | null>(null);

  async function add(given: FormData): Promise<void> {
    const username = textOf(given, "username");
    const body = { username, display_name: textOf(given, "display_name"), roles: given.getAll("roles"), department: textOf(given, "department") };
    const answer = await askJson<Omit<Secrets, "username">>("/api/admin/persons", body);
    setSecrets({ username, ...answer });
    await asked.again();
  }

  const columns: Word[] = ["username", "displayName", "roles", "department", "factors", "state"];
  return (
    <AdminPage path="admin/persons" title="persons">
      {mayChange && (
        <Act title="addPerson" act={add}>
          <Field label="username" hint="usernameHint" name="username" isRequired autoComplete="off" maxLength={64}>
            <Input autoCapitalize="none" spellCheck={false} />
          </Field>
          <Field label="displayName" name="display_name" isRequired autoComplete="off" />
          <Field label="department" name="department" autoComplete="off" />
          <Ticks label="roles" name="roles" options={ROLES} initial={["radiologist"]} />
        </Act>
      )}
      <Answer asked={asked}>
        {({ persons }) =>
          persons.length === 0 ? (
            <p className="state">{t("noPersons")}</p>
          ) : (
            <Table
              label={t("persons")}
              columns={columns}
              rows={persons.map((each) => ({
                key: each.username,
                cells: [
                  each.username,
                  each.display_name,
                  each.roles.map((role) => t(role)).join(", "),
                  each.department || t("none"),
                  `${t("factorCount", each.passkeys)}, ${t("codeCount", each.recovery_codes)}`,
                  t(each.suspended ? "suspended" : "active"),
                  mayChange && (
                    <>
                      <Button onPress={() => setChosen(each)}>{t(each.suspended ? "resume" : "suspend")}</Button>
                      {each.username !== session?.username && each.reset_asked_by !== session?.username && (
                        <Button onPress={() => setResetting(each)}>{t(each.reset_asked_by ? "resetApprove" : "resetAsk")}</Button>
                      )}
                      {each.reset_asked_by !== "" && each.reset_asked_by === session?.username && <span className="quiet">{t("resetWaits")}</span>}
                    </>
                  ),
                ],
              }))}
            />
          )
        }
      </Answer>
      {asked.data && <Waiting />}
      {resetting && (
        <Sure
          title={t(resetting.reset_asked_by ? "resetApprove" : "resetAsk")}
          text={resetting.reset_asked_by ? t("resetApproveText", resetting.display_name) : t("resetAskText", resetting.display_name)}
          act={async () => {
            const body = { username: resetting.username };
            if (resetting.reset_asked_by) setCode((await askJson<{ code: string }>("/api/admin/persons/reset-approve", body)).code);
            else await ask("/api/admin/persons/reset", body);
            await asked.again();
          }}
          onDone={() => setResetting(null)}
        />
      )}
      {code !== "" && !resetting && (
        <Box title={t("personOnce")}>
          <p>{t("resetCodeText")}</p>
          <p className="secret">{code}</p>
          <div className="buttons">
            <Button className="main" autoFocus onPress={() => setCode("")}>
              {t("handedOver")}
            </Button>
          </div>
        </Box>
      )}
      {secrets && <Handover secrets={secrets} onDone={() => setSecrets(null)} />}
      {chosen && (
        <Sure
          title={t(chosen.suspended ? "resume" : "suspend")}
          text={chosen.suspended ? chosen.display_name : t("suspendPersonAsk", chosen.display_name)}
          act={async () => {
            await ask("/api/admin/persons/suspend", { username: chosen.username, suspended: !chosen.suspended });
            await asked.again();
          }}
          onDone={() => setChosen(null)}
        />
      )}
    </AdminPage>
  );
}

interface Throttled {
  what: "log-in" | "second-factor" | "passkey";
  username: string;
  address: string;
  until: number;
}

const FAILED: Record<Throttled["what"], Word> = { "log-in": "waitingLogIn", "second-factor": "waitingFactor", passkey: "waitingPasskey" };

/** Who is throttled: a person who cannot get in asks the administrator why. Nothing where nobody is. */
function Waiting() {
  const { t, language } = useConsole();
  const asked = useAsked<{ throttled: Throttled[] }>("/api/admin/throttled");
  const waiting = asked.data?.throttled ?? [];
  if (waiting.length === 0) return null;
  return (
    <>
      <h2>{t("waiting")}</h2>
      <Table
        label={t("waiting")}
        columns={["username", "waitingWhat", "address", "waitingUntil"]}
        rows={waiting.map((each, place) => ({
          key: String(place),
          cells: [each.username || t("unknownName"), t(FAILED[each.what]), each.address, asTime(each.until, language)],
        }))}
      />
    </>
  );
}

/** Password and second factor, in this page's memory until they are handed over. */
function Handover({ secrets, onDone }: { secrets: Secrets; onDone: () => void }) {
  const { t } = useConsole();
  const key = new URL(secrets.totp_uri).searchParams.get("secret") ?? "";
  return (
    <Box title={t("personOnce")}>
      <p>{t("personOnceText", secrets.username)}</p>
      <dl>
        <dt>{t("firstPassword")}</dt>
        <dd className="secret">{secrets.password}</dd>
      </dl>
      <p>{t("totpPicture")}</p>
      <QrCode text={secrets.totp_uri} label={t("totpPicture")} />
      <p className="quiet">{t("totpText")}</p>
      <p className="secret">{key.replace(/(.{4})(?=.)/g, "$1 ")}</p>
      <div className="buttons">
        <Button className="main" onPress={onDone}>
          {t("handedOver")}
        </Button>
      </div>
    </Box>
  );
}
