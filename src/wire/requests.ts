// From messages to inputs of operations. Nothing is judged here but the JSON of a payload and what
// only this wire can say wrongly; the rest is the gate's.

import { canonicalize, type Canonical } from "../model/canonical.ts";
import { DbxError, invalidArgument } from "../model/error.ts";
import type { Codec, Message } from "./codec.ts";

/** Input of an operation, for the gate to judge. */
export type RawInput = Record<string, unknown>;

/**
 * A reader of messages whose fields are members of the input by the same name. A string without
 * presence that was not sent is the empty one, which the gate refuses as it does elsewhere.
 */
export function plainInput({ fields }: Codec): (message: Message) => RawInput {
  const implied = fields.filter(({ type, repeated, hasPresence }) =>
    [type === "string", !repeated, !hasPresence].every(Boolean),
  );
  return (message) => {
    const input: RawInput = { ...message };
    for (const { name } of implied) input[name] ??= "";
    return input;
  };
}

/**
 * One event. `at` is the JSON pointer to it, empty where it is the whole request. Throws
 * `invalid_argument`.
 */
export function eventInput(message: Message, at: string): RawInput {
  const { aggregate_type = "", aggregate_id = "", event_type = "", payload_json = "" } = message;
  const input: RawInput = {
    aggregate_type,
    aggregate_id,
    event_type,
    payload: payloadOf(payload_json, at),
  };
  if (message["note"] !== undefined) input["note"] = message["note"];
  if (message["event_id"] !== undefined) input["event_id"] = message["event_id"];
  const expected = expectedOf(message, at);
  if (expected !== undefined) input["expected_version"] = expected;
  return input;
}

/** Several events, as one request has them. */
export const eventInputs = (messages: readonly Message[]): RawInput[] =>
  messages.map((message, index) => {
    try {
      return eventInput(message, `/events/${index}`);
    } catch (error) {
      if (!(error instanceof DbxError)) throw error;
      throw new DbxError(error.code, error.message, { index, ...error.details }, { cause: error });
    }
  });

function payloadOf(text: unknown, at: string): Canonical {
  try {
    return canonicalize(String(text));
  } catch (cause) {
    if (!(cause instanceof DbxError)) throw cause;
    const details = { path: `${at}/payload_json`, ...cause.details };
    throw invalidArgument(`invalid payload_json: ${cause.message}`, details, { cause });
  }
}

const states = ["any", "no_stream", "stream_exists"];

function expectedOf({ expected_version, expected_state }: Message, at: string): unknown {
  if (expected_state === undefined) return expected_version;
  if (expected_version !== undefined) {
    const message = "expected_version and expected_state exclude each other";
    throw invalidArgument(message, { path: `${at}/expected_version` });
  }
  const state = states[Number(expected_state)];
  if (state !== undefined) return state;
  const message = `expected_state must be one of ${states.map((_, number) => number).join(", ")}`;
  throw invalidArgument(message, { path: `${at}/expected_state` });
}
