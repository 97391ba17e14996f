// Field names and numbers of proto/dbx.proto are promises. Here is what was promised, once more and
// by hand: the predecessor's numbers, and ours. And no input of an operation is without its field.

import protobuf from "protobufjs";
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { followLog } from "../../src/api/live.ts";
import { operations } from "../../src/api/operations.ts";
import { Aggregate } from "../../src/model/aggregate.ts";
import { Event, EventRecord } from "../../src/model/event.ts";
import { protoPath } from "../support/grpc.ts";

const { root } = protobuf.parse(readFileSync(protoPath("dbx"), "utf8"), { keepCase: true });
const service = root.lookupService("dbx.api.EventService");
const messages = root.lookup("dbx.api");

const key = { aggregate_type: "", aggregate_id: "" };

/** Those with an asterisk were the predecessor's: his clients must go on working. */
const promised: Record<string, Record<string, string>> = {
  HealthRequest: {},
  HealthResponse: { status: "1 string *" },
  AppendEventRequest: {
    ...{ aggregate_type: "1 string *", aggregate_id: "2 string *", event_type: "3 string *" },
    ...{ payload_json: "4 string *", note: "5 optional string *" },
    ...{ event_id: "6 optional string" },
    ...{ expected_version: "7 uint64", expected_state: "8 ExpectedState" },
  },
  AppendEventResponse: { event: "1 Event *" },
  AppendEventsRequest: { events: "1 repeated AppendEventRequest" },
  AppendEventsResponse: { events: "1 repeated Event" },
  AppendStreamRequest: { events: "1 repeated AppendEventRequest" },
  AppendStreamResponse: { acknowledged: "1 uint64", position: "2 uint64" },
  ListAggregatesRequest: {
    ...{ skip: "1 optional uint32 *", take: "2 optional uint32 *", cursor: "3 optional string" },
    ...{ type: "4 optional string", archived: "5 optional bool", filter: "6 optional string" },
    ...{ at: "7 optional string", include_hidden: "8 optional bool" },
  },
  ListAggregatesResponse: {
    aggregates: "1 repeated Aggregate *",
    next_cursor: "2 optional string",
  },
  GetAggregateRequest: {
    ...{ aggregate_type: "1 string *", aggregate_id: "2 string *", version: "3 optional uint64" },
    ...{ at: "4 optional string", include_hidden: "5 optional bool" },
  },
  GetAggregateResponse: { aggregate: "1 Aggregate *" },
  ListEventsRequest: {
    ...{ aggregate_type: "1 string *", aggregate_id: "2 string *", skip: "3 optional uint32 *" },
    ...{ take: "4 optional uint32 *", include_hidden: "5 optional bool" },
  },
  ListEventsResponse: { events: "1 repeated Event *" },
  VerifyAggregateRequest: {
    ...{ aggregate_type: "1 string *", aggregate_id: "2 string *" },
    include_hidden: "3 optional bool",
  },
  VerifyAggregateResponse: { merkle_root: "1 string *", version: "2 uint64", erased: "3 uint64" },
  ReadLogRequest: {
    ...{ after: "1 optional uint64", take: "2 optional uint32" },
    ...{ aggregate_type: "3 optional string", aggregate_id: "4 optional string" },
    ...{ event_type: "5 optional string", include_hidden: "6 optional bool" },
  },
  ReadLogResponse: { events: "1 repeated Event" },
  SubscribeRequest: {
    ...{ after: "1 optional uint64", aggregate_type: "2 optional string" },
    ...{ aggregate_id: "3 optional string", event_type: "4 optional string" },
    include_hidden: "5 optional bool",
  },
  SubscribeResponse: { event: "1 Event", heartbeat: "2 Heartbeat" },
  Heartbeat: { position: "1 uint64" },
  Aggregate: {
    ...{ aggregate_type: "1 string *", aggregate_id: "2 string *", version: "3 uint64 *" },
    ...{ state: "4 map string *", merkle_root: "5 string *", archived: "6 bool *" },
    state_json: "7 string",
  },
  Event: {
    ...{ aggregate_type: "1 string *", aggregate_id: "2 string *", event_type: "3 string *" },
    ...{ version: "4 uint64 *", payload_json: "5 string *", metadata: "6 EventMetadata *" },
    ...{ hash: "7 string *", merkle_root: "8 string *", position: "9 uint64" },
  },
  EventMetadata: {
    ...{ event_id: "1 string *", created_at: "2 string *", issued_by: "3 ActorClaims *" },
    ...{ note: "4 optional string *", erased: "5 optional bool" },
  },
  ActorClaims: { group: "1 string *", user: "2 string *" },
};

