// What one node may ask another, and what comes back: the answers of the engine, its errors, exact
// numbers; and nothing of what nodes have no business with.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { operations, type OperationName } from "../../src/api/operations.ts";
import { createLog } from "../../src/log.ts";
import { DbxError } from "../../src/model/error.ts";
import { allowedTo, type Right } from "../../src/model/remote.ts";
import { createPeer, servePeer } from "../../src/replication/peer.ts";
import { decodeReply, encodeQuestion } from "../../src/wire/peer.ts";
import { channelPair } from "../support/channels.ts";
import { bring, openNode, type Node } from "../support/nodes.ts";
import { root } from "../support/store.ts";

let here: Node;
let there: Node;
beforeEach(async () => {
  here = await openNode();
  there = await openNode();
});
afterEach(async () => {
  await here[Symbol.asyncDispose]();
  await there[Symbol.asyncDispose]();
});

const lines: string[] = [];
const log = createLog({ least: "info", now: () => "now", write: (line) => void lines.push(line) });

/** A peer that `there` answers. */
function ask(allowed: readonly Right[] = allowedTo({})) {
  const [near, far] = channelPair();
  const stopping = new AbortController();
  const { dbx } = there.store;
  const rights = () => allowed;
  const served = servePeer(far, { dbx, name: "here", rights, log, stopping: stopping.signal });
  return { peer: createPeer(near), near, served, stopping };
}

async function refusal(work: Promise<unknown>): Promise<DbxError> {
  const thrown = await work.catch((error: unknown) => error);
  if (thrown instanceof DbxError) return thrown;
  throw new Error(`refused: ${String(thrown)}`);
}

describe("another node", () => {
  test("is brought up, and brings up, as a store in the same process would", async () => {
    const { peer, near, served } = ask();
    for (let n = 0; n < 12; n++) await here.append("ward", `w-${n % 3}`, { n: 2 ** 53 + 2 * n });
    await here.store.dbx.appendEvent(root, {
      ...{ aggregate_type: "ward", aggregate_id: "é\u{1f600}", event_type: "x", note: "\u0000" },
      payload: '{"n":18446744073709551617}' as never,
    });
    await bring(here, { ask: peer }, { batch_events: 5 });
    expect(await there.contents()).toEqual(await here.contents());
    await there.append("bed", "b-1", 1);
    await there.store.dbx.archiveAggregate(root, { aggregate_type: "bed", aggregate_id: "b-1" });
    await bring({ ask: peer }, here);
    expect(await here.contents()).toEqual(await there.contents());
    near.close();
    await served;
    const [entry] = await there.ask("listAudit", { action: "events.import" });
    expect(entry?.issued_by).toEqual({ group: "remote", user: "here" });
  });

  test("refuses in its own words, with details", async () => {
    const { peer } = ask();
    const error = await refusal(
      peer("archiveAggregate", { aggregate_type: "a", aggregate_id: "b" }),
    );
    expect(error).toMatchObject({ code: "not_found", details: { aggregate_id: "b" } });
    expect(error.message).toBe("the remote refused: aggregate not found");
    // And goes on.
    expect(await peer("listPositions", { take: 1 })).toEqual([]);
  });

  test("asks one thing after the other, whoever asks at the same time", async () => {
    const { peer } = ask();
    await there.append("ward", "w-1", 1);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => peer("listPositions", { take: 1 })),
    );
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
  });
});

describe("a node may", () => {
  const allowed: Readonly<Record<Right, readonly OperationName[]>> = {
    read: ["listPositions", "rootsAt", "readForeign", "listSchemas"],
    append: ["importEvents", "archiveAggregate", "restoreAggregate"],
    schemas: ["applySchemas"],
  };
  const inputs: Readonly<Record<string, object>> = {
    listPositions: { take: 1 },
    rootsAt: { of: [{ aggregate_type: "a", aggregate_id: "b", version: 0 }] },
    readForeign: { aggregate_type: "a", aggregate_id: "b", after: 0, take: 1 },
    listSchemas: {},
    archiveAggregate: { aggregate_type: "a", aggregate_id: "b" },
    restoreAggregate: { aggregate_type: "a", aggregate_id: "b" },
    applySchemas: { schemas: [], remove: [] },
  };

  test.each(Object.keys(operations).map((name) => [name as OperationName]))(
    "ask for %s with the right for it, and only if there is one",
    async (name) => {
      for (const held of [[], ["read"], ["append"], ["schemas"]] as Right[][]) {
        const [near, far] = channelPair();
        const { dbx } = there.store;
        const stopping = new AbortController().signal;
        void servePeer(far, { dbx, name: "n", rights: () => held, log, stopping });
        const input = Buffer.from(JSON.stringify(inputs[name] ?? {}));
        await near.send(encodeQuestion({ operation: name, input }));
        const received = await near.receive();
        const { refused, body } = decodeReply(received ?? new Uint8Array());
        const text = Buffer.from(body).toString();
        const right = allowedTo({}).find((one) => allowed[one].includes(name));
        const code = refused ? JSON.parse(text).code : "answered";
        if (right === undefined) expect([text, code]).toEqual([text, "invalid_argument"]);
        else if (!held.includes(right)) expect(code).toBe("permission_denied");
        else expect(code).not.toBe("permission_denied");
        near.close();
      }
    },
  );
});

describe("what is no message", () => {
  const garbage: readonly (readonly [string, Uint8Array])[] = [
    ["nothing", new Uint8Array()],
    ["noise", Uint8Array.from({ length: 64 }, (_, index) => index * 37)],
    ["many segments", new Uint8Array(new Uint32Array([0x7ffffffe, 1, 0, 0]).buffer)],
    [
      "a message with something behind it",
      new Uint8Array([
        ...encodeQuestion({ operation: "listSchemas", input: Buffer.from("{}") }),
        0,
      ]),
    ],
    [
      "an input that is no JSON",
      encodeQuestion({ operation: "listSchemas", input: Buffer.from("{") }),
    ],
    [
      "an input that is no UTF-8",
      encodeQuestion({
        ...{ operation: "listSchemas", input: new Uint8Array([0x7b, 0xff, 0x7d]) },
      }),
    ],
  ];
  test.each(garbage)("is refused, and the next question answered: %s", async (_what, bytes) => {
    const { peer, near } = ask();
    await near.send(bytes);
    const { refused, body } = decodeReply((await near.receive()) ?? new Uint8Array());
    expect(refused).toBe(true);
    expect(JSON.parse(Buffer.from(body).toString())).toMatchObject({ code: "invalid_argument" });
    expect(await peer("listPositions", { take: 1 })).toEqual([]);
  });

  test("as an answer ends the question, not the process", async () => {
    const [near, far] = channelPair();
    const peer = createPeer(near);
    for (const [, bytes] of garbage.slice(0, 3)) {
      await far.send(bytes);
      expect((await refusal(peer("listPositions", { take: 1 }))).code).toBe("invalid_argument");
    }
    far.close();
    expect((await refusal(peer("listPositions", { take: 1 }))).code).toBe("unavailable");
  });
});

test("a session ends when the server stops, after the answer", async () => {
  const { peer, served, stopping, near } = ask();
  const asked = peer("listPositions", { take: 1 });
  stopping.abort();
  await asked.catch((error: unknown) => expect(error).toMatchObject({ code: "unavailable" }));
  near.close();
  await served;
  expect(lines.at(-1)).toMatch(/^now info replication session ended remote=here questions=[01]\n$/);
});
