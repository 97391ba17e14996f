// What every gRPC call has around it: its token, its name, its refusals and the log line. What the
// operations answer is held against the one suite of all surfaces (test/conformance).

import { status } from "@grpc/grpc-js";
import protobuf from "protobufjs";
import { describe, expect, test } from "bun:test";
import { statusOf } from "../../src/api/errors.ts";
import { DbxError, errorCodes, type ErrorCode } from "../../src/model/error.ts";
import {
  ask,
  bearer,
  connect,
  drain,
  protoPath,
  refusalOf,
  startTestGrpc,
  toldError,
  type Loose,
} from "../support/grpc.ts";

const event = {
  aggregate_type: "patient",
  aggregate_id: "p-001",
  event_type: "patient-added",
  payload_json: '{"name":"Jané","big":12345678901234567890.10}',
};

/** What `grpc-status-details-bin` holds. */
async function richDetails(metadata: Loose): Promise<Record<string, Loose>> {
  const root = await protobuf.load(protoPath("status"));
  const [bytes] = metadata.get("grpc-status-details-bin");
  const decode = (name: string, from: Uint8Array): Loose => {
    const type = root.lookupType(`google.rpc.${name}`);
    return type.toObject(type.decode(from), { longs: Number });
  };
  const { code, message, details = [] } = decode("Status", bytes);
  const told = details.map(({ typeUrl, value }: Loose) => {
    const name = String(typeUrl).replace("type.googleapis.com/google.rpc.", "");
    return [name, decode(name, value)];
  });
  return { code, message, ...Object.fromEntries(told) };
}

describe("a token", () => {
  const cases: [string, Record<string, string>, string][] = [
    ["none", {}, "missing authorization metadata"],
    [
      "another scheme",
      { authorization: "Basic abc" },
      "authorization metadata must use Bearer token",
    ],
    ["two words behind the scheme", { authorization: "Bearer a b" }, "unauthorized"],
    [
      "one that nobody issued",
      { authorization: "Bearer EVT-nobody" },
      "token not found or inactive",
    ],
  ];
  for (const [name, metadata, message] of cases) {
    test(`${name} is refused before the message is judged`, async () => {
      await using served = await startTestGrpc();
      const client = connect(served.address);
      for (const call of ["AppendEvent", "GetAggregate", "ReadLog", "AppendEvents"]) {
        const error = await refusalOf(ask(client, call, {}, bearer(null, metadata)));
        expect([error.code, error.details]).toEqual([status.UNAUTHENTICATED, message]);
      }
      for (const stream of [
        client["Subscribe"]({}, bearer(null, metadata)),
        client["AppendStream"](bearer(null, metadata)),
      ]) {
        const { error } = await drain(stream);
        expect(error?.details).toBe(message);
      }
      client.close();
    });
  }

  test("is taken with its scheme in any case", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const metadata = bearer(null, { authorization: `bEARER ${served.token}` });
    expect((await ask(client, "ReadLog", {}, metadata)).events).toBeUndefined();
    client.close();
  });

  test("is not needed for Health", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    expect(await ask(client, "Health", {}, bearer(null))).toEqual({ status: "ok" });
    client.close();
  });
});

describe("the older name", () => {
  test("eventdbx.api.EventService answers as dbx.api.EventService does", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const older: Loose = connect(served.address);
    for (const name of ["AppendEvent", "GetAggregate"]) {
      const { path, ...rest } = older[name];
      expect(path).toBe(`/dbx.api.EventService/${name}`);
      older[name] = (message: object, metadata: Loose, options: object, done: Loose) =>
        older.makeUnaryRequest(
          path.replace("/dbx", "/eventdbx"),
          ...[rest.requestSerialize, rest.responseDeserialize, message, metadata, options, done],
        );
    }
    const metadata = bearer(served.token);
    const { event: appended } = await ask(older, "AppendEvent", event, metadata);
    expect(appended.payload_json).toBe('{"big":12345678901234567890.10,"name":"Jané"}');
    const key = { aggregate_type: "patient", aggregate_id: "p-001" };
    expect(await ask(older, "GetAggregate", key, metadata)).toEqual(
      await ask(client, "GetAggregate", key, metadata),
    );
    client.close();
    older.close();
  });
});

