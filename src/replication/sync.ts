// Bringing one node up to another, fast-forward only: first everything is compared, and a fork ends
// it with nothing written; then events move, page by page. Push and pull are the same with source
// and target exchanged.

import { failedPrecondition, type DbxError } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import { showKey, type StreamKey } from "../model/stream.ts";
import { createComparison, type Fork, type Nodes } from "./compare.ts";
import { differences, type Pair, type SyncSelection } from "./positions.ts";
import { createTransfer } from "./transfer.ts";

export interface SyncOptions {
  readonly nodes: Nodes;
  readonly selection: SyncSelection;
  /** Compare and count, and write nothing. */
  readonly dry_run: boolean;
  readonly batch_events: number;
  readonly allow_future: boolean;
  readonly progress: (progress: SyncProgress) => void;
  readonly signal: AbortSignal;
}

export interface SyncProgress {
  readonly phase: "comparing" | "moving";
  /** Aggregates that differ, or events that have moved; and how many there are to move. */
  readonly done: number;
  readonly of: number | null;
}

export interface SyncReport {
  /** Events that were new to the target; in a dry run, that would be. */
  readonly events: number;
  readonly aggregates: number;
  /** Events by aggregate type, in the order of the types. */
  readonly types: Readonly<Record<string, number>>;
  /** Aggregates of which only the flag `archived` differs. */
  readonly flags: number;
  /** Aggregates of which the target has more than the source: they stay as they are. */
  readonly ahead: { readonly count: number; readonly listed: readonly Ahead[] };
}

export interface Ahead extends StreamKey {
  readonly source_version: number;
  readonly target_version: number;
}

/**
 * Rejects with `failed_precondition` (`details.reason` is `fork`, `details.forks` lists them)
 * before anything is written where the nodes have two histories of one aggregate.
 */
export async function sync(options: SyncOptions): Promise<SyncReport> {
  const { nodes, selection, signal, progress } = options;
  const plan = createPlan();
  const comparison = createComparison(nodes);
  for await (const pair of differences(nodes, selection, signal)) {
    plan.add(pair);
    await comparison.add(pair);
    progress({ phase: "comparing", done: plan.pairs(), of: null });
  }
  const { count, forks } = await comparison.close();
  if (count > 0) throw forked(count, forks);
  const report = plan.report();
  if (options.dry_run) return report;
  let done = 0;
  const moved = (events: number): void => {
    done += events;
    progress({ phase: "moving", done, of: report.events });
  };
  const transfer = createTransfer({ ...options, moved });
  // Once more, because keeping what was found would take memory for each aggregate. What has grown
  // meanwhile moves too; what has forked meanwhile is refused by the receiver.
  for await (const pair of differences(nodes, selection, signal)) {
    if (isAhead(pair)) continue;
    await transfer.take(pair);
  }
  await transfer.close();
  return { ...report, events: done };
}

const isAhead = ({ source, target }: Pair): boolean =>
  (target?.version ?? 0) > (source?.version ?? 0) || source === null;

/** Counts, and names of the first few. */
function createPlan() {
  const types = new Map<string, number>();
  const ahead: Ahead[] = [];
  const counts = { pairs: 0, aggregates: 0, events: 0, flags: 0, ahead: 0 };
  return {
    pairs: () => counts.pairs,
    add: (pair: Pair): void => {
      const { key, source, target } = pair;
      counts.pairs++;
      const [source_version, target_version] = [source?.version ?? 0, target?.version ?? 0];
      if (isAhead(pair)) {
        // An aggregate without events is nothing to be ahead by.
        if (target_version === 0) return;
        counts.ahead++;
        if (ahead.length < limits.forks_listed_max) {
          ahead.push({ ...key, source_version, target_version });
        }
        return;
      }
      const events = source_version - target_version;
      if (events > 0) {
        counts.aggregates++;
        counts.events += events;
        types.set(key.aggregate_type, (types.get(key.aggregate_type) ?? 0) + events);
      } else if (source_version > 0) counts.flags++;
    },
    report: (): SyncReport => ({
      ...{ events: counts.events, aggregates: counts.aggregates, flags: counts.flags },
      types: Object.fromEntries(types),
      ahead: { count: counts.ahead, listed: ahead },
    }),
  };
}

function forked(count: number, forks: readonly Fork[]): DbxError {
  const [first] = forks;
  const where =
    first === undefined
      ? ""
      : `: ${showKey(first)}${first.version === null ? "" : ` from version ${first.version} on`}`;
  const others = count > 1 ? `, and ${count - 1} more` : "";
  return failedPrecondition(
    `the nodes have two histories${where}${others}; nothing was changed on either`,
    { reason: "fork", count, forks: forks.map((fork) => ({ ...fork })) },
  );
}
