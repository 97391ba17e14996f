// Requests that are right: one for each route of the public surface and for what administration
// only reads. Ids are those that the store begins with, so that most are answered.

import { routes, type Route } from "../../src/api/routes.ts";
import type { OperationName } from "../../src/api/operations.ts";
import type { Dice } from "./dice.ts";
import { rightFilter } from "./filter.ts";
import { jsonText } from "./json.ts";
import { known_ids } from "./server.ts";

export interface Right {
  readonly method: string;
  readonly path: string;
  /** Names and values as they are meant, not yet encoded. */
  readonly query: readonly (readonly [string, string])[];
  readonly body: string;
}

/** What changes the server for all others is asked of another one (admin.ts). */
export const publicRoutes = routes.filter(
  ({ operation, surface, method }) =>
    surface === "rest" || (method === "GET" && operation !== "verifyLog"),
);

export const typeOf = (dice: Dice): string => dice.pick(["order", "order", "person"]);
export const idOf = (dice: Dice): string => `f-${dice.below(known_ids)}`;

/** An append that fits. Wholes, because a state keeps every member there ever was. */
export function eventText(dice: Dice): string {
  const payload = dice.pick([
    `{"status":${JSON.stringify(dice.pick(["open", "closed"]))}}`,
    `{"total":${dice.below(1e6) / 100},"tags":["x","y"]}`,
    `{"address":{"city":"Oslo"},"n":9007199254740993}`,
    jsonText(dice, 2, { right: true }),
  ]);
  const members = [
    `"aggregate_type":"${typeOf(dice)}"`,
    `"aggregate_id":"${idOf(dice)}"`,
    `"event_type":"noted"`,
    `"payload":${payload}`,
    ...(dice.chance(0.2) ? [`"note":"a remark"`] : []),
    // Few, so that some come again, with the same content or with another.
    ...(dice.chance(0.1) ? [`"event_id":"${uuidOf(dice.below(300))}"`] : []),
    ...(dice.chance(0.1)
      ? [`"expected_version":${dice.pick(['"any"', '"stream_exists"', "3"])}`]
      : []),
  ];
  return `{${members.join(",")}}`;
}

const uuidOf = (at: number): string => `00000000-0000-4000-8000-${String(at).padStart(12, "0")}`;

/** Paths of what is made, put away and taken back by cases themselves. */
const ownIds: Partial<Record<OperationName, string>> = {
  removeAggregate: "c",
  archiveAggregate: "z",
  restoreAggregate: "z",
  eraseAggregate: "z",
};

function pathOf(dice: Dice, { operation, path }: Route): string {
  const own = ownIds[operation];
  const id = own === undefined ? idOf(dice) : `${own}-${dice.below(40)}`;
  return path
    .replace("{aggregate_type}", typeOf(dice))
    .replace("{aggregate_id}", id)
    .replace("{aggregate}", "order");
}

type Pairs = readonly (readonly [string, string])[];

const queries: Partial<Record<OperationName, (dice: Dice) => Pairs>> = {
  listAggregates: (dice) => [
    ["take", String(dice.below(20))],
    ...some(dice, ["skip", String(dice.below(9))]),
    ...some(dice, ["type", typeOf(dice)]),
    ...some(dice, ["archived", dice.pick(["true", "false"])]),
    ...some(dice, ["filter", rightFilter(dice)]),
    ...some(dice, ["at", "2030-01-01T00:00:00Z"]),
  ],
  getAggregate: (dice) => some(dice, ["version", String(dice.below(2))]),
  listEvents: (dice) => [["take", String(dice.below(20))]],
  exportAggregates: (dice) => [["take", "5"], ...some(dice, ["type", typeOf(dice)])],
  readLog: (dice) => [
    ["after", String(dice.below(9_000))],
    ["take", String(dice.below(20))],
    ...some(dice, ["aggregate_type", typeOf(dice)]),
  ],
  listAudit: (dice) => [
    ["after", String(dice.below(20))],
    ["take", "5"],
  ],
};

const some = (dice: Dice, pair: readonly [string, string]): Pairs =>
  dice.chance(0.3) ? [pair] : [];

const key = (dice: Dice, letter: string): string =>
  `"aggregate_type":"${typeOf(dice)}","aggregate_id":"${letter}-${dice.below(40)}"`;

const bodies: Partial<Record<OperationName, (dice: Dice) => string>> = {
  appendEvent: (dice) =>
    dice.chance(0.9) ? eventText(dice) : `{${key(dice, "z")},"event_type":"noted","payload":{}}`,
  appendEvents: (dice) =>
    `{"events":[${Array.from({ length: 1 + dice.below(3) }, () => eventText(dice)).join()}]}`,
  createAggregate: (dice) => `{${key(dice, "c")}}`,
  stageEvent: eventText,
  discardStaged: () => '{"all":true}',
  eraseAggregate: () => '{"reason":"asked for"}',
};

export function rightRequest(dice: Dice, route: Route): Right {
  const { method, operation } = route;
  return {
    method,
    path: pathOf(dice, route),
    query: queries[operation]?.(dice) ?? [],
    body: bodies[operation]?.(dice) ?? "{}",
  };
}

export function queryText(query: Pairs): string {
  const pairs = query.map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}
