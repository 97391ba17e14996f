// `POST /admin/session`: this machine's command line proves that it can read the machine's secret
// file, and gets a short-lived token and the server's own proof back (api/machine.ts). Control
// listener only.

import { decode } from "../api/decode.ts";
import {
  clientProof,
  sameProof,
  serverProof,
  SessionRequest,
  type SessionAnswer,
} from "../api/machine.ts";
import { unauthenticated } from "../model/error.ts";
import { limits } from "../model/limits.ts";

export type OpenSession = (body: unknown) => SessionAnswer;

export function createSessions(options: {
  readonly machineKey: Uint8Array;
  readonly openSession: (user: string) => { readonly token: string; readonly expires_at: string };
}): OpenSession {
  const { machineKey, openSession } = options;
  // Oldest first. Whoever could listen on loopback needs none of this; it is cheap, so a proof
  // works once.
  const used = new Set<string>();

  return (body) => {
    const { nonce, user, proof } = decode(SessionRequest, body);
    if (!sameProof(proof, clientProof(machineKey, { nonce, user })) || used.has(nonce)) {
      throw unauthenticated();
    }
    used.add(nonce);
    for (const oldest of used) {
      if (used.size <= limits.session_tokens_max) break;
      used.delete(oldest);
    }
    const { token, expires_at } = openSession(user);
    return { token, expires_at, proof: serverProof(machineKey, { nonce, token }) };
  };
}
