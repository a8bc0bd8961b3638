/** An invitation for a patient: a link as a picture, shown once. The link holds no name and no ID. */

import { useState } from "react";
import { Button } from "react-aria-components";
import { askJson, statusOf } from "../../shared/api";
import { asTime } from "../../shared/language";
import { useConsole, whyNot } from "../context";
import { Box, Field, Title } from "../parts";
import { QrCode } from "../qr";
import type { Word } from "../words";
import { ActForm, textOf } from "./forms";

interface Invitation {
  token: string;
  expires_at: number;
}

export function Invitations() {
  const { t, language } = useConsole();
  const [made, setMade] = useState<Invitation | null>(null);

  async function invite(given: FormData): Promise<void> {
    setMade(await askJson<Invitation>("/api/admin/invitations", { patient: textOf(given, "patient"), days: Number(given.get("days")) }));
  }

  function why(failure: unknown): Word {
    const words: Record<number, Word> = { 404: "inviteUnknown", 409: "inviteNoBirthDate" };
    return words[statusOf(failure)] ?? whyNot(failure);
  }

  return (
    <section className="middle">
      <Title word="invite" />
      <p>{t("inviteText")}</p>
      <ActForm title="inviteDo" act={invite} why={why}>
        <Field label="inviteWhom" hint="inviteWhomHint" name="patient" isRequired autoComplete="off" />
        <Field label="inviteDays" name="days" type="number" isRequired defaultValue="7" />
      </ActForm>
      {made && (
        <Box title={t("inviteDone")}>
          <p>{t("inviteDoneText", asTime(made.expires_at, language))}</p>
          <QrCode text={`${location.origin}/patient#${made.token}`} label={t("inviteDone")} />
          <p className="secret break">{`${location.origin}/patient#${made.token}`}</p>
          <div className="buttons">
            <Button className="main" onPress={() => window.print()}>
              {t("print")}
            </Button>
            <Button onPress={() => setMade(null)}>{t("handedOver")}</Button>
          </div>
        </Box>
      )}
    </section>
  );
}
