// Which field of GraphQL is which operation. Arguments, results and descriptions follow from the
// operation table; here is only what that table cannot know.

import type { OperationName } from "../../api/operations.ts";
import type { Config } from "../../model/config.ts";
import { limits } from "../../model/limits.ts";
import { takeOf } from "../../model/page.ts";

export type PageSizes = Pick<Config, "list_page_size" | "page_limit">;

interface Field {
  readonly operation: OperationName;
  /** All arguments are the members of one, `input`. */
  readonly oneInput?: true;
  /** Null, and an error, where there is no such thing. */
  readonly nullable?: true;
  /** The one member of the output that the field gives. */
  readonly member?: "aggregates";
  /** How many rows it asks for, counted before anything is read. */
  readonly rows: (args: Arguments, sizes: PageSizes) => number;
}

type Arguments = Readonly<Record<string, unknown>>;

const one = () => 1;
const page = (usual: keyof PageSizes): Field["rows"] => {
  return ({ take }, sizes) => {
    const asked = typeof take === "number" ? Math.max(take, 0) : undefined;
    return takeOf(asked, { usual: sizes[usual], cap: sizes.page_limit });
  };
};
const eventsIn: Field["rows"] = ({ input }) => {
  const events =
    typeof input === "object" && input !== null && "events" in input ? input.events : [];
  return Array.isArray(events) ? events.length : 1;
};

export const queries: Readonly<Record<string, Field>> = {
  aggregates: {
    operation: "listAggregates",
    member: "aggregates",
    rows: page("list_page_size"),
  },
  aggregates_page: { operation: "listAggregates", rows: page("list_page_size") },
  aggregate: { operation: "getAggregate", nullable: true, rows: one },
  aggregateEvents: { operation: "listEvents", rows: page("page_limit") },
  verifyAggregate: { operation: "verifyAggregate", rows: () => limits.graphql_verify_rows },
  events: { operation: "readLog", rows: page("page_limit") },
};

export const mutations: Readonly<Record<string, Field>> = {
  appendEvent: { operation: "appendEvent", oneInput: true, rows: one },
  appendEvents: { operation: "appendEvents", oneInput: true, rows: eventsIn },
};

/** The one subscription: `followLog` of api/live.ts. */
export const subscription = "eventAppended";

/** Rows that a field counts for; one where it is none of ours, such as `__schema`. */
export function rowsOf(name: string, args: Arguments, sizes: PageSizes): number {
  const known = { ...queries, ...mutations };
  return Object.hasOwn(known, name) ? (known[name]?.rows(args, sizes) ?? 1) : 1;
}