const described = (field: protobuf.Field): string => {
  const optional = field.options?.["proto3_optional"] === true;
  const rule = field.map ? "map " : field.repeated ? "repeated " : optional ? "optional " : "";
  return `${field.id} ${rule}${field.type}`;
};

const typesOf = (space: protobuf.ReflectionObject | null): protobuf.Type[] =>
  space instanceof protobuf.Namespace
    ? space.nestedArray.filter((member) => member instanceof protobuf.Type)
    : [];

test("every message has the fields that were promised, and no others", () => {
  const found = Object.fromEntries(
    typesOf(messages).map((type) => [
      type.name,
      Object.fromEntries(type.fieldsArray.map((field) => [field.name, described(field)])),
    ]),
  );
  const expected = Object.fromEntries(
    Object.entries(promised).map(([name, fields]) => [
      name,
      Object.fromEntries(
        Object.entries(fields).map(([field, text]) => [field, text.replace(" *", "")]),
      ),
    ]),
  );
  expect(found).toEqual(expected);
});

test("the words of an expectation have their numbers", () => {
  expect(root.lookupEnum("dbx.api.ExpectedState").values).toEqual({
    EXPECTED_STATE_ANY: 0,
    EXPECTED_STATE_NO_STREAM: 1,
    EXPECTED_STATE_STREAM_EXISTS: 2,
  });
});

test("every call has its messages, and streams where it says so", () => {
  const calls = service.methodsArray.map((method) => {
    const { name, requestType, responseType, requestStream, responseStream } = method;
    expect([name, requestType, responseType]).toEqual([name, `${name}Request`, `${name}Response`]);
    return `${name}${requestStream === true ? " <" : ""}${responseStream === true ? " >" : ""}`;
  });
  expect(calls).toEqual([
    ...["Health", "AppendEvent", "AppendEvents", "AppendStream < >", "ListAggregates"],
    ...["GetAggregate", "ListEvents", "VerifyAggregate", "ReadLog", "Subscribe >"],
  ]);
});

describe("fields and members of operations are the same", () => {
  const names = (schema: { properties: object }): string[] => Object.keys(schema.properties).sort();
  const fields = (message: string, renamed: Record<string, string> = {}): string[] => {
    const all = root.lookupType(`dbx.api.${message}`).fieldsArray;
    return [...new Set(all.map(({ name }) => renamed[name] ?? name))].sort();
  };
  const payload = { payload_json: "payload" };
  const cases: [string, { properties: object }, Record<string, string>?][] = [
    ["HealthRequest", operations.health.input],
    ["AppendEventRequest", Event, { ...payload, expected_state: "expected_version" }],
    ["AppendEventsRequest", operations.appendEvents.input],
    ["AppendStreamRequest", operations.appendEvents.input],
    ["ListAggregatesRequest", operations.listAggregates.input],
    ["ListAggregatesResponse", operations.listAggregates.output],
    ["GetAggregateRequest", operations.getAggregate.input],
    ["ListEventsRequest", operations.listEvents.input],
    ["VerifyAggregateRequest", operations.verifyAggregate.input],
    ["ReadLogRequest", operations.readLog.input],
    ["SubscribeRequest", followLog.input],
    ["Event", EventRecord, payload],
    ["EventMetadata", EventRecord.properties.metadata],
    ["Aggregate", Aggregate, { state_json: "state" }],
  ];
  for (const [message, schema, renamed] of cases) {
    test(message, () => {
      expect(fields(message, renamed)).toEqual(names(schema));
    });
  }
  test("VerifyAggregateResponse leaves out what was asked for", () => {
    const { output } = operations.verifyAggregate;
    expect([...fields("VerifyAggregateResponse"), ...Object.keys(key)].sort()).toEqual(
      names(output),
    );
  });
});
