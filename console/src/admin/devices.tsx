/** Devices: register one by its certificate request, take its certificate, suspend one. */

import { useEffect, useState } from "react";
import { Button, TextArea } from "react-aria-components";
import { ask, askJson } from "../../shared/api";
import { asTime } from "../../shared/language";
import { useConsole } from "../context";
import { Answer, Box, Field, Sure, Table, useAsked } from "../parts";
import type { Word } from "../words";
import { Act, textOf, Ticks } from "./forms";
import { AdminPage, useMayChange } from "./frame";

type Right = "store" | "query" | "retrieve";

interface Device {
  name: string;
  ae_titles: string[];
  may: Right[];
  department: string;
  fingerprint: string;
  not_after: number;
  suspended: boolean;
}

interface Registered {
  name: string;
  fingerprint: string;
  certificate_pem: string;
  authority_pem: string;
}

export function Devices() {
  const { t, language } = useConsole();
  const mayChange = useMayChange();
  const asked = useAsked<{ devices: Device[] }>("/api/admin/devices");
  const [registered, setRegistered] = useState<Registered | null>(null);
  const [chosen, setChosen] = useState<Device | null>(null);

  async function add(given: FormData): Promise<void> {
    const name = textOf(given, "name");
    const titles = textOf(given, "ae_titles").split(/[,，\s]+/).filter(Boolean);
    const body = { name, ae_titles: titles, may: given.getAll("may"), csr_pem: `${textOf(given, "csr_pem")}\n`, department: textOf(given, "department") };
    setRegistered({ name, ...(await askJson<Omit<Registered, "name">>("/api/admin/devices", body)) });
    await asked.again();
  }

  const columns: Word[] = ["deviceName", "aeTitles", "may", "department", "validUntil", "fingerprint", "state"];
  return (
    <AdminPage path="admin/devices" title="devices">
      {mayChange && (
        <Act title="addDevice" act={add}>
          <Field label="deviceName" name="name" isRequired autoComplete="off" maxLength={64} />
          <Field label="aeTitles" hint="aeTitlesHint" name="ae_titles" isRequired autoComplete="off" />
          <Field label="department" name="department" isRequired defaultValue="radiology" autoComplete="off" />
          <Ticks label="may" name="may" options={["store", "query", "retrieve"]} initial={["store"]} />
          <Field className="all" label="csr" hint="csrHint" name="csr_pem" isRequired maxLength={8000}>
            <TextArea rows={6} spellCheck={false} />
          </Field>
        </Act>
      )}
      <Answer asked={asked}>
        {({ devices }) =>
          devices.length === 0 ? (
            <p className="state">{t("noDevices")}</p>
          ) : (
            <Table
              label={t("devices")}
              columns={columns}
              rows={devices.map((each) => ({
                key: each.name,
                cells: [
                  each.name,
                  each.ae_titles.join(", "),
                  each.may.map((right) => t(right)).join(", "),
                  each.department,
                  asTime(each.not_after, language),
                  <code key="print">{each.fingerprint.slice(0, 16)}…</code>,
                  t(each.suspended ? "suspended" : "active"),
                  mayChange && (
                    <Button key="suspend" onPress={() => setChosen(each)}>
                      {t(each.suspended ? "resume" : "suspend")}
                    </Button>
                  ),
                ],
              }))}
            />
          )
        }
      </Answer>
      {registered && (
        <Box title={t("deviceDone", registered.name)} onClose={() => setRegistered(null)}>
          <p>{t("deviceDoneText")}</p>
          <p className="buttons">
            <Download name={`${registered.name}.crt`} body={registered.certificate_pem} label={t("certificate")} />
            <Download name="ca.crt" body={registered.authority_pem} label={t("authority")} />
          </p>
          <dl>
            <dt>{t("fingerprint")}</dt>
            <dd className="secret">{registered.fingerprint}</dd>
          </dl>
          <Button onPress={() => setRegistered(null)}>{t("close")}</Button>
        </Box>
      )}
      {chosen && (
        <Sure
          title={t(chosen.suspended ? "resume" : "suspend")}
          text={chosen.suspended ? chosen.name : t("suspendDeviceAsk", chosen.name)}
          act={async () => {
            await ask("/api/admin/devices/suspend", { name: chosen.name, suspended: !chosen.suspended });
            await asked.again();
          }}
          onDone={() => setChosen(null)}
        />
      )}
    </AdminPage>
  );
}

function Download({ name, body, label }: { name: string; body: string; label: string }) {
  const [address, setAddress] = useState("");
  useEffect(() => {
    const made = URL.createObjectURL(new Blob([body], { type: "application/x-pem-file" }));
    setAddress(made);
    return () => URL.revokeObjectURL(made);
  }, [body]);
  return (
    <a className="button" href={address} download={name}>
      {label}
    </a>
  );
}
