// Events as lines of dbx's own log. What a value holds can neither begin a line of its own nor
// change how the one it stands in is shown.

import type { Log, LogLevel } from "../../log.ts";
import { limits } from "../../model/limits.ts";
import type { LogConfig } from "../../model/plugin.ts";
import type { Emission, Emitter } from "../emitter.ts";

export function createLogEmitter({ level, template }: LogConfig, { log }: { log: Log }): Emitter {
  // The log knows no trace.
  const at: LogLevel = level === "trace" ? "debug" : level;
  const write = ({ record }: Emission): void => {
    if (template !== null) return log[at]("plugin", { text: fill(template, record) });
    const { aggregate_type: aggregate, aggregate_id: id, event_type: event } = record;
    log[at]("plugin", { aggregate: shown(aggregate), id: shown(id), event: shown(event) });
  };
  return {
    events_max: limits.plugin_page_events,
    lanes: 1,
    deliver: async (emissions, signal) => {
      for (const [delivered, emission] of emissions.entries()) {
        if (signal.aborted)
          return { delivered, fault: { message: "log: was stopped", reached: false } };
        write(emission);
      }
      return { delivered: emissions.length, fault: null };
    },
    check: async () => {},
    close: async () => {},
  };
}

type Written = Emission["record"];

const placeholders: Readonly<Record<string, (record: Written) => string>> = {
  aggregate: ({ aggregate_type }) => aggregate_type,
  id: ({ aggregate_id }) => aggregate_id,
  event: ({ event_type }) => event_type,
  payload: ({ payload }) => payload,
  version: ({ version }) => String(version),
  position: ({ position }) => String(position),
  event_id: ({ metadata }) => metadata.event_id,
  user: ({ metadata }) => metadata.issued_by?.user ?? "",
  group: ({ metadata }) => metadata.issued_by?.group ?? "",
  note: ({ metadata }) => metadata.note ?? "",
};

/** In one pass: a placeholder within a value stays what it is, as unknown ones do. */
function fill(template: string, record: Written): string {
  const text = template.replace(/\{([a-z_]+)\}/g, (whole, name: string) =>
    Object.hasOwn(placeholders, name) ? (placeholders[name]?.(record) ?? whole) : whole,
  );
  return shown(text);
}

/** Line breaks, other control characters, and those that turn the direction of writing. */
const unseen = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

const shown = (text: string): string => cut(cut(text).replace(unseen, escaped));

const escaped = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;

function cut(text: string): string {
  const most = limits.plugin_log_chars_max;
  return text.length <= most ? text : `${text.slice(0, most - 1).toWellFormed()}…`;
}
