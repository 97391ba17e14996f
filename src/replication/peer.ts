// Asking another node, and answering one: operations of the table over a session, through the same
// gate as everywhere. What a peer may ask is what its rights name, and no more.

import { call } from "../api/call.ts";
import type { Ask, Dbx } from "../api/dbx.ts";
import { decode } from "../api/decode.ts";
import { fromWire, toWire } from "../api/errors.ts";
import { fromJson, levelsAround, toJson } from "../api/json.ts";
import { operations, type Input, type OperationName, type Output } from "../api/operations.ts";
import type { Log } from "../log.ts";
import { peerActor } from "../model/actor.ts";
import { canonicalize, canonicalOf, decodeUtf8 } from "../model/canonical.ts";
import {
  DbxError,
  invalidArgument,
  permissionDenied,
  tooLarge,
  unavailable,
} from "../model/error.ts";
import { limits } from "../model/limits.ts";
import type { Right } from "../model/remote.ts";
import { decodeQuestion, decodeReply, encodeQuestion, encodeReply } from "../wire/peer.ts";

/** Whole messages both ways; what is in them is nobody's business but the two nodes'. */
export interface Channel {
  readonly send: (message: Uint8Array) => Promise<void>;
  /** Null once the other side has ended it. */
  readonly receive: () => Promise<Uint8Array | null>;
  /** Sends what waits, and the end. */
  readonly close: () => Promise<void>;
}

/** What a peer needs for each operation; it can ask for no other. */
const needs: Readonly<Partial<Record<OperationName, Right>>> = {
  listPositions: "read",
  rootsAt: "read",
  readForeign: "read",
  listSchemas: "read",
  importEvents: "append",
  archiveAggregate: "append",
  restoreAggregate: "append",
  applySchemas: "schemas",
};

/**
 * The node at the other end. One question is on its way at a time; others wait for it. Once the
 * channel has ended, everything is `unavailable`.
 */
export function createPeer(channel: Channel): Ask {
  let turn: Promise<unknown> = Promise.resolve();
  return <Name extends OperationName>(
    operation: Name,
    input: Input<Name>,
  ): Promise<Output<Name>> => {
    const answer = turn.then(() => askOnce(channel, operation, input));
    turn = answer.catch(() => undefined);
    return answer;
  };
}

async function askOnce<Name extends OperationName>(
  channel: Channel,
  operation: Name,
  input: Input<Name>,
): Promise<Output<Name>> {
  const row = operations[operation];
  // Not judged here: its type says what it is, and the gate of the other node judges it anyway. For
  // events that took a fifth of the time of a push.
  const text = toJson(row.input, input);
  const question = encodeQuestion({ operation, input: Buffer.from(text) });
  if (question.length > limits.peer_message_bytes_max) throw questionTooLarge(question.length);
  await channel.send(question);
  const received = await channel.receive();
  if (received === null)
    throw unavailable("the remote has ended the session; what has arrived stays, run it again");
  const { refused, body } = decodeReply(received);
  const json = decodeUtf8(body);
  if (refused) throw refusalIn(json);
  const envelope = levelsAround(row.output) + 1;
  return decode(row.output, fromJson(row.output, canonicalize(json, { envelope })));
}

function refusalIn(json: string): DbxError {
  const error = fromWire(fromJson(undefined, canonicalize(json)));
  if (error === undefined) return unavailable("the remote's refusal is not of the usual shape");
  const { code, message, details } = error;
  return new DbxError(code, `the remote refused: ${message}`, details);
}

const questionTooLarge = (bytes: number) =>
  tooLarge(
    `a message to the remote would have ${bytes} bytes, at most ${limits.peer_message_bytes_max}`,
    { bytes, limit: limits.peer_message_bytes_max },
  );

export interface ServePeerOptions {
  readonly dbx: Dbx;
  readonly name: string;
  /** What it may do at the time. */
  readonly rights: () => readonly Right[];
  readonly log: Log;
  /** Aborted when the server begins to stop: the question that runs is answered still. */
  readonly stopping: AbortSignal;
}

/**
 * Answers until the other side, or a stop, ends it. A message that is none ends it, too. Rejects
 * where the channel does.
 */
export async function servePeer(channel: Channel, options: ServePeerOptions): Promise<void> {
  const { name, log, stopping } = options;
  let asked = 0;
  let isAnswering = false;
  const stop = (): void => {
    if (!isAnswering) void channel.close();
  };
  stopping.addEventListener("abort", stop);
  try {
    while (!stopping.aborted) {
      const received = await channel.receive();
      if (received === null) break;
      asked++;
      isAnswering = true;
      await channel.send(await answerTo(received, options));
      isAnswering = false;
    }
  } finally {
    stopping.removeEventListener("abort", stop);
    await channel.close();
    log.info("replication session ended", { remote: name, questions: asked });
  }
}

async function answerTo(received: Uint8Array, options: ServePeerOptions): Promise<Uint8Array> {
  try {
    const { operation, input } = decodeQuestion(received);
    const text = await answered({ operation, input }, options);
    const reply = encodeReply({ refused: false, body: Buffer.from(text) });
    if (reply.length <= limits.peer_message_bytes_max) return reply;
    throw tooLarge(`the answer has ${reply.length} bytes; ask for fewer rows`, {
      bytes: reply.length,
      limit: limits.peer_message_bytes_max,
    });
  } catch (thrown) {
    const error = toWire(thrown);
    if (error.code === "internal") {
      const stack = thrown instanceof Error ? thrown.stack : String(thrown);
      options.log.error("replication request failed", { remote: options.name, stack });
    }
    return encodeReply({ refused: true, body: Buffer.from(canonicalOf(error)) });
  }
}

async function answered(
  { operation: word, input }: { operation: string; input: Uint8Array },
  { dbx, name, rights }: ServePeerOptions,
): Promise<string> {
  const operation = Object.keys(needs).find((known): known is OperationName => known === word);
  const right = operation === undefined ? undefined : needs[operation];
  if (operation === undefined || right === undefined) {
    throw invalidArgument(`nodes do not ask for ${JSON.stringify(word.slice(0, 100))}`);
  }
  if (!rights().includes(right)) {
    throw permissionDenied(
      `this remote may not ${right === "read" ? "read" : right === "append" ? "append" : "change schemas"} ` +
        `here; dbx remote add --replace --allow grants it`,
      { right },
    );
  }
  const row = operations[operation];
  const envelope = levelsAround(row.input);
  const asked = fromJson(row.input, canonicalize(decodeUtf8(input), { envelope }));
  const output = await call(dbx, { operation, input: asked, actor: peerActor(name) });
  return toJson(row.output, output);
}
