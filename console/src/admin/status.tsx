/** How the archive is: its findings first; and the images that wait because they contradict what is stored. */

import { useConsole } from "../context";
import { asTime } from "../../shared/language";
import { Answer, Table, useAsked } from "../parts";
import type { Word } from "../words";
import { AdminPage } from "./frame";

interface StatusAnswer {
  version: string;
  hospital: string;
  configuration: string[];
  studies: number;
  instances: number;
  parked: number;
  log_size: number;
  ledger_height: number;
  epoch: number;
  started_at: number;
  findings: string[];
  witness?: { state: string; name: string; trouble: string };
}

export function Status() {
  const { t, language } = useConsole();
  const asked = useAsked<StatusAnswer>("/api/admin/status");
  return (
    <AdminPage path="admin/status" title="status">
      <Answer asked={asked}>
        {(status) => (
          <>
            <h2>{t("findings")}</h2>
            {status.findings.length === 0 ? (
              <p className="notice good">{t("noFindings")}</p>
            ) : (
              <ul className="findings">
                {status.findings.map((each) => (
                  <li key={each} className="notice strong">
                    {each}
                  </li>
                ))}
              </ul>
            )}
            <dl className="facts">
              {facts(status).map(([word, value]) => (
                <div key={word}>
                  <dt>{t(word)}</dt>
                  <dd>{value}</dd>
                </div>
              ))}
              <div>
                <dt>{t("startedAt")}</dt>
                <dd>{asTime(status.started_at, language)}</dd>
              </div>
            </dl>
          </>
        )}
      </Answer>
    </AdminPage>
  );
}

function facts(status: StatusAnswer): [Word, string | number][] {
  const witness = status.witness ? [status.witness.name, status.witness.state, status.witness.trouble].filter(Boolean).join(" · ") : "";
  return [
    ["hospital", status.hospital],
    ["version", status.version],
    ["configuration", status.configuration.join(", ")],
    ["studies", status.studies],
    ["instances", status.instances],
    ["parked", status.parked],
    ["logSize", status.log_size],
    ["ledgerHeight", status.ledger_height],
    ["epoch", status.epoch],
    ["witness", witness],
  ];
}

interface ParkedItem {
  ordinal: number;
  reason: string;
  received_at: number;
  device: string;
}

export function Parked() {
  const { t, language } = useConsole();
  const asked = useAsked<{ parked: ParkedItem[] }>("/api/admin/parked");
  const columns: Word[] = ["ordinal", "reason", "receivedAt", "device"];
  return (
    <AdminPage path="admin/parked" title="parked">
      <p className="quiet">{t("parkedText")}</p>
      <Answer asked={asked}>
        {({ parked }) =>
          parked.length === 0 ? (
            <p className="state">{t("noParked")}</p>
          ) : (
            <Table
              label={t("parked")}
              columns={columns}
              rows={parked.map((each) => ({ key: String(each.ordinal), cells: [each.ordinal, each.reason, asTime(each.received_at, language), each.device] }))}
            />
          )
        }
      </Answer>
    </AdminPage>
  );
}
