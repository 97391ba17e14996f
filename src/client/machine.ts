// How this machine's command line gets a token from a running server: it proves that it can read
// the machine's secret, and checks that the server can, too (api/machine.ts). And how it ends one.

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
import { stopPath } from "../api/stop.ts";
import { DbxError, unauthenticated, unavailable } from "../model/error.ts";
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

/**
 * Asks a server to end; it has begun when this returns. Throws what it refuses with, and
 * `unavailable` where it does not answer.
 */
export async function askToStop(options: {
  host: string;
  port: number;
  token: string;
  idle_ms_max: number;
}): Promise<void> {
  const answer = await send({ ...options, method: "POST", path: stopPath, body: "{}" });
  if (answer.status === 202) return;
  throw (
    fromWire(parsed(answer.text)) ??
    unavailable(`the server answered with status ${answer.status}, but not as dbx does`)
  );
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
