// Structured log lines on stderr: time, level, a fixed phrase, then fields. Never a sentence with
// values, never a payload, never a secret.

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;
export type Log = Readonly<Record<LogLevel, (phrase: string, fields?: LogFields) => void>>;

const levels: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** Names whose values are never written, and the shape of a token wherever it stands. */
const secretName = /token|secret|password|key|dek|authorization/i;
const harmless = new Set(["aggregate_key", "token_id", "foreign_keys"]);
const tokenShape = /EVT-[0-9A-Za-z_-]{8,}/g;

/**
 * `write` gets one line with its newline. Lines below `least` are left out. Logging never throws: a
 * disk that is too full for the line must change neither an answer nor a shutdown.
 */
export function createLog(options: {
  least: LogLevel;
  now: () => string;
  write: (line: string) => void;
}): Log {
  const at =
    (level: LogLevel) =>
    (phrase: string, fields: LogFields = {}) => {
      if (levels.indexOf(level) < levels.indexOf(options.least)) return;
      const words = Object.entries(fields)
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => `${name}=${show(name, value)}`);
      try {
        options.write(`${[options.now(), level, phrase, ...words].join(" ")}\n`);
      } catch {
        // The line is lost, and there is no other place to say so.
      }
    };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

export const silentLog: Log = createLog({ least: "error", now: () => "", write: () => {} });

function show(name: string, value: LogFields[string]): string {
  if (secretName.test(name) && !harmless.has(name)) return "[secret]";
  const text = String(value).replace(tokenShape, "[secret]");
  // A value with blanks, quotes or control characters is quoted, so that one event stays one line.
  return /^[^\s"=\u0000-\u001f]+$/.test(text) ? text : JSON.stringify(text);
}
