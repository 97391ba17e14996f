// Real process plugins: the appender, installed as its users would, and events for it.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setInterval } from "node:timers/promises";
import { createLog, type Log } from "../../src/log.ts";
import { emptyState, type State } from "../../src/model/aggregate.ts";
import { canonicalOf, type Canonical } from "../../src/model/canonical.ts";
import type { EventRecord } from "../../src/model/event.ts";
import type { PluginLimits } from "../../src/model/limits-plugins.ts";
import { limits } from "../../src/model/limits.ts";
import type { ProcessConfig } from "../../src/model/plugin.ts";
import type { Emission, Emitter } from "../../src/plugins/emitter.ts";
import { createProcessEmitter } from "../../src/plugins/emitters/process.ts";
import { siteIn } from "./installing.ts";

/** Where Python is, past whatever stands before it; null without it. */
export const python = ((): string | null => {
  if (Bun.which("python3") === null) return null;
  const asked = Bun.spawnSync(["python3", "-c", "import sys; print(sys.executable)"]);
  return asked.success ? asked.stdout.toString().trim() : null;
})();

export interface Line {
  readonly started?: number;
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  readonly fds?: string[];
  readonly grandchild?: number;
  readonly init?: Record<string, string | null>;
  readonly event?: Record<string, unknown> & { readonly sequence: number };
  readonly ended?: true;
}

export interface Harness extends AsyncDisposable {
  readonly emitter: Emitter;
  readonly target: string;
  readonly install_dir: string;
  readonly data_dir: string;
  /** What the processes have written down so far. */
  readonly lines: () => Line[];
  readonly sequences: () => number[];
  readonly starts: () => number;
  readonly log: () => string;
  /** Resolves when it holds; the test's own time limit is the only other end. */
  readonly until: (condition: () => boolean) => Promise<void>;
}

/** Quick enough for tests, and all else as it is. */
export const quick: PluginLimits = {
  ...limits,
  plugin_process_start_ms: 50,
  plugin_process_stall_ms: 500,
  plugin_process_restart_ms: 20,
  plugin_process_restart_ms_max: 100,
  plugin_process_farewell_ms: 500,
  plugin_process_term_ms: 300,
};

export const never = new AbortController().signal;

export async function startHarness(
  directory: string,
  behaviour: readonly string[],
  over: {
    readonly bounds?: Partial<PluginLimits>;
    readonly config?: Partial<ProcessConfig>;
    readonly program?: string;
  } = {},
): Promise<Harness> {
  const site = siteIn(directory);
  const source = readFileSync(join(import.meta.dir, "appender.py"), "utf8");
  const program = over.program ?? source.replace(/^#!.*/, `#!${python}`);
  const { record } = await site.install({ source: site.put("appender.py", program) });
  const path = join(directory, "seen.jsonl");
  let text = "";
  const log: Log = createLog({ least: "debug", now: () => "", write: (line) => (text += line) });
  const emitter = createProcessEmitter(
    {
      ...{ type: "process", name: "search", version: "1.0.0", args: [path, ...behaviour], env: {} },
      working_dir: null,
      ...over.config,
    },
    { label: "finder", data_dir: site.data_dir, env: process.env, log },
    { ...quick, ...over.bounds },
  );
  const lines = (): Line[] => {
    if (!existsSync(path)) return [];
    // The last one may be half written.
    const whole = readFileSync(path, "utf8").split("\n").slice(0, -1);
    return whole.map((line): Line => JSON.parse(line));
  };
  return {
    emitter,
    target: record.target,
    install_dir: record.install_dir,
    data_dir: site.data_dir,
    lines,
    sequences: () => lines().flatMap(({ event }) => (event === undefined ? [] : [event.sequence])),
    starts: () => lines().filter(({ started }) => started !== undefined).length,
    log: () => text,
    until: async (condition) => {
      if (condition()) return;
      // Files tell nobody when they grow.
      for await (const _ of setInterval(5)) if (condition()) return;
    },
    [Symbol.asyncDispose]: emitter.close,
  };
}

export interface EmissionOptions {
  readonly payload?: unknown;
  readonly state?: Canonical;
  readonly archived?: boolean;
  readonly schema?: string;
  readonly record?: Partial<EventRecord>;
}

export function emissionOf(sequence: number, options: EmissionOptions = {}): Emission {
  const { payload = { n: sequence }, state = emptyState, archived = false, schema } = options;
  const hex = sequence.toString(16).padStart(64, "0");
  const record: EventRecord = {
    aggregate_type: "patient",
    aggregate_id: `p-${sequence % 3}`,
    event_type: "patient-updated",
    payload: canonicalOf(payload),
    metadata: {
      event_id: `00000000-0000-7000-8000-${sequence.toString(16).padStart(12, "0")}`,
      created_at: "2024-12-01T17:22:43.512345Z",
      issued_by: { group: "admin", user: "jane" },
    },
    version: Math.floor(sequence / 3) + 1,
    hash: hex,
    merkle_root: hex.replace(/^0/, "f"),
    position: sequence + 1,
    ...options.record,
  };
  return {
    ...{ record, json: "", body: null, sequence },
    state: async () => ({ state: state as State, archived }),
    before: async () => [],
    schema: () => schema ?? null,
  };
}

export const emissionsOf = (from: number, count: number, options?: EmissionOptions): Emission[] =>
  Array.from({ length: count }, (_, index) => emissionOf(from + index, options));

/** Delivers as the dispatcher does: again what did not arrive, and after a failure one alone. */
export async function deliverAll(
  emitter: Emitter,
  emissions: readonly Emission[],
): Promise<string[]> {
  const faults: string[] = [];
  let most = emitter.events_max;
  for (let at = 0; at < emissions.length;) {
    const { delivered, fault } = await emitter.deliver(emissions.slice(at, at + most), never);
    at += delivered;
    if (fault !== null) faults.push(fault.message);
    most = fault === null ? emitter.events_max : 1;
  }
  return faults;
}
