// How this machine's command line gets a token from a running server: it proves that it can read
// the machine's secret, and checks that the server can, too (api/machine.ts).

import { decode } from "../api/decode.ts";
import { fromWire } from "../api/errors.ts";
import {
  clientProof,
  sameProof,
  serverProof,
  SessionAnswer,
  sessionPath,
  type SessionRequest,
} from "../api/machine.ts";
import { DbxError, unauthenticated } from "../model/error.ts";
import { send, type Answer } from "./http.ts";

/**
 * Out: a short-lived token, or null where nothing answers, or somebody else than this data
 * directory's server does. Throws what the server itself refuses with: it is stopping or
 * overloaded, or does not know the secret.
 */
export async function buySession(options: {
  host: string;
  port: number;
  machineKey: Uint8Array;
  user: string;
  nonce: Uint8Array;
  idle_ms_max: number;
}): Promise<string | null> {
  const { machineKey, user } = options;
  const nonce = options.nonce.toHex();
  const proof = clientProof(machineKey, { nonce, user });
  const asked: SessionRequest = { nonce, user, proof };
  const answer = await answerTo(asked, options);
  if (answer === null) return null;
  if (answer.status === 401) {
    throw unauthenticated("the server does not know this machine's secret");
  }
  const body = parsed(answer.text);
  if (answer.status !== 200) {
    const refusal = fromWire(body);
    // Every dbx server has this path on this port.
    if (refusal === undefined || refusal.code === "not_found") return null;
    throw refusal;
  }
  const session = sessionOf(body);
  if (session === null) return null;
  const expected = serverProof(machineKey, { nonce, token: session.token });
  return sameProof(session.proof, expected) ? session.token : null;
}

async function answerTo(
  asked: SessionRequest,
  options: { host: string; port: number; idle_ms_max: number },
): Promise<Answer | null> {
  const { host, port, idle_ms_max } = options;
  try {
    return await send({
      ...{ host, port, idle_ms_max },
      method: "POST",
      path: sessionPath,
      body: JSON.stringify(asked),
    });
  } catch (error) {
    if (error instanceof DbxError && error.code === "unavailable") return null;
    throw error;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // No JSON is no answer of dbx, which is all that is asked here.
    return null;
  }
}

function sessionOf(body: unknown): SessionAnswer | null {
  try {
    return decode(SessionAnswer, body);
  } catch {
    // Somebody else's shape: likewise.
    return null;
  }
}
