// How this machine's command line gets a token from a running server: it proves that it can read
// the machine's secret, and checks that the server can, too (api/machine.ts).

import { decode } from "../api/decode.ts";
import {
  clientProof,
  sameProof,
  serverProof,
  SessionAnswer,
  sessionPath,
  type SessionRequest,
} from "../api/machine.ts";
import { unavailable, unauthenticated } from "../model/error.ts";
import { send } from "./http.ts";

/**
 * Out: a short-lived token. Throws `unavailable` where nothing answers, or somebody else than
 * dbx does.
 */
export async function buySession(options: {
  host: string;
  port: number;
  machineKey: Uint8Array;
  user: string;
  nonce: Uint8Array;
  idle_ms_max: number;
}): Promise<string> {
  const { host, port, machineKey, user } = options;
  const nonce = options.nonce.toHex();
  const proof = clientProof(machineKey, { nonce, user });
  const asked: SessionRequest = { nonce, user, proof };
  const { status, text } = await send({
    ...options,
    method: "POST",
    path: sessionPath,
    body: JSON.stringify(asked),
  });
  if (status === 401) throw unauthenticated("the server does not know this machine's secret");
  const answer = decodeAnswer(text, { host, port });
  if (sameProof(answer.proof, serverProof(machineKey, { nonce, token: answer.token }))) {
    return answer.token;
  }
  throw notOurs({ host, port });
}

function decodeAnswer(text: string, at: { host: string; port: number }): SessionAnswer {
  try {
    return decode(SessionAnswer, JSON.parse(text));
  } catch (cause) {
    throw notOurs(at, cause);
  }
}

const notOurs = ({ host, port }: { host: string; port: number }, cause?: unknown) =>
  unavailable(
    `what answers on ${host}:${port} is not this data directory's server`,
    { host, port },
    { cause },
  );