describe("a payload", () => {
  const cases: [string, string, string][] = [
    ["nothing", "", "invalid payload_json: "],
    ["no JSON", "{name:1}", "invalid payload_json: "],
    ["a key twice", '{"a":1,"a":2}', "a member name appears twice"],
    ["a lone surrogate", '"\\ud800"', "invalid payload_json: "],
    ["129 levels", `${"[".repeat(129)}${"]".repeat(129)}`, "128"],
    ["a byte-order mark", "\ufeff{}", "invalid payload_json: "],
  ];
  for (const [name, payload_json, says] of cases) {
    test(`of ${name} is refused, saying where`, async () => {
      await using served = await startTestGrpc();
      const client = connect(served.address);
      const metadata = bearer(served.token);
      const alone = await refusalOf(
        ask(client, "AppendEvent", { ...event, payload_json }, metadata),
      );
      expect(alone.code).toBe(status.INVALID_ARGUMENT);
      expect(alone.details).toStartWith("invalid payload_json: ");
      expect(alone.details).toContain(says);
      expect(toldError(alone).details.path).toBe("/payload_json");
      const events = [event, { ...event, payload_json }];
      const among = await refusalOf(ask(client, "AppendEvents", { events }, metadata));
      expect(toldError(among).details).toMatchObject({ path: "/events/1/payload_json", index: 1 });
      expect(await ask(client, "ReadLog", {}, metadata)).toEqual({});
      client.close();
    });
  }

  test("of 128 levels is as deep as one may be", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const payload_json = `${"[".repeat(128)}${"]".repeat(128)}`;
    const answer = await ask(
      client,
      "AppendEvent",
      { ...event, payload_json },
      bearer(served.token),
    );
    expect(answer.event.payload_json).toBe(payload_json);
    client.close();
  });
});

describe("numbers of 64 bits", () => {
  test("above 2^53-1 are refused, never rounded", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const metadata = bearer(served.token);
    const most = "9007199254740991";
    for (const number of ["9007199254740992", "9007199254740993", "18446744073709551615"]) {
      for (const [call, message] of [
        ["AppendEvent", { ...event, expected_version: number }],
        ["ReadLog", { after: number }],
        ["GetAggregate", { ...event, version: number }],
      ] as const) {
        const error = await refusalOf(ask(client, call, message, metadata));
        expect([call, error.code]).toEqual([call, status.INVALID_ARGUMENT]);
      }
    }
    const conflict = await refusalOf(
      ask(client, "AppendEvent", { ...event, expected_version: most }, metadata),
    );
    expect(toldError(conflict).details.expected).toBe(Number(most));
    client.close();
  });
});

