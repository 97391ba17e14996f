// Bringing the schemas of one node to another: compared completely, and changed all at once.
// What the other one has alone stays, unless it is asked for that it goes.

import { canonicalOf } from "../model/canonical.ts";
import type { Schema } from "../model/schema/schema.ts";
import { compareUtf8 } from "../model/stream.ts";
import type { Nodes } from "./compare.ts";

export interface SchemaDifference {
  readonly aggregate: string;
  readonly kind: "add" | "change" | "remove";
  /** Events of a schema that is added or removed. */
  readonly events: number;
  /** What changes, a line each: `locked: false -> true`. */
  readonly lines: readonly string[];
}

export interface SchemaSync {
  /** Additions and changes by name, then what the target has alone. */
  readonly differences: readonly SchemaDifference[];
  /** Makes them; what the target has alone goes only with `prune`. Out: how many were made. */
  readonly apply: (options: { readonly prune: boolean }) => Promise<number>;
}

export async function compareSchemas({ source, target }: Nodes): Promise<SchemaSync> {
  const wanted = await source("listSchemas", {});
  const found = await target("listSchemas", {});
  const differences = differencesOf(wanted, found);
  return {
    differences,
    apply: async ({ prune }) => {
      const names = (kind: SchemaDifference["kind"][]) =>
        differences.flatMap((one) => (kind.includes(one.kind) ? [one.aggregate] : []));
      const changed = new Set(names(["add", "change"]));
      const remove = prune ? names(["remove"]) : [];
      if (changed.size + remove.length === 0) return 0;
      const schemas = wanted.filter(({ aggregate }) => changed.has(aggregate));
      await target("applySchemas", { schemas, remove });
      return changed.size + remove.length;
    },
  };
}

function differencesOf(wanted: readonly Schema[], found: readonly Schema[]): SchemaDifference[] {
  const known = new Map(found.map((schema) => [schema.aggregate, schema]));
  const differences = wanted.flatMap((schema): SchemaDifference[] => {
    const { aggregate } = schema;
    const before = known.get(aggregate);
    known.delete(aggregate);
    const events = Object.keys(schema.events).length;
    if (before === undefined) return [{ aggregate, kind: "add", events, lines: [] }];
    const lines = changesOf(before, schema);
    return lines.length === 0 ? [] : [{ aggregate, kind: "change", events, lines }];
  });
  const rest = [...known.values()].map(({ aggregate, events }): SchemaDifference => {
    return { aggregate, kind: "remove", events: Object.keys(events).length, lines: [] };
  });
  const byName = (left: SchemaDifference, right: SchemaDifference) =>
    compareUtf8(left.aggregate, right.aggregate);
  return [...differences.sort(byName), ...rest.sort(byName)];
}

/** All but when they were made and changed: two that say the same are the same. */
function changesOf(before: Schema, after: Schema): string[] {
  return [
    ...valueLine(
      "snapshot_threshold",
      some(before.snapshot_threshold),
      some(after.snapshot_threshold),
    ),
    ...valueLine("locked", before.locked, after.locked),
    ...valueLine("hidden", before.hidden, after.hidden),
    ...listLines("field locks", before.field_locks, after.field_locks),
    ...listLines("hidden fields", before.hidden_fields, after.hidden_fields),
    ...columnLines(before, after),
    ...eventLines(before, after),
  ];
}

const some = (threshold: number | null): string =>
  threshold === null ? "None" : `Some(${threshold})`;

const valueLine = (name: string, before: unknown, after: unknown): string[] =>
  before === after ? [] : [`${name}: ${String(before)} -> ${String(after)}`];

function listLines(name: string, before: readonly string[], after: readonly string[]): string[] {
  const added = after.filter((one) => !before.includes(one));
  const removed = before.filter((one) => !after.includes(one));
  return [
    ...(added.length === 0 ? [] : [`${name} added: ${added.join(", ")}`]),
    ...(removed.length === 0 ? [] : [`${name} removed: ${removed.join(", ")}`]),
  ];
}

function columnLines(before: Schema, after: Schema): string[] {
  const [left, right] = [before.column_types, after.column_types];
  const names = [...new Set([...Object.keys(left), ...Object.keys(right)])].sort();
  return names.flatMap((name) => {
    if (!Object.hasOwn(left, name)) return [`+ column ${name}`];
    if (!Object.hasOwn(right, name)) return [`- column ${name}`];
    return canonicalOf(left[name]) === canonicalOf(right[name]) ? [] : [`~ column ${name}`];
  });
}

function eventLines(before: Schema, after: Schema): string[] {
  const [left, right] = [before.events, after.events];
  const names = [...new Set([...Object.keys(left), ...Object.keys(right)])].sort();
  return names.flatMap((name) => {
    const [old, fresh] = [left[name], right[name]];
    if (old === undefined) return [`+ event ${name}`];
    if (fresh === undefined) return [`- event ${name}`];
    return [
      ...listLines(`event ${name} fields`, old.fields, fresh.fields),
      ...(old.notes === fresh.notes ? [] : [`event ${name} notes changed`]),
    ];
  });
}
