// What is read of plugins.db. Every query goes along an index and ends at its limit.

import type { Database, SQLQueryBindings } from "bun:sqlite";
import type { Delivery } from "../../model/plugin.ts";
import { compareUtf8, type Position, type StreamKey } from "../../model/stream.ts";
import type { OutboxSelection, PluginEntry } from "../deliveries.ts";
import { noPlugin } from "../memory-deliveries.ts";
import type { DeliveryRow, DeliverySeals, PluginRow } from "./deliveries-rows.ts";
import { integrityCheck } from "./sql.ts";
import * as sql from "./sql-deliveries.ts";

export type DeliveryReads = ReturnType<typeof createDeliveryReads>;

export function createDeliveryReads(database: Database, seals: DeliverySeals) {
  const statements = prepare(database);
  const rows = (): PluginRow[] => statements.plugins.all();
  const plugin = (name: string): PluginRow | null => statements.plugin.get(name);
  const idOf = (name: string): number => {
    const row = plugin(name);
    if (row === null) throw noPlugin(name);
    return row.plugin_id;
  };

  function due(name: string, { now, limit, lane_limit }: DueOptions): Delivery[] {
    const id = idOf(name);
    const found: Delivery[] = [];
    for (const first of statements.firsts.all(id, now, limit)) {
      const { aggregate_type, aggregate_id, position } = first;
      const behind = Math.min(lane_limit, limit - found.length) - 1;
      if (behind < 0) break;
      const rest =
        behind === 0 ? [] : statements.lane.all(id, aggregate_type, aggregate_id, position, behind);
      const end = rest.findIndex(({ next_attempt_at }) => (next_attempt_at ?? "") > now);
      const lane = [first, ...rest.slice(0, end === -1 ? rest.length : end)];
      found.push(...lane.map((row) => seals.toDelivery(name, row)));
    }
    return found;
  }

  function outbox(selection: OutboxSelection, { after, limit }: PageOptions): Delivery[] {
    const found: Delivery[] = [];
    for (const { plugin_id, name } of rows()) {
      if (selection.plugin !== undefined && name !== selection.plugin) continue;
      const order = after === null ? 1 : compareUtf8(name, after.plugin);
      if (order < 0) continue;
      const position = order === 0 && after !== null ? after.position : 0;
      const page = { after: position, limit: limit - found.length };
      found.push(...outboxOf(plugin_id, selection, page).map((row) => seals.toDelivery(name, row)));
      if (found.length >= limit) break;
    }
    return found;
  }

  function outboxOf(
    id: number,
    { event_id, dead }: OutboxSelection,
    { after, limit }: { after: Position; limit: number },
  ): DeliveryRow[] {
    if (event_id !== undefined) {
      const found = statements.ofEvent.all(event_id, id, after, limit);
      return found.filter((row) => dead === undefined || dead === (row.dead === 1));
    }
    if (dead !== undefined) return statements.ofState.all(id, Number(dead), after, limit);
    return statements.page.all(id, after, limit);
  }

  return {
    rows,
    plugin,
    idOf,
    due,
    outbox,
    plugins: (): PluginEntry[] => rows().map(seals.toEntry),
    streamAt: (id: number, position: Position): StreamKey | null =>
      statements.streamAt.get(id, position),
    nextDue: (name: string): string | null => statements.nextDue.get(idOf(name))?.due ?? null,
    waiting: (name: string, keys: readonly StreamKey[]): StreamKey[] => {
      const id = idOf(name);
      return keys.filter(
        (key) => statements.waiting.get(id, key.aggregate_type, key.aggregate_id)?.found === 1,
      );
    },
    plainPlugins: (): PluginRow[] => all<PluginRow>(database, sql.readPlainPlugins, []),
    plainErrors: (id: number, { after, limit }: { after: Position; limit: number }) =>
      all<{ position: number; last_error: string }>(database, sql.readPlainErrors, [
        ...[id, after, limit],
      ]),
    check: (limit: number): string[] => check(database, { limit, entries: rows, seals }),
    close: (): void => {
      for (const statement of Object.values(statements)) statement.finalize();
    },
  };
}

interface DueOptions {
  readonly now: string;
  readonly limit: number;
  readonly lane_limit: number;
}

interface PageOptions {
  readonly after: { readonly plugin: string; readonly position: Position } | null;
  readonly limit: number;
}

function prepare(database: Database) {
  return {
    plugins: database.prepare<PluginRow, []>(sql.readPlugins),
    plugin: database.prepare<PluginRow, [string]>(sql.readPlugin),
    firsts: database.prepare<DeliveryRow, [number, string, number]>(sql.readFirsts),
    lane: database.prepare<DeliveryRow, [number, string, string, number, number]>(sql.readLane),
    nextDue: database.prepare<{ due: string }, [number]>(sql.readNextDue),
    waiting: database.prepare<{ found: number }, [number, string, string]>(sql.isWaiting),
    streamAt: database.prepare<StreamKey, [number, number]>(sql.readStreamAt),
    page: database.prepare<DeliveryRow, [number, number, number]>(sql.readOutboxPage),
    ofState: database.prepare<DeliveryRow, [number, number, number, number]>(sql.readOutboxOfState),
    ofEvent: database.prepare<DeliveryRow, [string, number, number, number]>(sql.readOutboxOfEvent),
  };
}

/** Of a statement used once. */
function all<Row>(database: Database, text: string, values: SQLQueryBindings[]): Row[] {
  using statement = database.prepare<Row, SQLQueryBindings[]>(text);
  return statement.all(...values);
}

function check(
  database: Database,
  options: { limit: number; entries: () => PluginRow[]; seals: DeliverySeals },
): string[] {
  const { limit, entries, seals } = options;
  const damaged = all<{ integrity_check: string }>(database, integrityCheck(limit), [])
    .map((row) => row.integrity_check)
    .filter((text) => text !== "ok");
  const strays = all<{ position: number; name: string | null; fault: string }>(
    database,
    sql.checkOutbox,
    [limit],
  ).map(({ position, name, fault }) => `delivery ${position} of ${name ?? "nobody"} ${fault}`);
  const miscounted = all<{ name: string }>(database, sql.checkCounts, [limit]).map(
    ({ name }) => `the outbox of ${name} is not counted right`,
  );
  const firsts = all<StreamKey>(database, sql.checkFirsts, [limit]).map(
    (key) => `the first delivery of ${key.aggregate_type}/${key.aggregate_id} is not marked`,
  );
  const sealed = entries().flatMap((row) => {
    try {
      seals.toEntry(row);
      return [];
    } catch (error) {
      return [error instanceof Error ? error.message : String(error)];
    }
  });
  const faults = [...damaged, ...strays, ...miscounted, ...firsts, ...sealed];
  return faults.map((fault) => `plugins.db: ${fault}`).slice(0, limit);
}
