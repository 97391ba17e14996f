// The services beside EventService: health for whoever watches over dbx, reflection for clients
// that have no file.

import { status, type Client } from "@grpc/grpc-js";
import { loadFileDescriptorSetFromObject } from "@grpc/proto-loader";
import protobuf from "protobufjs";
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import {
  ask,
  bearer,
  connect,
  drain,
  protoPath,
  refusalOf,
  startTestGrpc,
  type Loose,
} from "../support/grpc.ts";

const health = { proto: "health", service: "grpc.health.v1.Health" };

describe("health", () => {
  const services = ["", "dbx.api.EventService", "eventdbx.api.EventService"];

  test("is told without a token", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address, health);
    for (const service of services) {
      expect(await ask(client, "Check", { service }, bearer(null))).toEqual({ status: "SERVING" });
    }
    client.close();
  });

  test("of a service that is not here is none", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address, health);
    const error = await refusalOf(ask(client, "Check", { service: "other" }, bearer(null)));
    expect(error.code).toBe(status.NOT_FOUND);
    const watch = client["Watch"]({ service: "other" });
    const first = await new Promise((resolve) => watch.once("data", resolve));
    expect(first).toEqual({ status: "SERVICE_UNKNOWN" });
    watch.on("error", () => {});
    watch.cancel();
    client.close();
  });

  test("is that dbx does not serve while it stops, for who asks and for who watches", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address, health);
    const watch = client["Watch"]({ service: "" });
    const ended = drain(watch);
    await new Promise((resolve) => watch.once("data", resolve));
    served.drain();
    const { messages, error } = await ended;
    expect(messages.map(({ status: told }) => told)).toEqual(["SERVING", "NOT_SERVING"]);
    expect(error?.code).toBe(status.UNAVAILABLE);
    expect(await ask(client, "Check", {}, bearer(null))).toEqual({ status: "NOT_SERVING" });
    const events = connect(served.address);
    const refused = await refusalOf(ask(events, "Health", {}, bearer(null)));
    expect(refused.code).toBe(status.UNAVAILABLE);
    events.close();
    client.close();
  });
});

/** The answers of reflection to these requests, in their order. */
async function reflect(client: Loose, requests: object[]): Promise<Loose[]> {
  const stream = client["ServerReflectionInfo"]();
  const ended = drain(stream);
  for (const request of requests) stream.write(request);
  stream.end();
  const { messages, error } = await ended;
  expect(error).toBeNull();
  return messages;
}

const reflection = { proto: "reflection", service: "grpc.reflection.v1.ServerReflection" };

/** The older version has the same messages under another path. */
function alphaOf(client: Client & Record<string, Loose>): Loose {
  const { requestSerialize, responseDeserialize, path } = client["ServerReflectionInfo"];
  const older = path.replace(".v1.", ".v1alpha.");
  return {
    ServerReflectionInfo: () =>
      client.makeBidiStreamRequest(older, requestSerialize, responseDeserialize),
  };
}

describe("reflection", () => {
  const names = [
    ...["dbx.api.EventService", "eventdbx.api.EventService", "eventdbx.replication.Replication"],
    "grpc.health.v1.Health",
    ...["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"],
  ];

  test("lists the services, in both of its versions", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address, reflection);
    for (const asked of [client, alphaOf(client)]) {
      const [answer] = await reflect(asked, [{ list_services: "*" }]);
      expect(answer.list_services_response.service).toEqual(names.map((name) => ({ name })));
    }
    client.close();
  });

  test("describes what refusals hold, so that grpcurl can show them", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address, reflection);
    for (const name of ["ErrorInfo", "BadRequest", "RetryInfo"]) {
      const [answer] = await reflect(client, [{ file_containing_symbol: `google.rpc.${name}` }]);
      const [bytes] = answer.file_descriptor_response.file_descriptor_proto;
      const { FileDescriptorProto } = await import("protobufjs/ext/descriptor");
      const file: Loose = FileDescriptorProto.toObject(FileDescriptorProto.decode(bytes));
      expect(file.messageType.map((type: Loose) => type.name)).toContain(name);
    }
    client.close();
  });

  test("describes every service so that it can be called without a file", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address, reflection);
    for (const packageName of ["dbx.api", "eventdbx.api"]) {
      const symbol = { file_containing_symbol: `${packageName}.EventService.AppendEvent` };
      const [answer] = await reflect(client, [symbol]);
      const [bytes] = answer.file_descriptor_response.file_descriptor_proto;
      const { FileDescriptorProto } = await import("protobufjs/ext/descriptor");
      const file = FileDescriptorProto.toObject(FileDescriptorProto.decode(bytes));
      const definition: Loose = loadFileDescriptorSetFromObject(
        { file: [file] },
        { keepCase: true, longs: String },
      );
      const { AppendEvent } = definition[`${packageName}.EventService`];
      const event = { aggregate_type: "t", aggregate_id: "i", event_type: "e", payload_json: "1" };
      const call: Loose = connect(served.address);
      const appended: Loose = await new Promise((resolve, reject) => {
        call.makeUnaryRequest(
          ...[AppendEvent.path, AppendEvent.requestSerialize, AppendEvent.responseDeserialize],
          ...[
            event,
            bearer(served.token),
            (error: unknown, value: Loose) => (error === null ? resolve(value) : reject(error)),
          ],
        );
      });
      expect(appended.event.aggregate_type).toBe("t");
      call.close();
    }
    client.close();
  });

  test("describes what the file says: every message, field, number and call", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address, reflection);
    const [answer] = await reflect(client, [{ file_by_filename: "dbx/api.proto" }]);
    const [bytes] = answer.file_descriptor_response.file_descriptor_proto;
    const { FileDescriptorProto } = await import("protobufjs/ext/descriptor");
    const file: Loose = FileDescriptorProto.toObject(FileDescriptorProto.decode(bytes));
    const { root } = protobuf.parse(readFileSync(protoPath("dbx"), "utf8"), { keepCase: true });
    const types = root.lookup("dbx.api");
    for (const { name, field = [] } of file.messageType) {
      const type = root.lookupType(`dbx.api.${name}`);
      expect(field.map((each: Loose) => [each.name, each.number])).toEqual(
        type.fieldsArray.map((each) => [each.name, each.id]),
      );
    }
    const nested = types instanceof protobuf.Namespace ? types.nestedArray : [];
    expect(file.messageType.map(({ name }: Loose) => name)).toEqual(
      nested.filter((member) => member instanceof protobuf.Type).map(({ name }) => name),
    );
    client.close();
  });

  test("says what it does not have", async () => {
    await using served = await startTestGrpc();
    const client = connect(served.address, reflection);
    const answers = await reflect(client, [
      { file_containing_symbol: "dbx.api.Nothing" },
      { file_by_filename: "constructor" },
      { all_extension_numbers_of_type: "dbx.api.Event" },
      {},
    ]);
    const codes = answers.map(({ error_response }) => error_response.error_code);
    expect(codes).toEqual([5, 5, 5, 12]);
    client.close();
  });
});