describe("a refusal", () => {
  const throwing = (error: unknown) => ({
    dbx: {
      getAggregate: async () => {
        throw error;
      },
    } as Loose,
  });

  for (const code of errorCodes) {
    test(`${code} has its status, its details for everybody, and itself for our clients`, async () => {
      const details = { path: "/a~1b", versions: [1, 2], name: "Jané" };
      const error = new DbxError(code, `no: “${code}”`, details);
      await using served = await startTestGrpc({ options: throwing(error) });
      const client = connect(served.address);
      const refusal = await refusalOf(ask(client, "GetAggregate", event, bearer(served.token)));
      expect([refusal.code, refusal.details]).toEqual([statusOf[code].grpc, error.message]);
      const rebuilt = toldError(refusal);
      expect([rebuilt.code, rebuilt.message, rebuilt.details]).toEqual([
        code,
        error.message,
        details,
      ]);
      const rich = await richDetails(refusal.metadata);
      expect([rich["code"], rich["message"]]).toEqual([refusal.code, error.message]);
      expect(rich["ErrorInfo"]).toEqual({
        reason: code,
        domain: "dbx",
        metadata: { path: "/a~1b", versions: "[1,2]", name: "Jané" },
      });
      expect(rich["BadRequest"].fieldViolations).toEqual([
        { field: "/a~1b", description: error.message },
      ]);
      const wait: Partial<Record<ErrorCode, object>> = {
        overloaded: { retryDelay: { seconds: 1, nanos: 0 } },
      };
      expect(rich["RetryInfo"]).toEqual(wait[code]);
      client.close();
    });
  }

  test("with details of a megabyte tells what fits into trailers", async () => {
    const details = {
      path: "/a",
      huge: "x".repeat(1_000_000),
      list: ["€".repeat(500_000)],
      last: 1,
    };
    const error = new DbxError("invalid_argument", `${"é😀".repeat(100_000)}\ud800`, details);
    await using served = await startTestGrpc({ options: throwing(error) });
    const client = connect(served.address);
    for (let count = 0; count < 3; count++) {
      const refusal = await refusalOf(ask(client, "GetAggregate", event, bearer(served.token)));
      expect(refusal.code).toBe(status.INVALID_ARGUMENT);
      expect(toldError(refusal).details).toEqual({
        path: "/a",
        last: 1,
        left_out: ["huge", "list"],
      });
      const size = JSON.stringify(refusal.metadata.toHttp2Headers()).length;
      expect(size + encodeURI(refusal.details).length).toBeLessThan(8_192);
    }
    client.close();
  });

  test("that is a defect of dbx says nothing of it, and the log has its stack", async () => {
    const options = throwing(new TypeError("the secret of p-001"));
    await using served = await startTestGrpc({ options });
    const client = connect(served.address);
    const refusal = await refusalOf(ask(client, "GetAggregate", event, bearer(served.token)));
    expect(refusal.code).toBe(status.INTERNAL);
    expect(refusal.details).not.toContain("secret");
    const lines = served.lines.filter((line) => line.includes(" error "));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain("the secret of p-001");
    expect(lines[0]).toContain("grpc.test.ts");
    client.close();
  });
});

describe("a request id", () => {
  const idsOf = (served: { lines: string[] }) =>
    served.lines.flatMap((line) => /request_id=(\S+)/.exec(line)?.[1] ?? []);

  test("of the client is answered and logged; of others the server makes one", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const answered: string[] = [];
    for (const id of ["abc-1", "x".repeat(129)]) {
      const call = client["Health"]({}, bearer(null, { "x-request-id": id }), () => {});
      await new Promise((resolve) => {
        call.on("metadata", (metadata: Loose) => answered.push(...metadata.get("x-request-id")));
        call.on("status", resolve);
      });
    }
    expect(answered).toEqual(["abc-1", "test-1"]);
    expect(idsOf(served)).toEqual(["abc-1", "test-1"]);
    client.close();
  });

  test("is that of a refused call, too", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const metadata = bearer(null, { "x-request-id": "stranger" });
    await refusalOf(ask(client, "ReadLog", {}, metadata));
    expect(idsOf(served)).toEqual(["stranger"]);
    expect(served.lines[0]).toContain("status=unauthenticated");
    client.close();
  });
});

describe("a server that stops", () => {
  test("refuses calls as unavailable, and ends streams so", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const metadata = bearer(served.token);
    const following = client["Subscribe"]({}, metadata);
    await new Promise((resolve) => following.once("data", resolve));
    const loading = client["AppendStream"](metadata);
    await new Promise<void>((resolve) => loading.write({ events: [event] }, () => resolve()));
    await new Promise((resolve) => loading.once("data", resolve));
    const ends = [drain(following), drain(loading)];
    served.drain();
    for (const { error } of await Promise.all(ends)) {
      expect([error?.code, error?.details]).toEqual([status.UNAVAILABLE, "dbx is stopping"]);
    }
    const error = await refusalOf(ask(client, "ReadLog", {}, metadata));
    expect([error.code, error.details]).toEqual([status.UNAVAILABLE, "dbx is stopping"]);
    client.close();
  });

  test("counts what it answered", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address);
    const metadata = bearer(served.token);
    await ask(client, "AppendEvent", event, metadata);
    await refusalOf(ask(client, "AppendEvent", {}, metadata));
    await refusalOf(ask(client, "ReadLog", {}, bearer(null)));
    expect(served.figures.read()).toMatchObject({
      http_requests: 3,
      http_requests_refused: 2,
      http_requests_failed: 0,
      http_requests_running: 0,
    });
    client.close();
  });
});
