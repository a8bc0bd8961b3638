/** Passkeys (WebAuthn): the archive's JSON to the browser's call and back. No key and no secret passes through here. */

import { askJson, Refused } from "./api";

/** Whether this browser has passkeys at all. */
export function passkeysHere(): boolean {
  return typeof PublicKeyCredential !== "undefined";
}

/** Ask `begin` for a challenge, let the authenticator answer it, give the answer to `finish`. Raises Refused. */
export async function provePasskey<T>(begin: string, finish: string): Promise<T> {
  const options = await askJson<Described>(begin, {});
  const publicKey = { ...options, challenge: bytes(options.challenge), allowCredentials: (options.allowCredentials ?? []).map(named) };
  const credential = await withUser(navigator.credentials.get({ publicKey: publicKey as unknown as PublicKeyCredentialRequestOptions }));
  const answer = credential.response as AuthenticatorAssertionResponse;
  return askJson<T>(finish, {
    credential: {
      ...common(credential),
      response: {
        clientDataJSON: text(answer.clientDataJSON),
        authenticatorData: text(answer.authenticatorData),
        signature: text(answer.signature),
        ...(answer.userHandle ? { userHandle: text(answer.userHandle) } : {}),
      },
    },
  });
}

/** Make a passkey and register it under `label`. Raises Refused. */
export async function addPasskey(begin: string, finish: string, label: string): Promise<void> {
  const options = await askJson<Described>(begin, {});
  const publicKey = {
    ...options,
    challenge: bytes(options.challenge),
    user: { ...options.user, id: bytes(options.user?.id ?? "") },
    excludeCredentials: (options.excludeCredentials ?? []).map(named),
  };
  const credential = await withUser(navigator.credentials.create({ publicKey: publicKey as unknown as PublicKeyCredentialCreationOptions }));
  const answer = credential.response as AuthenticatorAttestationResponse;
  await askJson(finish, {
    label,
    credential: {
      ...common(credential),
      response: { clientDataJSON: text(answer.clientDataJSON), attestationObject: text(answer.attestationObject), transports: answer.getTransports() },
    },
  });
}

interface Described {
  challenge: string;
  user?: { id: string };
  allowCredentials?: { id: string }[];
  excludeCredentials?: { id: string }[];
}

function named<T extends { id: string }>(each: T): Omit<T, "id"> & { id: ArrayBuffer } {
  return { ...each, id: bytes(each.id) };
}

function common(credential: PublicKeyCredential): Record<string, unknown> {
  return {
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment,
    clientExtensionResults: credential.getClientExtensionResults(),
  };
}

/** Cancelled, timed out or not allowed: a refusal by the person's own side, with status 0 and the code `passkey`. */
async function withUser(asked: Promise<Credential | null>): Promise<PublicKeyCredential> {
  try {
    const credential = await asked;
    if (credential !== null) return credential as PublicKeyCredential;
  } catch {
    // as below: the browser has said why, in its own window
  }
  throw new Refused(0, "passkey");
}

/** Bytes of base64url. */
export function bytes(text: string): ArrayBuffer {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (each) => each.charCodeAt(0)).buffer;
}

/** Base64url of bytes, without padding. */
export function text(given: ArrayBuffer): string {
  const plain = Array.from(new Uint8Array(given), (each) => String.fromCharCode(each)).join("");
  return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
