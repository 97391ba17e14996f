// Instants as clients write them (RFC 3339), made comparable with the times that events carry:
// UTC text with six digits of a second, which sorts as it reads. No clock here.

import { invalidArgument } from "./error.ts";

const form =
  /^(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}):(\d{2})(?:\.(\d+))?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/;
const minute_ms = 60_000;

/**
 * In: an RFC 3339 instant with any zone and any number of digits. Out: `created_at` text; an event
 * is at or before the instant exactly if its `created_at` is not above the text. Finer digits than
 * six are dropped, because no event has any. Throws `invalid_argument` with `details.path` for what
 * is no instant: dates that no calendar has, and times beyond the years 0000 to 9999 in UTC.
 */
export function parseInstant(text: string, { path }: { path: string }): string {
  const parts = form.exec(text);
  if (parts === null) throw notAnInstant(text, path);
  const [, date = "", time = "", second = "", fraction = "", sign, hours = "0", minutes = "0"] =
    parts;
  const local = new Date(`${date}T${time}:00Z`);
  // A runtime may make the 1st of March of the 30th of February; it is no date of any calendar.
  if (Number.isNaN(local.getTime()) || local.toISOString().slice(0, 16) !== `${date}T${time}`)
    throw notAnInstant(text, path);
  if (Number(hours) > 23 || Number(minutes) > 59) throw notAnInstant(text, path);
  const offset_ms = (Number(hours) * 60 + Number(minutes)) * minute_ms * (sign === "-" ? -1 : 1);
  const utc = new Date(local.getTime() - offset_ms);
  if (Number(second) > 60 || (second === "60" && !endsMonth(utc))) throw notAnInstant(text, path);
  const written = utc.toISOString();
  if (!/^\d{4}-/.test(written)) {
    throw invalidArgument(
      `${nameOf(path)} must lie within the years 0000 and 9999 in UTC: ${text}`,
      { path },
    );
  }
  return `${written.slice(0, 17)}${second}.${fraction.slice(0, 6).padEnd(6, "0")}Z`;
}

/** Leap seconds come in the last minute of a month, and nowhere else. */
const endsMonth = (utc: Date): boolean =>
  utc.toISOString().slice(11, 16) === "23:59" &&
  new Date(utc.getTime() + minute_ms).getUTCDate() === 1;

const nameOf = (path: string): string => path.slice(1);

function notAnInstant(text: string, path: string) {
  // In a query a bare `+` is a blank.
  const hint = /\d \d\d:\d\d$/.test(text) ? "; in a URL, + is written %2B" : "";
  return invalidArgument(
    `${nameOf(path)} must be an instant with its zone, such as 2024-12-01T17:22:43.512345Z${hint}`,
    { path },
  );
}

/** So much later than `at`, which is text of the form of `created_at`, as the answer is. */
export const laterBy = (at: string, ms: number): string =>
  `${new Date(Date.parse(at) + ms).toISOString().slice(0, 23)}${at.slice(23, 26)}Z`;

/** From one such instant to another, in whole milliseconds; negative where it is before. */
export const msBetween = (from: string, to: string): number => Date.parse(to) - Date.parse(from);
